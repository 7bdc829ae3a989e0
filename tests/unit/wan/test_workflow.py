import dataclasses
from typing import Any

import pytest

from frostline.wan import comfyui, declaring, workflow
from frostline.wan.comfyui import Setup
from tests.unit.wan.test_comfyui import BUCKET, published, setup
from tests.unit.wan.test_families import BY_NAME, RECORDED

KINDS = {"text": str, "file": str, "integer": int, "number": float, "boolean": bool}
SEVERAL = {
    "latent": {"EmptyHunyuanLatentVideo", "Wan22ImageToVideoLatent", "KSampler", "SamplerCustom"},
    "sigmas": {"BasicScheduler", "ManualSigmas", "SplitSigmas"},
}
FAMILY = BY_NAME["wan2.2-t2v-a14b"]
STUDENT = {"rounds_timesteps": False, "allowed_steps": (4,), "guidance_form": "folded"}


def of_two() -> Setup:
    contract = published().model_copy(update={"process": declaring.process(FAMILY, FAMILY.expert_boundary)})
    return comfyui.setup(contract, declaring.sampling(FAMILY), FAMILY, BUCKET)


def changed(made: Setup, **facts: Any) -> Setup:
    return dataclasses.replace(made, **facts)


CASES = {
    "one": lambda: (setup(published()), ["m.safetensors"]),
    "image": lambda: (changed(setup(published()), bucket=(1, 480, 832)), ["m.safetensors"]),
    "listed": lambda: (setup(published(sampler="euler", steps=3, rounds_timesteps=False)), ["m.safetensors"]),
    "plain": lambda: (setup(published(sampler="renoise", steps=4, **STUDENT)), ["m.safetensors"]),
    "5b": lambda: (changed(setup(published()), z_dim=48), ["m.safetensors"]),
    "two": lambda: (of_two(), ["high.safetensors", "low.safetensors"]),
}


@pytest.mark.parametrize("case", CASES)
def test_nodes_and_inputs_are_those_that_comfyui_has(case):
    nodes = workflow.build(*CASES[case]())
    for node in nodes.values():
        known = RECORDED["nodes"][node["class_type"]]
        assert node["inputs"].keys() == known.keys()
        for name, value in node["inputs"].items():
            assert fits(value, known[name], nodes), (node["class_type"], name, value)
        assert node["_meta"]["title"]


def fits(value: Any, kind: Any, nodes) -> bool:
    """Whether an input is one of the values its node takes, or a link to a node that gives its kind."""
    if isinstance(kind, list):
        return value in kind
    if kind in KINDS:
        return type(value) is KINDS[kind]
    number, output = value
    giving = nodes[number]["class_type"]
    return output in ((0, 1) if giving == "SplitSigmas" else (0,)) and giving in SEVERAL.get(kind, {kind})


@pytest.mark.parametrize("case", CASES)
def test_every_node_serves_and_links_run_forwards(case):
    nodes = workflow.build(*CASES[case]())
    links = [
        (number, value[0])
        for number, node in nodes.items()
        for value in node["inputs"].values()
        if isinstance(value, list)
    ]
    assert all(int(source) < int(number) for number, source in links)
    [last] = nodes.keys() - {source for _, source in links}
    assert nodes[last]["class_type"].startswith("Save")


def only(nodes, kind: str) -> Any:
    [found] = [node["inputs"] for node in nodes.values() if node["class_type"] == kind]
    return found


def test_settings_are_the_contracts():
    nodes = workflow.build(*CASES["one"]())
    steps = only(nodes, "BasicScheduler")
    assert (steps["steps"], steps["scheduler"], steps["denoise"]) == (50, "simple", 1.0)
    assert only(nodes, "KSamplerSelect")["sampler_name"] == "uni_pc"
    assert (only(nodes, "SamplerCustom")["cfg"], only(nodes, "SamplerCustom")["add_noise"]) == (5.0, True)
    assert only(nodes, "ModelSamplingSD3")["shift"] == 5.0
    assert only(nodes, "UNETLoader")["unet_name"] == "m.safetensors"
    assert only(nodes, "VAELoader")["vae_name"] == "wan_2.1_vae.safetensors"
    size = only(nodes, "EmptyHunyuanLatentVideo")
    assert (size["length"], size["height"], size["width"]) == BUCKET
    texts = [node["inputs"]["text"] for node in nodes.values() if node["class_type"] == "CLIPTextEncode"]
    assert texts == [workflow.PROMPT, ""]


def test_the_plain_sampler_node_serves_where_it_visits_the_contracts_sigmas():
    nodes = workflow.build(*CASES["plain"]())
    sampler = only(nodes, "KSampler")
    assert (sampler["steps"], sampler["cfg"], sampler["denoise"]) == (4, 1.0, 1.0)
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("lcm", "simple")


def test_listed_sigmas_are_written_in_digits_alone():
    """The node finds numbers without an exponent only: 1e-05 would be two of them."""
    made = changed(setup(published()), sampler="lcm", sigmas=(1.0, 0.00001, 0.0))
    assert (
        only(workflow.build(made, ["m.safetensors"]), "ManualSigmas")["sigmas"]
        == "1.000000000, 0.000010000, 0.000000000"
    )


def test_the_second_expert_goes_on_where_the_first_stops():
    made, files = CASES["two"]()
    nodes = workflow.build(made, files)
    split = only(nodes, "SplitSigmas")
    assert split["step"] == made.change
    first, second = [node["inputs"] for node in nodes.values() if node["class_type"] == "SamplerCustom"]
    assert (first["add_noise"], second["add_noise"]) == (True, False)
    assert (first["cfg"], second["cfg"]) == (4.0, 3.0)
    assert (first["sigmas"][1], second["sigmas"][1]) == (0, 1)
    [number] = [number for number, node in nodes.items() if node["inputs"] is first]
    assert second["latent_image"] == [number, 0]
    loaded = [
        nodes[nodes[inputs["model"][0]]["inputs"]["model"][0]]["inputs"]["unet_name"] for inputs in (first, second)
    ]
    assert loaded == ["high.safetensors", "low.safetensors"]
