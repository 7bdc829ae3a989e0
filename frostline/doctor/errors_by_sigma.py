"""How wrong a network is at every sigma: on real latents, against its teacher, at other scales (D06, D08, D20, D21,
D25, D32).

Legend
    ratio      squared error over the best linear predictor's, as in readings.py
    unexplained    E|u - v|^2 / Var(v) of a student u and its teacher's velocity v, variance over rows
    teacher    conditional v_c and unconditional v_0 velocity, folded together as v_0 + g (v_c - v_0)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from frostline import findings, guidance, path, randomness
from frostline.doctor import catalogue, readings
from frostline.doctor.readings import Asked, Reading
from frostline.doctor.rows import Rows
from frostline.findings import Bound, Finding
from frostline.path import VelocityFn

SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
SCALES = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
ON_DATA = (  # of short trainings up to 1.5 was seen, where few rows are drawn; of networks that see noise alone 2.2
    Bound(measure="worst_over_linear", op="<", value=1.75, otherwise="warn"),
    Bound(measure="worst_over_linear", op="<", value=2.0),
)
EPSILON_TO = 0.8  # sigma to which noise that was predicted says enough of the clean latent to be judged by it
OF_TEACHER = (
    Bound(measure="most_unexplained", op="<", value=1.0),
    Bound(measure="mean_unexplained", op="<", value=0.3, otherwise="warn"),
)
LEARNED = (Bound(measure="least_over_linear", op="<", value=readings.LEARNED),)
TAUGHT = Bound(measure="least_unexplained", op="<", value=0.7)
OWN_RANGE = tuple(Bound(measure=name, op="<", value=1.05) for name in ("high_over_low_above", "low_over_high_below"))
OWN_SCALE = (
    Bound(measure="best_scale", op=">", value=0.65),
    Bound(measure="best_scale", op="<", value=1.5),
)
FRESH = (
    Bound(measure="fresh_over_recorded", op="<", value=1.5, otherwise="warn"),
    Bound(measure="fresh_over_recorded", op="<", value=3.0),
)
ONCE = (Bound(measure="scale_error", op="<", value=1 / 3),)


class Curve(NamedTuple):
    """A number per sigma."""

    sigmas: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def worst(self) -> tuple[float, float]:
        """The largest value and its sigma."""
        place = max(range(len(self.values)), key=lambda n: self.values[n])
        return self.values[place], self.sigmas[place]


def noised_at(rows: Rows, sigma: float, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rows at one sigma: noised, noise, and sigma (B,)."""
    noise = randomness.normal(tuple(rows.clean.shape), "doctor", key)
    level = torch.full((len(rows),), sigma, dtype=torch.float64)
    return path.noised(rows.clean, noise, level), noise, level


def over_linear(ask: Asked, reading: Reading, rows: Rows, sigmas: Sequence[float] = SIGMAS) -> Curve:
    """The ratio of a network under a reading, at each sigma that it can have learned at."""
    values, inside = [], [sigma for sigma in sigmas if sigma <= reading.end]
    clean = rows.clean if reading.units == "normalised" else rows.raw
    for sigma in inside:
        noise = randomness.normal(tuple(clean.shape), "doctor", "by sigma")
        level = torch.full((len(rows),), sigma, dtype=torch.float64)
        noised = path.noised(clean, noise, level)
        answer = ask(reading.given(noised, level), reading.told(level), rows.text)
        wanted = readings.target(reading.prediction, clean, noise, level)
        values.append(readings.ratio(answer, wanted, reading, clean, sigma))
    return Curve(tuple(inside), tuple(values))


def off_manifold(curve: Curve, last: float = 1.0) -> Finding:
    """D20 without a teacher: judge the ratios of a network on held-out latents, up to a last sigma."""
    curve = Curve(*zip(*((sigma, value) for sigma, value in zip(*curve, strict=True) if sigma <= last), strict=True))
    worst, at = curve.worst
    return findings.judge(catalogue.about("D20"), {"worst_over_linear": worst}, ON_DATA, note=f"worst at sigma {at:g}")


def off_teacher(curve: Curve) -> Finding:
    """D20 with a teacher: judge how much of its velocity a student leaves unexplained."""
    worst, at = curve.worst
    measured = {"most_unexplained": worst, "mean_unexplained": sum(curve.values) / len(curve.values)}
    return findings.judge(catalogue.about("D20"), measured, OF_TEACHER, note=f"most at sigma {at:g}")


def progress(curve: Curve, unexplained: Curve | None = None) -> Finding:
    """D25: judge whether it learned anything anywhere: of the data, or of its teacher where there is one."""
    measured = {"least_over_linear": min(curve.values), "mean_over_linear": _mean(curve)}
    if unexplained is None or min(unexplained.values) >= TAUGHT.value:
        return findings.judge(catalogue.about("D25"), measured, LEARNED)
    measured["least_unexplained"] = min(unexplained.values)
    return findings.judge(catalogue.about("D25"), measured, (TAUGHT,))


def _mean(curve: Curve) -> float:
    """The geometric mean of a curve's values."""
    return math.exp(sum(math.log(max(value, 1e-12)) for value in curve.values) / len(curve.values))


def unexplained(student: VelocityFn, teacher: VelocityFn, rows: Rows, sigmas: Sequence[float] = SIGMAS) -> Curve:
    """Share of the variance of a teacher's velocity that a student misses, at each sigma."""
    values = []
    for sigma in sigmas:
        noised, _, level = noised_at(rows, sigma, "teacher")
        theirs = teacher(noised, level).double()
        missed = (student(noised, level).double() - theirs).square().mean()
        values.append(float(missed / theirs.var(0, correction=0).mean().clamp_min(1e-12)))
    return Curve(tuple(sigmas), tuple(values))


def own_scale(ask: Asked, reading: Reading, rows: Rows) -> tuple[Finding, dict[float, float]]:
    """D08 of a network: judge at which scale of the latents it is least wrong, beside the ratio at each scale."""
    clean = rows.clean if reading.units == "normalised" else rows.raw
    found: dict[float, float] = {}
    for scale in SCALES:
        changed = Rows(origin=rows.origin, raw=scale * clean, clean=scale * clean, text=rows.text, null=rows.null)
        curve = over_linear(ask, reading, changed, (0.3, 0.5, 0.7))
        found[scale] = math.exp(sum(math.log(max(value, 1e-12)) for value in curve.values) / len(curve.values))
    return judged_scale(found), found


def judged_scale(found: Mapping[float, float]) -> Finding:
    """D08: the scale of the least ratio; where none is below 1 nothing was learned that a scale could fit."""
    best = min(found, key=lambda scale: found[scale])
    about = catalogue.about("D08")
    if found[best] >= 1:
        return findings.not_applicable(about, "the network beats a straight line at no scale of the latents")
    measured = {"best_scale": best, "error_there_over_declared": found[best] / found[1.0]}
    return findings.judge(
        about, measured, OWN_SCALE, note="" if best == 1 else f"least wrong on latents times {best:g}"
    )


def own_range(high: Asked, low: Asked, reading: Reading, boundary: float, rows: Rows) -> Finding:
    """D06: judge two experts, each in the range that is given to it."""
    above, below = (1 + boundary) / 2, boundary / 2
    errors = {
        (name, sigma): over_linear(ask, reading, rows, (sigma,)).values[0]
        for name, ask in (("high", high), ("low", low))
        for sigma in (above, below)
    }
    measured = {
        "high_over_low_above": errors["high", above] / errors["low", above],
        "low_over_high_below": errors["low", below] / errors["high", below],
    }
    return findings.judge(catalogue.about("D06"), measured, OWN_RANGE)


def fresh_gap(fresh: Mapping[float, float], recorded: Mapping[float, float]) -> Finding:
    """D21: judge losses with fresh noise by those a training recorded last, at the sigmas that both have."""
    shared = sorted(fresh.keys() & recorded.keys())
    if not shared:
        return findings.not_applicable(catalogue.about("D21"), "the training recorded no loss by sigma")
    ratio = sum(fresh[sigma] for sigma in shared) / sum(recorded[sigma] for sigma in shared)
    return findings.judge(catalogue.about("D21"), {"fresh_over_recorded": ratio}, FRESH)


def folded_scale(student: VelocityFn, conditional: VelocityFn, null: VelocityFn, rows: Rows) -> float:
    """The guidance at which a teacher is nearest to a student: least squares over the middle sigmas."""
    along = across = 0.0
    for sigma in (0.3, 0.5, 0.7, 0.85):
        noised, _, level = noised_at(rows, sigma, "guidance")
        away = null(noised, level).double()
        towards = conditional(noised, level).double() - away
        along += float(((student(noised, level).double() - away) * towards).sum())
        across += float(towards.square().sum())
    return along / max(across, 1e-12)


def guided_once(found: float, declared: float) -> Finding:
    """D32: judge the guidance that is found in a student's weights by the one its contract says is folded in."""
    measured = {"found": found, "declared": declared, "scale_error": abs(found - declared) / declared}
    return findings.judge(catalogue.about("D32"), measured, ONCE)


def guided(conditional: VelocityFn, null: VelocityFn, scale: float) -> VelocityFn:
    """A teacher's velocity under guidance."""
    return guidance.guided(conditional, null, scale)


def losses(velocity: Callable[[Tensor, Tensor], Tensor], rows: Rows, sigmas: Sequence[float]) -> dict[float, float]:
    """Flow-matching loss per sigma with fresh noise."""
    found = {}
    for sigma in sigmas:
        noised, noise, level = noised_at(rows, sigma, f"fresh {sigma}")
        found[sigma] = float((velocity(noised, level) - path.velocity(rows.clean, noise)).double().square().mean())
    return found
