"""Putting the frozen parts together: training, rounding, re-gauging, and the folder they are kept in."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline

from frostline import digits, files, judge
from frostline.foundation import figures, gauge, judging, text
from frostline.foundation import vae as training
from frostline.records import Record

RECORD = "foundation.json"
PRECISE = ("quant_conv", "post_quant_conv")  # these two stay float32 on disk: they carry the gauge
SHIFT = 5.0  # of the stock scheduler, as in Wan2.1

Say = Callable[[str], None]


class Recipe(Record):
    """Everything the miniature's frozen parts depend on."""

    vae: training.Recipe = training.Recipe()
    judge: judging.Recipe = judging.Recipe()
    text_seed: int = 0
    curve_points: int = 12  # how often the VAE is measured while it is trained,
    curve_scans: int = 60  # on so many scans of the validation split
    gauge_scans: int = digits.SIZES["train"]  # scans of the train split that the latents' statistics come from
    measured_scans: int = digits.SIZES["test"]  # of each split, at most, for the figures at the end


def make(folder: Path, recipe: Recipe, say: Say) -> None:
    """Train everything and write a whole base into a folder; `say` is given lines of progress."""
    exact, curve = train_vae(recipe, say)
    stored = rounded(exact)
    for each in (exact, stored):
        gauge_latents(each, recipe)
    referee = judging.train(recipe.judge, _progress("judge", recipe.judge.steps, say))
    save(folder, stored, recipe.text_seed, referee)
    files.write_json(folder / RECORD, facts(folder, recipe, curve, exact, referee))


def gauge_latents(vae: AutoencoderKLWan, recipe: Recipe) -> None:
    """Give a trained VAE latents of Wan2.1's published statistics in which every channel carries something."""
    scans = _gauge_scans(recipe)
    gauge.mix(vae, gauge.statistics(vae, scans), gauge.emptiness(vae, scans[: recipe.curve_scans]))
    gauge.regauge(vae, gauge.statistics(vae, scans), gauge.published(vae))


def train_vae(recipe: Recipe, say: Say) -> tuple[AutoencoderKLWan, list[dict[str, float]]]:
    """The trained VAE, and dB on the first scans of the validation split by step."""
    curve: list[dict[str, float]] = []
    scans = digits.members("validation")[: recipe.curve_scans]
    interval = max(1, recipe.vae.steps // recipe.curve_points)
    progress = _progress("vae", recipe.vae.steps, say)

    def report(step: int, loss: float, vae: AutoencoderKLWan) -> None:
        progress(step, loss)
        if step % interval == 0:
            found = figures.of_vae(vae, scans)
            curve.append({"step": step, **{f"frames_{frames}": found[frames].db for frames in found}})
            say(f"vae {step}/{recipe.vae.steps} validation dB: {curve[-1]}")

    return training.train(recipe.vae, report), curve


@torch.no_grad()
def rounded(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """A copy whose weights, but for the two that carry the gauge, hold bfloat16 values in float32."""
    result = copy.deepcopy(vae)
    for weight in _rounded_weights(result):
        weight.copy_(weight.bfloat16())
    return result


def save(folder: Path, vae: AutoencoderKLWan, text_seed: int, referee: judge.Judge) -> None:
    """Write the parts as a diffusers Wan pipeline without a transformer, and the judge beside them.

    The VAE is stored in bfloat16 and read by diffusers as float32; the small text encoder is stored in float32,
    because transformers loads what is stored in bfloat16 in bfloat16.
    """
    stored = copy.deepcopy(vae)
    for weight in _rounded_weights(stored):
        weight.data = weight.data.bfloat16()
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT)
    parts: dict[str, Any] = {  # Any: the pipeline's annotations name fewer classes than it takes
        "tokenizer": text.tokenizer(),
        "text_encoder": text.encoder(text_seed),
        "vae": stored,
        "scheduler": scheduler,
        "transformer": None,
    }
    WanPipeline(**parts).save_pretrained(folder)
    referee.save(folder / "judge")


def facts(
    folder: Path, recipe: Recipe, curve: list[dict[str, float]], exact: AutoencoderKLWan, referee: judge.Judge
) -> dict[str, object]:
    """What foundation.json records: the recipe, the curve, and figures of the files just written."""
    stored = AutoencoderKLWan.from_pretrained(folder / "vae").eval()
    splits: tuple[digits.Split, ...] = ("validation", "test")
    scans = {split: digits.members(split)[: recipe.measured_scans] for split in splits}
    mean, std = gauge.statistics(stored, _gauge_scans(recipe))
    return {
        "recipe": recipe.model_dump(mode="json"),
        "curve": curve,
        "psnr": {split: _plain(figures.of_vae(stored, scans[split])) for split in splits},
        "psnr_before_rounding": {"validation": _plain(figures.of_vae(exact, scans["validation"]))},
        "raw_latents": {"mean": _decimals(mean), "std": _decimals(std)},
        "judge_accuracy": {split: round(judging.accuracy(referee, split), 4) for split in splits},
    }


def _gauge_scans(recipe: Recipe) -> np.ndarray:
    return digits.members("train")[: recipe.gauge_scans]


def _decimals(values: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _rounded_weights(vae: AutoencoderKLWan) -> list[torch.nn.Parameter]:
    return [weight for name, weight in vae.named_parameters() if not name.startswith(PRECISE)]


def _plain(found: dict[int, figures.Fidelity]) -> dict[str, dict[str, float]]:
    return {f"frames_{frames}": {"db": each.db, "n": each.n} for frames, each in found.items()}


def _progress(name: str, steps: int, say: Say) -> Callable[[int, float], None]:
    """Says the loss twenty times in all."""
    interval = max(1, steps // 20)

    def report(step: int, loss: float) -> None:
        if step % interval == 0 or step == steps:
            say(f"{name} {step}/{steps} loss {loss:.5f}")

    return report
