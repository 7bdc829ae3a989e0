"""Evaluation on tiny random models of the real classes: equal must measure as equal, different as different."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from frostline import digits, evaluation, judge, models, records
from frostline.codec import Codec
from frostline.contract import Sampling
from frostline.errors import WrongUse
from frostline.evaluation import Evaluated, HeldOut, Plan
from frostline.generation import Generator
from frostline.params.sources import DigitsParams, DrawParams
from frostline.sources import preparing
from tests import conftest

IMAGE, CLIP = (1, 32, 32), (5, 32, 32)
PLAN = Plan(samples={IMAGE: 20, CLIP: 8}, curve_steps=(1, 2), curve_samples=20, seed=0)


def real(frames: int, scans: int = 20) -> HeldOut:
    chosen = [int(scan) for label in range(10) for scan in digits.members("test") if digits.labels()[scan] == label]
    taken = chosen[:: len(chosen) // scans][:scans]
    motions: list[digits.Motion | None] = [None if frames == 1 else digits.MOTIONS[place % 2] for place in range(scans)]
    return HeldOut(
        bucket=(frames, 32, 32),
        captions=tuple(
            digits.caption(int(digits.labels()[scan]), motion) for scan, motion in zip(taken, motions, strict=True)
        ),
        pixels=np.stack([digits.render(scan, 0, frames, motion) for scan, motion in zip(taken, motions, strict=True)]),
    )


@pytest.fixture(scope="module")
def judging() -> judge.Judge:
    """A judge with random weights: its answers mean nothing, but equal pictures get equal answers."""
    settings = judge.Settings(size=32, feature_mean=(0.0,) * judge.FEATURES, feature_std=(1.0,) * judge.FEATURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return judge.Judge(judge.Network(32), settings)


@pytest.fixture(scope="module")
def family(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[models.Model]:
    """A teacher, a student with the teacher's own weights, and one with others; students come before their teacher."""
    root = tmp_path_factory.mktemp("family")
    teacher = make_model(root / "teacher", sampling={"guidance": 1.0})
    digest = models.load(teacher).training.weights_digest
    facts = {"sampling": {"guidance": 1.0, "guidance_form": "folded"}, "teacher_digest": digest}
    twin, other = make_model(root / "twin", **facts), make_model(root / "other", seed=1, **facts)
    return [models.load(folder) for folder in (twin, other, teacher)]


def evaluate(
    family: Sequence[models.Model],
    base: Path,
    judging: judge.Judge | None,
    held_out: Sequence[HeldOut],
    plan: Plan = PLAN,
) -> dict[str, Evaluated]:
    codec = Codec(base)
    generators = [Generator(model, codec) for model in family]
    return {one.name: one for one in evaluation.evaluate(family, generators, held_out, judging, plan)}


@pytest.fixture(scope="module")
def evaluated(family: list[models.Model], tiny_base: Path, judging: judge.Judge) -> dict[str, Evaluated]:
    return evaluate(family, tiny_base, judging, [real(1), real(5)])


def test_a_clip_is_compared_with_what_really_followed(tiny_continuing: Path, tiny_base: Path, judging: judge.Judge):
    held_out = real(5)
    [found] = evaluate([models.load(tiny_continuing)], tiny_base, judging, [held_out]).values()
    numbers, drawn = found.numbers[CLIP], found.drawn[CLIP]
    assert drawn.given == 1
    true = held_out.pixels[evaluation.followed(held_out, drawn.prompts)]
    error = np.sqrt(np.mean((drawn.pixels[:, 1:].astype(float) - true[:, 1:]) ** 2)) / 255
    assert numbers["future_rmse"] == pytest.approx(error, abs=1e-4)
    still = np.sqrt(np.mean((true[:, :1].astype(float) - true[:, 1:]) ** 2)) / 255
    assert numbers["still_rmse"] == pytest.approx(still, abs=1e-4)
    assert 0.01 < still < error


def test_each_sample_goes_on_from_the_next_clip_with_its_caption():
    pixels = np.zeros((4, 5, 8, 8, 3), np.uint8)
    held_out = HeldOut(bucket=CLIP, captions=("b", "a", "b", "b"), pixels=pixels)
    assert evaluation.followed(held_out, ["a", "b", "a", "b", "a", "b", "a", "b"]) == [1, 0, 1, 2, 1, 3, 1, 0]


def test_the_text_encoder_is_let_go_of_before_anything_is_drawn(
    family: list[models.Model], tiny_base: Path, judging: judge.Judge
):
    class Watched(Codec):
        both: ClassVar[list[bool]] = []

        def decode(self, normalised: torch.Tensor) -> torch.Tensor:
            self.both.append("text_encoder" in vars(self))
            return super().decode(normalised)

    codec = Watched(tiny_base)
    evaluation.evaluate(family[:1], [Generator(family[0], codec)], [real(1)], judging, PLAN)
    assert codec.both
    assert not any(codec.both)
    assert "text_encoder" not in vars(codec)


def test_a_student_with_its_teachers_weights_is_its_teacher(evaluated: dict[str, Evaluated]):
    for bucket in (IMAGE, CLIP):
        numbers = evaluated["twin"].numbers[bucket]
        assert numbers["endpoint_rmse"] == 0
        assert numbers["frechet_teacher"] == 0
        assert np.array_equal(evaluated["twin"].drawn[bucket].pixels, evaluated["teacher"].drawn[bucket].pixels)


def test_another_student_differs_from_its_teacher(evaluated: dict[str, Evaluated]):
    assert evaluated["other"].numbers[IMAGE]["endpoint_rmse"] > 0.1
    assert not np.array_equal(evaluated["other"].drawn[IMAGE].pixels, evaluated["teacher"].drawn[IMAGE].pixels)


def test_teachers_are_found_by_the_digest_of_their_weights(evaluated: dict[str, Evaluated]):
    assert {name: one.teacher for name, one in evaluated.items()} == {
        "twin": "teacher",
        "other": "teacher",
        "teacher": None,
    }
    assert "endpoint_rmse" not in evaluated["teacher"].numbers[IMAGE]


def test_prompts_come_from_the_held_out_captions_in_turn(evaluated: dict[str, Evaluated]):
    prompts = evaluated["teacher"].drawn[IMAGE].prompts
    assert len(prompts) == 20
    assert prompts[:10] == prompts[10:] == tuple(sorted(set(real(1).captions)))


def test_a_share_comes_with_its_standard_error(evaluated: dict[str, Evaluated]):
    numbers = evaluated["teacher"].numbers[CLIP]
    for name in ("accuracy", "direction"):
        share = numbers[name]
        assert numbers[f"{name}_error"] == pytest.approx((share * (1 - share) / 8) ** 0.5, abs=1e-4)


def test_a_curve_has_a_point_per_number_of_steps(evaluated: dict[str, Evaluated]):
    assert [point["steps"] for point in evaluated["teacher"].curve] == [1, 2]
    assert set(evaluated["teacher"].curve[0]) == set(evaluation.CURVE)


def test_a_curve_ends_in_the_numbers_of_the_models_own_steps(family: list[models.Model], tiny_base: Path):
    plan = Plan(samples={IMAGE: 10}, curve_steps=(2, 4), curve_samples=10, seed=0)
    [found] = evaluate(family[2:], tiny_base, None, [real(1)], plan).values()
    again = evaluation.draw(Generator(found.model, Codec(tiny_base)), found.drawn[IMAGE].prompts, real(1), 0, steps=4)
    assert torch.equal(again.latents, found.drawn[IMAGE].latents)
    assert found.curve[0]["endpoint_rmse"] > 0
    assert found.curve[1]["endpoint_rmse"] == 0


def test_a_curve_keeps_to_the_steps_the_contract_allows(
    make_model: Callable[..., Path], tiny_base: Path, judging: judge.Judge, tmp_path: Path
):
    few = models.load(make_model(tmp_path / "few", sampling={"allowed_steps": (4, 2), "guidance": 1.0}))
    assert [point["steps"] for point in evaluate([few], tiny_base, judging, [real(1)])["few"].curve] == [2]


def test_a_bucket_a_model_was_not_trained_on_is_left_out(family: list[models.Model], tiny_base: Path):
    plan = Plan(samples={IMAGE: 10, (9, 32, 32): 4}, curve_steps=(), curve_samples=1, seed=0)
    assert set(evaluate(family[2:], tiny_base, None, [real(1), real(9)], plan)["teacher"].numbers) == {IMAGE}


def test_the_same_evaluation_gives_the_same_numbers(
    evaluated: dict[str, Evaluated], family: list[models.Model], tiny_base: Path, judging: judge.Judge
):
    again = evaluate(family, tiny_base, judging, [real(1), real(5)])
    assert evaluation.summary(list(again.values())) == evaluation.summary(list(evaluated.values()))
    assert torch.equal(again["other"].drawn[CLIP].latents, evaluated["other"].drawn[CLIP].latents)


def test_evaluations_of_two_experts_are_counted_at_the_steps_of_each(family: list[models.Model]):
    one = family[2]
    record = conftest.EXTERNAL | {"shift": 12.0, "guidance": 4.0}
    process = one.sampled()[0].model_copy(update={"expert_boundary": 0.875})

    def cost(low: float, form: str = "external") -> int:
        sampled = records.parse(Sampling, record | {"guidance_low": low, "guidance_form": form}, origin="a test")
        meaning = one.contract.model_copy(update={"process": process, "sampling": sampled})
        return evaluation.evaluations(dataclasses.replace(one, contract=meaning, low=one.transformer), 8)

    assert (cost(3.0), cost(1.0), cost(3.0, "folded")) == (16, 14, 8)  # two of eight steps are below .875


def test_numbers_are_rounded(evaluated: dict[str, Evaluated]):
    values = [
        v
        for buckets in evaluation.summary(list(evaluated.values())).values()
        for n in buckets.values()
        for v in n.values()
    ]
    assert values == [round(value, evaluation.DECIMALS) for value in values]


def test_what_was_judged_is_named_by_digest(evaluated: dict[str, Evaluated]):
    found = evaluation.identities(list(evaluated.values()))
    assert found["twin"]["weights_digest"] == evaluated["twin"].model.training.weights_digest
    assert found["twin"]["contract_digest"] != found["teacher"]["contract_digest"]


def test_diversity_is_left_out_where_a_digit_was_drawn_once(evaluated: dict[str, Evaluated]):
    assert "diversity" in evaluated["teacher"].numbers[IMAGE]
    assert "diversity" not in evaluated["teacher"].numbers[CLIP]


def test_without_a_judge_only_what_needs_none_is_measured(family: list[models.Model], tiny_base: Path):
    found = evaluate(family, tiny_base, None, [real(1)])
    assert set(found["twin"].numbers[IMAGE]) == {
        "n",
        "saturation",
        "latent_mean",
        "latent_std",
        "latent_channel_mean_max",
        "endpoint_rmse",
    }
    assert evaluation.find_judge(tiny_base) is None
    [sentence] = evaluation.missing(family, [real(1)], None, "bases/tiny")
    assert "bases/tiny has no judge" in sentence


def test_a_judge_of_digits_does_not_judge_other_pictures(
    family: list[models.Model], tiny_base: Path, judging: judge.Judge
):
    flowers = HeldOut(bucket=IMAGE, captions=("a red flower",) * 20, pixels=real(1).pixels)
    found = evaluate(family[2:], tiny_base, judging, [flowers])
    assert "accuracy" not in found["teacher"].numbers[IMAGE]
    [sentence] = evaluation.missing(family[2:], [flowers], judging, "base")
    assert "1x32x32" in sentence


def test_an_unfinished_model_is_named(make_model: Callable[..., Path], tmp_path: Path, judging: judge.Judge):
    model = models.load(make_model(tmp_path / "early", steps_done=79, steps_planned=600))
    [sentence] = evaluation.missing([model], [real(1)], judging, "base")
    assert "early is unfinished: 79 of 600 steps" in sentence


def test_evaluations_count_the_second_network_call_of_guidance(make_model: Callable[..., Path], tmp_path: Path):
    guided = models.load(make_model(tmp_path / "external"))
    folded = models.load(make_model(tmp_path / "folded", sampling={"guidance_form": "folded"}))
    assert evaluation.evaluations(guided, 20) == 40
    assert evaluation.evaluations(folded, 20) == 20


def test_real_pictures_are_measured_like_samples(judging: judge.Judge):
    numbers = evaluation.real_numbers(real(5), judging)
    assert numbers["direction"] == 1.0
    assert numbers["n"] == 20


def test_held_out_pictures_are_of_the_test_split_only(tmp_path: Path):
    from frostline import manifest

    settings = DigitsParams(kind="digits", path="digits.py", size=32, draws=(DrawParams(frames=1, per_scan=1),))
    rows, rejected = preparing.rows("digits", settings)
    manifest.write(tmp_path / "digits", rows, rejected)
    [found] = evaluation.held_out({"digits": settings}, tmp_path, [IMAGE])
    assert found.pixels.shape == (360, 1, 32, 32, 3)
    first = int(digits.members("test")[0])
    assert np.array_equal(found.pixels[0], digits.render(first, 0, 1))
    with pytest.raises(WrongUse, match=r"bucket 5x32x32.*evaluate\.samples"):
        evaluation.held_out({"digits": settings}, tmp_path, [CLIP])


def test_a_base_with_a_judge_is_found(tiny_base: Path, judging: judge.Judge, tmp_path: Path):
    shutil.copytree(tiny_base, tmp_path / "base")
    judging.save(tmp_path / "base" / "judge")
    found = evaluation.find_judge(tmp_path / "base")
    assert found is not None
    assert found.settings == judging.settings
