import math
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel

from benchmarks.parts import conventions
from frostline import contract, exact, guidance, path, sampling, schedule
from frostline.checks import oracle_sampler
from frostline.errors import Refused, WrongUse

TEACHER = oracle_sampler.TEACHER
SHAPE = (4, 16, 1, 4, 4)


def record(kind, **changes):
    plain = {
        "sampler": kind,
        "rounds_timesteps": kind == "unipc",
        "steps": 20,
        "allowed_steps": None,
        "shift": 5.0,
        "allowed_shifts": None,
        "sigmas": None,
        "guidance": 2.0,
        "guidance_form": "external",
        "teacher_digest": None,
    }
    return contract.Sampling.model_validate({**plain, **changes})


def noise(dtype=torch.float32, seed=0):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def error(kind, steps, *, network=TEACHER.velocity, shift=5.0, **changes):
    start = noise(torch.float64)
    sampler = sampling.sampler(record(kind, **changes))
    return oracle_sampler.pair_error(sampler.sample(network, start, steps=steps, shift=shift), start)


# ------------------------------------------------------------------------------------------ against the closed form


@pytest.mark.parametrize(
    ("kind", "rounds", "limit"),
    [("unipc", True, 0.01), ("unipc", False, 0.01), ("euler", False, 0.03), ("euler", True, 0.03)],
)
def test_pair_error_at_200_steps(kind, rounds, limit):
    assert error(kind, 200, rounds_timesteps=rounds) < limit


@pytest.mark.parametrize(
    ("kind", "order", "shift", "low", "high"),
    [
        ("euler", 2, 1.0, 0.9, 1.1),
        ("euler", 2, 5.0, 0.9, 1.1),
        ("unipc", 2, 1.0, 1.9, 4.0),
        ("unipc", 2, 5.0, 1.9, 4.0),
    ],
)
def test_order_of_convergence(kind, order, shift, low, high):
    """Mean slope of log error over log step size from 20 to 160 steps; whole timesteps would set a floor to it."""
    coarse, fine = (error(kind, n, shift=shift, solver_order=order, rounds_timesteps=False) for n in (20, 160))
    assert low < math.log2(coarse / fine) / 3 < high


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_flow_map_is_exact_in_any_number_of_steps(steps):
    assert error("flow_map", steps, network=TEACHER.mean_velocity) < 1e-10


@pytest.mark.parametrize(("kind", "limit"), [("unipc", 0.005), ("euler", 0.05)])
def test_mixture_with_guidance_against_runge_kutta(kind, limit):
    generator = torch.Generator().manual_seed(0)
    teacher = exact.mixture(classes=4, components=3, dimensions=256, generator=generator)
    guided = guidance.guided(teacher.of_class(1).velocity, teacher.velocity, 2.0)
    start = noise(torch.float64)
    right = exact.integrate(guided, start, 1.0, 0.0, 800)
    ours = sampling.sampler(record(kind, rounds_timesteps=False)).sample(guided, start, steps=200)
    assert float((ours - right).norm() / right.norm()) < limit


def test_renoising_with_the_exact_teacher_keeps_the_mean():
    """Each jump goes to the expected clean latent: the mean is right, the spread is that of the last jump."""
    sampler = sampling.sampler(record("renoise", steps=4))
    ends = sampler.sample(TEACHER.velocity, noise(torch.float64), generator=torch.Generator().manual_seed(1))
    last = schedule.grid(4, 5.0)[-2]
    variance = (1 - last) ** 2 * TEACHER.std**2 + last**2
    spread = (1 - last) * TEACHER.std**2 / variance * torch.sqrt((1 - last) ** 2 * ends_variance(3) + last**2)
    assert float(ends.mean()) == pytest.approx(TEACHER.mean, abs=0.02)
    assert float(ends.std()) == pytest.approx(float(spread), rel=0.1)


def ends_variance(jumps):
    """Variance of the clean latent after so many jumps of the four-step re-noising chain, from N(0, 1)."""
    variance = torch.tensor(0.0, dtype=torch.float64)
    for sigma in schedule.grid(4, 5.0)[:jumps]:
        gain = (1 - sigma) * TEACHER.std**2 / ((1 - sigma) ** 2 * TEACHER.std**2 + sigma**2)
        variance = gain**2 * ((1 - sigma) ** 2 * variance + sigma**2)
    return variance


# ------------------------------------------------------------------------------------------ each wrong convention


@pytest.mark.parametrize("convention", conventions.WRONG)
def test_each_wrong_convention_fails_measurably(convention):
    finding = oracle_sampler.check(conventions.WRONG[convention], generator=torch.Generator().manual_seed(0))
    assert finding.verdict == "fail"
    assert finding.measured["pair_error"] > 0.5


# ------------------------------------------------------------------------------------------ against diffusers


@pytest.fixture(scope="module")
def wan():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanTransformer3DModel(
            patch_size=(1, 1, 1),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=8,
            ffn_dim=32,
            num_layers=2,
        ).eval()


@pytest.mark.parametrize(("steps", "shift", "scale"), [(1, 5.0, 2.0), (4, 5.0, 1.0), (20, 5.0, 2.0), (40, 12.0, 3.0)])
@torch.no_grad()
def test_latents_are_those_of_the_stock_wan_pipeline(wan, steps, shift, scale):
    generator = torch.Generator().manual_seed(1)
    prompt, null = (torch.randn(4, 6, 8, generator=generator) for _ in range(2))
    absent: Any = None  # text arrives encoded, latents leave as they are
    scheduler = sampling.unipc_scheduler(solver_order=2, shift=shift)
    pipeline = WanPipeline(tokenizer=absent, text_encoder=absent, vae=absent, transformer=wan, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    (stock,) = pipeline(
        prompt_embeds=prompt,
        negative_prompt_embeds=null,
        height=32,
        width=32,
        num_frames=1,
        num_inference_steps=steps,
        guidance_scale=scale,
        latents=noise(),
        output_type="latent",
        return_dict=False,
    )

    def under(text):
        return lambda noised, sigma: wan(noised, path.timestep(sigma).float(), text, return_dict=False)[0]

    ours = sampling.sampler(record("unipc")).sample(
        guidance.guided(under(prompt), under(null), scale), noise(), steps=steps, shift=shift
    )
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-6)


def test_colliding_timesteps_do_not_skip_a_step():
    """Two hundred steps at shift 12 floor to equal timesteps; without a begin index the stock scheduler starts late."""
    assert error("unipc", 200, shift=12.0, rounds_timesteps=False) < 0.01
    told = sampling.sampler(record("unipc")).told(200, 12.0)
    assert len(set(told.tolist())) < 200


def test_the_scheduler_is_that_of_published_wan():
    config = sampling.unipc_scheduler(solver_order=2, shift=5.0).config
    named = ("num_train_timesteps", "prediction_type", "use_flow_sigmas", "flow_shift", "solver_order", "solver_type")
    assert [config[name] for name in named] == [1000, "flow_prediction", True, 5.0, 2, "bh2"]
    assert config["final_sigmas_type"] == "zero"
    assert config["predict_x0"] is True


def test_only_a_contract_the_stock_pipeline_obeys_has_a_stock_scheduler():
    scheduler = sampling.stock_scheduler(record("unipc", shift=3.0, solver_order=3))
    assert scheduler is not None
    assert (scheduler.config.flow_shift, scheduler.config.solver_order) == (3.0, 3)
    assert sampling.stock_scheduler(record("unipc", rounds_timesteps=False)) is None
    assert sampling.stock_scheduler(record("euler")) is None


# ------------------------------------------------------------------------------------------ the contract decides


def test_the_network_is_told_what_the_contract_says():
    heard = []

    def network(noised, sigma):
        heard.append(sigma)
        return TEACHER.velocity(noised, sigma)

    sampling.sampler(record("unipc", steps=4)).sample(network, noise())
    assert [(path.timestep(s)[0].round(decimals=6).item(), s.dtype, s.shape[0]) for s in heard] == [
        (timestep, torch.float64, 4) for timestep in (999, 937, 833, 625)
    ]
    heard.clear()
    sampling.sampler(record("euler", steps=4)).sample(network, noise())
    assert torch.equal(torch.stack(heard)[:, 0], schedule.grid(4, 5.0)[:-1])


def test_defaults_are_the_contract_s():
    sampler = sampling.sampler(record("euler", steps=3, shift=2.0))
    assert torch.equal(
        sampler.sample(TEACHER.velocity, noise()), sampler.sample(TEACHER.velocity, noise(), steps=3, shift=2.0)
    )


@pytest.mark.parametrize("kind", ["unipc", "euler", "renoise", "flow_map"])
def test_latents_keep_shape_and_precision_and_the_noise(kind):
    start, generator = noise(), torch.Generator().manual_seed(0)
    network = TEACHER.mean_velocity if kind == "flow_map" else TEACHER.velocity
    before = start.clone()
    ends = sampling.sampler(record(kind)).sample(network, start, generator=generator)
    assert (ends.shape, ends.dtype) == (start.shape, torch.float32)
    assert torch.equal(start, before)


def test_samplers_are_used_again_without_memory():
    sampler = sampling.sampler(record("unipc"))
    first, second = (sampler.sample(TEACHER.velocity, noise()) for _ in range(2))
    assert torch.equal(first, second)


def test_renoising_visits_the_trained_list():
    listed = (1.0, 0.9, 0.5, 0.25)
    sampler = sampling.sampler(record("renoise", steps=4, sigmas=listed))
    assert sampler.sigmas(4, 5.0).tolist() == [*listed, 0.0]
    assert sampler.sigmas(2, 5.0).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(Refused, match="divides 4"):
        sampler.sigmas(3, 5.0)


def test_renoising_row_by_row_does_not_depend_on_neighbours():
    sampler = sampling.sampler(record("renoise", steps=4))

    def generators(rows):
        return [torch.Generator().manual_seed(100 + row) for row in rows]

    together = sampler.sample(TEACHER.velocity, noise(), generator=generators(range(4)))
    alone = sampler.sample(TEACHER.velocity, noise()[2:3], generator=generators([2]))
    assert torch.equal(together[2:3], alone)


def test_renoising_needs_a_generator_for_each_row():
    sampler = sampling.sampler(record("renoise", steps=4))
    with pytest.raises(WrongUse, match="generator"):
        sampler.sample(TEACHER.velocity, noise())
    with pytest.raises(WrongUse, match="2 generators for 4 rows"):
        sampler.sample(TEACHER.velocity, noise(), generator=[torch.Generator(), torch.Generator()])


@pytest.mark.parametrize("sigmas", [(1.0, 0.5, 0.5), (1.2, 0.5), (1.0, 0.5, 0.0), (0.5, 1.0)])
def test_a_list_that_does_not_fall_is_refused(sigmas):
    with pytest.raises(Refused, match="must fall"):
        sampling.sampler(record("renoise", steps=len(sigmas), sigmas=sigmas))


def test_a_solver_that_cannot_visit_the_list_is_refused():
    trained = tuple(schedule.grid(4, 5.0)[:-1].tolist())
    assert sampling.sampler(record("euler", steps=4, sigmas=trained))
    with pytest.raises(Refused, match="visits"):
        sampling.sampler(record("unipc", steps=4, sigmas=trained))


# ------------------------------------------------------------------------------------------ what is refused

FEW = record("flow_map", steps=4, allowed_steps=(1, 2, 4), allowed_shifts=(5.0,), guidance_form="folded", guidance=1.0)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"steps": 20}, "trained for 1, 2, 4 steps"),
        ({"shift": 3.0}, "trained for shift 5"),
        ({"guidance": 2.0}, "applied twice"),
    ],
)
def test_what_the_contract_forbids_is_refused_with_the_allowed_values(wish, words):
    with pytest.raises(Refused, match=words):
        sampling.refuse_forbidden(FEW, **wish)


def test_a_listed_shift_is_the_only_one():
    with pytest.raises(Refused, match="listed at shift 5"):
        sampling.refuse_forbidden(record("renoise", steps=2, sigmas=(1.0, 0.5)), shift=3.0)


def test_what_the_contract_allows_passes():
    sampling.refuse_forbidden(FEW)
    sampling.refuse_forbidden(FEW, steps=2, shift=5.0, guidance=1.0)
    sampling.refuse_forbidden(record("unipc"), steps=77, shift=3.3, guidance=4.0)
