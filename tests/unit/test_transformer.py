import pytest
import torch

from frostline import randomness, transformer
from frostline.errors import WrongUse
from tests import tiny


def answer(network, **changed):
    """Velocity for fixed inputs."""
    given = {
        "noised": randomness.normal((2, 4, 2, 2, 2), "noised"),
        "sigma": torch.tensor([0.25, 0.75], dtype=torch.float64),
        "text": randomness.normal((2, 6, 8), "text"),
        **changed,
    }
    with torch.no_grad():
        return transformer.velocity_fn(network, given["text"], tiny.process())(given["noised"], given["sigma"])


def test_a_fresh_transformer_says_nothing_and_depends_on_the_seed_alone():
    first, again, other = (transformer.create(tiny.SHAPE, tiny.space(), seed=seed) for seed in (0, 0, 1))
    assert not answer(first).any()
    weights = [dict(network.state_dict()) for network in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["blocks.0.attn1.to_q.weight"], weights[2]["blocks.0.attn1.to_q.weight"])


def test_making_networks_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    network = transformer.create(tiny.SHAPE, tiny.space(), seed=0)
    transformer.from_layers(network, [1])
    transformer.from_state(dict(network.config), network.state_dict())
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_timestep_is_a_thousand_times_sigma_in_float32():
    found = transformer.timestep(torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64), tiny.process())
    assert found.dtype == torch.float32
    assert found.tolist() == [0.0, 300.0, 1000.0]
    assert transformer.timestep(torch.tensor([0.5]), tiny.process(timestep_scale=1.0)).tolist() == [0.5]


def test_the_network_hears_its_noise_sigma_and_text():
    network, rows = tiny.network(), answer(tiny.network())
    assert rows.shape == (2, 4, 2, 2, 2)
    for changed in (
        {"sigma": torch.tensor([0.3, 0.75], dtype=torch.float64)},
        {"text": randomness.normal((2, 6, 8), "other text")},
        {"noised": randomness.normal((2, 4, 2, 2, 2), "other noise")},
    ):
        assert (answer(network, **changed)[0] - rows[0]).abs().max() > 1e-4


def test_a_student_starts_from_the_layers_it_names():
    teacher = tiny.network()
    student, sources = transformer.from_layers(teacher, [1])
    assert student.config["num_layers"] == 1
    assert sources["blocks.0.attn1.to_q.weight"] == "blocks.1.attn1.to_q.weight"
    assert sources["proj_out.weight"] == "proj_out.weight"
    weights, theirs = student.state_dict(), teacher.state_dict()
    assert set(sources) == set(weights)
    assert all(torch.equal(weights[name], theirs[source]) for name, source in sources.items())


def test_a_student_of_all_layers_is_its_teacher_and_of_its_own_memory():
    teacher = tiny.network()
    student, _ = transformer.from_layers(teacher, [0, 1])
    assert torch.equal(answer(student), answer(teacher))
    with torch.no_grad():
        student.proj_out.weight.zero_()
    assert answer(teacher).any()


@pytest.mark.parametrize("layers", [[], [2], [-1]])
def test_layers_the_teacher_does_not_have_are_refused(layers):
    with pytest.raises(WrongUse, match="layers 0 to 1"):
        transformer.from_layers(tiny.network(), layers)


def test_a_state_with_a_missing_tensor_is_no_network():
    network = tiny.network()
    weights = dict(network.state_dict())
    again = transformer.from_state(dict(network.config), weights)
    assert torch.equal(answer(again), answer(network))
    with pytest.raises(RuntimeError, match=r"proj_out\.weight"):
        transformer.from_state(dict(network.config), {k: v for k, v in weights.items() if k != "proj_out.weight"})


def test_a_network_in_half_precision_takes_latents_and_gives_a_velocity_in_float32():
    precise, network = tiny.network(), tiny.network().bfloat16()
    for part in ("time_embedder", "norm2", "scale_shift_table"):  # as diffusers keeps them
        for name, parameter in network.named_parameters():
            if part in name:
                parameter.data = parameter.detach().float()
    found = answer(network)
    assert found.dtype == torch.float32
    assert 0 < (found - answer(precise)).abs().max() < 0.1 * answer(precise).abs().max()


def test_counts():
    network = tiny.network()
    network.proj_out.requires_grad_(False)
    found = transformer.parameters(network)
    assert found["all"] - found["trainable"] == 12 * 4 + 4
