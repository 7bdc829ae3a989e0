import re

import pytest
import torch

from frostline import contract as contracts
from frostline import sampling, schedule
from frostline.wan import comfyui, declaring, families, names, workflow
from tests import tiny
from tests.golden.wan import cases, small
from tests.unit.wan.test_families import BY_NAME, RECORDED, module_of, shapes_of

BUCKET = (81, 480, 832)
SMALL = BY_NAME["wan2.1-t2v-1.3b"]


def published(**changed) -> contracts.Contract:
    """The contract of a model as published, with other ways to sample it."""
    space = tiny.space(
        z_dim=16,
        latents_mean=families.VAE_21.latents_mean,
        latents_std=families.VAE_21.latents_std,
        text_dim=4096,
        text_length=512,
    )
    sampling = declaring.sampling(SMALL)
    made = contracts.Contract(latent_space=space, process=declaring.process(SMALL, None), sampling=sampling)
    return made.model_copy(update={"sampling": sampling.model_copy(update=changed)})


def setup(contract: contracts.Contract, family=SMALL) -> comfyui.Setup:
    assert contract.sampling is not None
    assert comfyui.unsuited(contract, contract.sampling) == []
    return comfyui.setup(contract, contract.sampling, family, BUCKET)


@pytest.mark.parametrize("name", BY_NAME)
def test_published_shapes_load_in_comfyui(name):
    """Its WanModel has the published names and shapes, and is built from shapes (comfy/model_detection.py)."""
    config = BY_NAME[name].transformer.config()
    assert comfyui.unlike(config) == []
    ours = {key: tuple(t.shape) for key, t in module_of("transformer", config).state_dict().items()}
    native = {new: ours[old] for old, new in names.to_native("transformer", ours).items()}
    assert native == shapes_of(name)
    assert built_by_comfyui(native) == {
        "model_type": "i2v" if BY_NAME[name].transformer.image_dim else "t2v",
        "dim": BY_NAME[name].transformer.heads * 128,
        "num_heads": BY_NAME[name].transformer.heads,
        "ffn_dim": BY_NAME[name].transformer.ffn_dim,
        "num_layers": BY_NAME[name].transformer.layers,
        "in_dim": BY_NAME[name].transformer.in_channels,
        "out_dim": BY_NAME[name].transformer.out_channels,
    }


def built_by_comfyui(native):
    """What its model detection reads off a file's tensors (as recorded; comfy/model_detection.py)."""
    dim = native["head.modulation"][-1]
    return {
        "model_type": "i2v" if "img_emb.proj.0.bias" in native else "t2v",
        "dim": dim,
        "num_heads": dim // 128,
        "ffn_dim": native["blocks.0.ffn.0.weight"][0],
        "num_layers": len({name.split(".")[1] for name in native if name.startswith("blocks.")}),
        "in_dim": native["patch_embedding.weight"][1],
        "out_dim": native["head.head.weight"][0] // 4,
    }


def test_names_and_shapes_are_those_of_its_model_class():
    kept = RECORDED["wan2.1-t2v-1.3b"]
    theirs = {name: tuple(shape) for name, shape in kept["outside"].items()}
    for number in range(kept["blocks"]):
        theirs |= {f"blocks.{number}.{name}": tuple(shape) for name, shape in kept["block"].items()}
    network = module_of("transformer", SMALL.transformer.config()).state_dict()
    native = names.to_native("transformer", network)
    assert {native[name]: tuple(tensor.shape) for name, tensor in network.items()} == theirs


def test_what_its_loader_takes_otherwise_is_said():
    assert comfyui.unlike(small.transformer_config("high-noise")) == [
        f"attention_head_dim is {cases.WIDTH // cases.HEADS}, not 128",
        f"freq_dim is {cases.FREQ}, not 256",
        f"text_dim is {cases.TEXT}, not 4096",
    ]


def test_a_published_model_is_sampled_as_published():
    made = setup(published())
    assert (made.sampler, made.steps, made.shift, made.guidance, made.sigmas) == ("uni_pc", 50, 5.0, (5.0,), None)
    assert (made.fps, made.z_dim, made.change, made.bucket) == (16, 16, None, BUCKET)
    assert any(note.startswith("uni_pc has other formulas") for note in made.notes)
    assert any("not rounded" in note for note in made.notes)


def test_a_workflow_steers_away_from_what_the_contract_says():
    assert setup(published()).negative == ""
    nodes = workflow.build(setup(published(negative_prompt="blurred")), ["m.safetensors"])
    texts = {number: node["inputs"]["text"] for number, node in nodes.items() if node["class_type"] == "CLIPTextEncode"}
    [sampler] = [node["inputs"] for node in nodes.values() if node["class_type"] == "SamplerCustom"]
    assert texts[sampler["negative"][0]] == "blurred"
    assert texts[sampler["positive"][0]] != "blurred"


def test_guidance_that_is_folded_in_is_not_applied_again():
    made = setup(published(guidance_form="folded"))
    assert made.guidance == (1.0,)
    assert any(note.startswith("keep cfg at 1") for note in made.notes)


@pytest.mark.parametrize(("sampler", "theirs"), [("euler", "euler"), ("renoise", "lcm")])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 50])
def test_sigmas_of_its_scheduler_are_the_contracts_where_steps_divide_1000(sampler, theirs, steps):
    made = setup(published(sampler=sampler, steps=steps, rounds_timesteps=False))
    assert (made.sampler, made.sigmas) == (theirs, None)
    record = declaring.sampling(SMALL).model_copy(update={"sampler": sampler})
    ours = sampling.sampler(record).sigmas(steps, 5.0)
    assert torch.allclose(comfyui.simple(steps, 5.0), ours, rtol=0, atol=1e-12)


def test_other_sigmas_are_listed():
    third = setup(published(sampler="euler", steps=3, rounds_timesteps=False)).sigmas
    assert third == tuple(schedule.grid(3, 5.0).tolist())
    trained = (1.0, 0.9, 0.5)
    student = setup(published(sampler="renoise", steps=3, allowed_steps=(3,), sigmas=trained, rounds_timesteps=False))
    assert student.sigmas == (*trained, 0.0)
    assert any(note.startswith("its sigmas are listed") for note in student.notes)


def test_steps_that_a_student_was_trained_for_are_said_to_stay():
    trained = tuple(schedule.grid(4, 5.0)[:-1].tolist())
    made = setup(published(sampler="renoise", steps=4, allowed_steps=(4,), sigmas=trained, rounds_timesteps=False))
    assert (made.sampler, made.steps, made.sigmas) == ("lcm", 4, None)
    assert "keep its steps: it was trained for 4" in made.notes


def test_two_experts_change_where_the_sigma_falls_below_the_boundary():
    family = BY_NAME["wan2.2-t2v-a14b"]
    contract = published().model_copy(update={"process": declaring.process(family, family.expert_boundary)})
    made = comfyui.setup(contract, declaring.sampling(family), family, BUCKET)
    assert made.guidance == (4.0, 3.0)
    assert made.change is not None
    sigmas = comfyui.simple(40, 12.0)
    assert sigmas[made.change - 1] >= 0.875 > sigmas[made.change]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sampler": "flow_map"}, "its sampler 'flow_map' is none of ComfyUI's"),
        ({"steps": 4, "allowed_steps": (4,)}, "trained for 4 steps of 'unipc'.*takes other ones"),
        ({"sampler": "wan_unipc", "steps": 4, "allowed_steps": (2, 4)}, "2 or 4 steps of 'wan_unipc'"),
    ],
)
def test_what_its_samplers_do_otherwise_gets_no_workflow(change, reason):
    contract = published(**change)
    [said] = comfyui.unsuited(contract, contract.sampling)
    assert re.search(reason, said)


def test_a_model_of_other_latents_texts_or_predictions_gets_no_workflow():
    contract = contracts.Contract(
        latent_space=tiny.space(),
        process=contracts.Process(
            shift=1.0,
            draws="uniform",
            patch_size=(1, 2, 2),
            timestep_scale=1.0,
            conditioning="context",
            context=1,
            prediction="v_prediction",
            diffusion=contracts.Diffusion(betas="linear", beta_start=1e-4, beta_end=2e-2, zero_terminal_snr=False),
        ),
        sampling=declaring.sampling(SMALL),
    )
    assert comfyui.unsuited(contract, contract.sampling) == [
        "its latents (4 channels) have not the mean and deviation of a published Wan VAE",
        "its text has 6 tokens, there it has 512",
        "it continues clips, and nothing there gives it one",
        "it predicts v_prediction; a Wan transformer is taken there to predict the velocity",
        "its timestep is 1 * sigma, there 1000",
    ]
    assert comfyui.unsuited(None, None) == ["its contract does not say how it is sampled"]
