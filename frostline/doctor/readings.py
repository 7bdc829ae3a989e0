"""What a checkpoint predicts (D36): every reading of its answers is tried on latents, and the least wrong one names it.

Legend
    clean, noise, sigma, noised    as in frostline/path.py
    length    sqrt((1 - sigma)^2 + sigma^2); noised / length is the same point on a DDPM schedule's path ("diffused")
    answer    what the network says                                               (B, C, T, H, W)
    slope     of a target in the clean latent when the noised one is held: how an error of the one is that of the other
    linear    error of the best linear-Gaussian predictor of the clean latent, per channel of variance d^2:
              d^2 sigma^2 / ((1 - sigma)^2 d^2 + sigma^2)
    ratio     squared error of an answer over slope^2 * linear: the same in every currency, so that readings of
              different targets can be compared; below 1 the network knows more than a straight line

Sources: Salimans and Ho, arXiv:2202.00512, appendix D; Kingma and Gao, arXiv:2303.00848, table 1, for the currencies.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from frostline import diffusion, findings, path, randomness
from frostline.contract import TIMESTEP_SCALE, Diffusion, Process
from frostline.doctor import catalogue
from frostline.doctor.rows import Rows
from frostline.findings import Bound, Finding
from frostline.path import VelocityFn

Asked = Callable[..., Tensor]
"""(latents as the network takes them, timestep (B,), text (B, L, D), and of a flow map the end's (B,)) -> answer"""

Prediction = Literal["velocity", "reversed velocity", "v_prediction", "epsilon", "clean"]
Units = Literal["normalised", "raw"]

SIGMAS = (0.1, 0.3, 0.5, 0.7, 0.9)
SCHEDULES: Mapping[str, Diffusion] = {
    "scaled linear": Diffusion(betas="scaled_linear", beta_start=0.00085, beta_end=0.012, zero_terminal_snr=False),
    "scaled linear, zero terminal": Diffusion(
        betas="scaled_linear", beta_start=0.00085, beta_end=0.012, zero_terminal_snr=True
    ),
    "linear": Diffusion(betas="linear", beta_start=1e-4, beta_end=0.02, zero_terminal_snr=False),
}
ON_STRAIGHT: tuple[Prediction, ...] = ("velocity", "reversed velocity", "epsilon", "clean")
ON_DIFFUSED: tuple[Prediction, ...] = ("v_prediction", "epsilon", "clean")
LEARNED = 0.95  # of a straight line's error: above it all readings say the same, nothing
BOUNDS = (
    Bound(measure="declared_over_best", op="<", value=1.1),
    Bound(measure="margin", op=">=", value=1.02, otherwise="warn"),
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read a network: what it is given, what its answer is."""

    prediction: Prediction
    time: str  # "1000 sigma", "sigma", "1000 (1 - sigma)", "1 - sigma"; or the name of a schedule
    units: Units = "normalised"
    schedule: Diffusion | None = None  # of networks that learned on a DDPM path
    reversed_time: bool = False

    @property
    def kind(self) -> tuple[str, ...]:
        """What tells readings apart; neighbouring DDPM schedules are one kind, for they differ by little."""
        time = ("reversed " if self.reversed_time else "") + "place" if self.schedule else self.time
        return self.prediction, time, self.units

    def __str__(self) -> str:
        """As a person says it."""
        where = "on a DDPM path" if self.schedule else "on the straight path"
        return f"{self.prediction} {where}, told {self.time}, of {self.units} latents"

    @property
    def end(self) -> float:
        """The last sigma that such a network has learned at."""
        return 1.0 if self.schedule is None else float(diffusion.sigmas(self.schedule)[-1])

    def told(self, sigma: Tensor) -> Tensor:
        """The timestep (B,) float32 that the network takes for sigma."""
        if self.schedule is not None:
            place = diffusion.timestep(sigma, self.schedule)
            return (self.schedule.steps - 1 - place if self.reversed_time else place).float()
        return TIMES[self.time](sigma.double()).float()

    def given(self, noised: Tensor, sigma: Tensor) -> Tensor:
        """The point of the straight path as the network takes it."""
        return noised if self.schedule is None else diffusion.diffused(noised, sigma)

    def velocity(self, noised: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        """The velocity on the straight path that an answer means; needs 0 < sigma < 1."""
        if self.prediction == "velocity":
            return answer
        if self.prediction == "reversed velocity":
            return -answer
        if self.prediction == "clean":
            return path.velocity_from_clean(noised, answer, sigma)
        if self.prediction == "epsilon":
            return path.velocity_from_noise(noised, answer, sigma)
        return diffusion.velocity(noised, answer, sigma, "v_prediction")

    def velocity_fn(self, ask: Asked, text: Tensor | None) -> VelocityFn:
        """The network under one batch of texts, read this way."""

        def velocity(noised: Tensor, sigma: Tensor, end: Tensor | None = None) -> Tensor:
            inside = sigma.double().clamp(1e-4, min(1 - 1e-4, self.end))
            told = [self.told(at) for at in (sigma, end) if at is not None]
            answer = ask(self.given(noised, inside), told[0], text, *told[1:])
            found = self.velocity(noised, answer, inside)
            return diffusion.of_nothing(found, noised, sigma.double(), self.end).to(noised.dtype)

        return velocity


TIMES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "1000 sigma": lambda sigma: TIMESTEP_SCALE * sigma,
    "sigma": lambda sigma: sigma,
    "1000 (1 - sigma)": lambda sigma: TIMESTEP_SCALE * (1 - sigma),
    "1 - sigma": lambda sigma: 1 - sigma,
}


class Scored(NamedTuple):
    """A reading and how wrong it is."""

    ratio: float  # geometric mean over sigmas
    reading: Reading


def declared(process: Process) -> Reading:
    """The reading that a contract declares."""
    if process.diffusion is not None:
        prediction: Prediction = "epsilon" if process.prediction == "epsilon" else "v_prediction"
        return Reading(prediction=prediction, time="place in its schedule", schedule=process.diffusion)
    scale = process.timestep_scale
    time = {TIMESTEP_SCALE: "1000 sigma", 1.0: "sigma"}.get(scale)
    return Reading(prediction="velocity", time=time or "1000 sigma")


def all_readings(own: Diffusion | None = None) -> Iterator[Reading]:
    """Every reading that is tried; ``own`` is a schedule that is declared."""
    for units in ("normalised", "raw"):
        for time in TIMES:
            yield from (Reading(prediction=one, time=time, units=units) for one in ON_STRAIGHT)
        named = {"place in its schedule": own} if own is not None else dict(SCHEDULES)
        for name, schedule in named.items():
            for prediction in ON_DIFFUSED:
                yield Reading(prediction=prediction, time=name, units=units, schedule=schedule)
        last = next(iter(named.values()))
        for prediction in ON_DIFFUSED:
            yield Reading(prediction=prediction, time="reversed place", units=units, schedule=last, reversed_time=True)


def scores(ask: Asked, rows: Rows, own: Diffusion | None = None, sigmas: tuple[float, ...] = SIGMAS) -> list[Scored]:
    """All readings with their ratios, the least wrong first. A network is asked once for readings that ask alike."""
    noise = randomness.normal(tuple(rows.clean.shape), "doctor", "readings")
    answers: dict[tuple[object, ...], Tensor] = {}
    found: list[Scored] = []
    for reading in all_readings(own):
        clean = rows.clean if reading.units == "normalised" else rows.raw
        logs = []
        for sigma in sigmas:
            level = torch.full((len(rows),), sigma, dtype=torch.float64)
            noised = path.noised(clean, noise, level)
            key = (reading.time, reading.units, reading.schedule, reading.reversed_time, sigma)
            if key not in answers:
                answers[key] = ask(reading.given(noised, level), reading.told(level), rows.text)
            logs.append(
                math.log(
                    max(
                        ratio(answers[key], target(reading.prediction, clean, noise, level), reading, clean, sigma),
                        1e-12,
                    )
                )
            )
        mean = sum(logs) / len(logs)
        found.append(Scored(math.exp(min(mean, 50.0)), reading))
    return sorted(found, key=lambda one: one.ratio)


def target(prediction: Prediction, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """What a network that knows the truth would answer."""
    if prediction == "velocity":
        return path.velocity(clean, noise)
    if prediction == "reversed velocity":
        return path.velocity(noise, clean)
    if prediction == "clean":
        return clean
    return diffusion.target(clean, noise, sigma, "epsilon" if prediction == "epsilon" else "v_prediction")


def slope(prediction: Prediction, sigma: float) -> float:
    """How a target moves with the clean latent when the noised one is held."""
    length = math.hypot(1 - sigma, sigma)
    return {
        "velocity": 1 / sigma,
        "reversed velocity": 1 / sigma,
        "clean": 1.0,
        "epsilon": (1 - sigma) / sigma,
        "v_prediction": length / sigma,
    }[prediction]


def linear(clean: Tensor, sigma: float) -> Tensor:
    """Error (C,) of the best linear predictor of the clean latent, each number of a channel by itself."""
    variance = clean.double().transpose(0, 1).flatten(1).var(1, correction=0).clamp_min(1e-12)
    return variance * sigma**2 / ((1 - sigma) ** 2 * variance + sigma**2)


def ratio(answer: Tensor, wanted: Tensor, reading: Reading, clean: Tensor, sigma: float) -> float:
    """Squared error over the linear predictor's, mean over channels; infinite if the answer is no number."""
    error = (answer.double() - wanted.double()).square().transpose(0, 1).flatten(1).mean(1)
    found = float((error / (slope(reading.prediction, sigma) ** 2 * linear(clean, sigma))).mean())
    return found if math.isfinite(found) else math.inf


def best(found: list[Scored]) -> tuple[Scored, Scored]:
    """The least wrong reading, and the least wrong one of another kind."""
    first = found[0]
    return first, next(one for one in found if one.reading.kind != first.reading.kind)


def check(found: list[Scored], stated: Reading | None) -> Finding:
    """Judge what the readings say against what is declared; without a declaration, whether one stands out."""
    about = catalogue.about("D36")
    first, second = best(found)
    margin = second.ratio / first.ratio
    if first.ratio >= LEARNED:
        return findings.not_applicable(
            about,
            f"no reading beats a straight line (best: {first.reading}, {first.ratio:.3g} of its error): what the "
            "network predicts cannot be told from these latents",
        )
    own = first.ratio if stated is None else min(one.ratio for one in found if one.reading.kind == stated.kind)
    measured = {"declared_over_best": own / first.ratio, "margin": margin, "error_over_linear": first.ratio}
    note = f"it predicts {first.reading}; next best {second.reading}, {margin:.3g} times as wrong"
    if stated is not None and first.reading.kind != stated.kind:
        note += f"; declared: {stated}"
    return findings.judge(about, measured, BOUNDS, note=note)
