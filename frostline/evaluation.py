"""Finished models judged: every model draws the same prompts from the same noise, and one code path measures all.

Names:  held-out  real pictures of the test split with their captions, which nothing was trained on
        drawn     what one model made of the prompts: latents (N, C, T', H', W') and pixels (N, T, H, W, 3)
        seen      what the judge sees in pictures; of a clip it sees the last frame, and the direction it moves in
        bucket    frames, height, width in pixels; written 5x32x32

Sample i of a bucket is prompt i modulo the number of prompts from noise (seed, i), whichever model draws it. Numbers
are rounded to DECIMALS. A Frechet distance to real pictures rewards weak guidance, so a student is also compared with
its own teacher: set with set, and sample by sample.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frostline import experts, manifest, metrics, proofs, sampling
from frostline.errors import WrongUse
from frostline.generation import Draw, Generator
from frostline.judge import Judge
from frostline.manifest import Row
from frostline.models import Model
from frostline.params import EvaluateParams
from frostline.params.sources import SourceParams
from frostline.sources import reading
from frostline.store import layout

DECIMALS = 4
HEADLINE = (
    "accuracy",
    "direction",
    "future_rmse",
    "still_rmse",
    "frechet_teacher",
    "frechet_real",
    "endpoint_rmse",
    "latent_std",
)
CURVE = ("steps", "evaluations", "n", "accuracy", "accuracy_error", "endpoint_rmse", "frechet_real")
Bucket = tuple[int, int, int]
Numbers = dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Real pictures of one bucket."""

    bucket: Bucket
    captions: tuple[str, ...]  # one per picture
    pixels: np.ndarray  # uint8 (M, T, H, W, 3)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The distinct captions, sorted: what models are asked for."""
        return tuple(sorted(set(self.captions)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the judge sees in pictures of known captions."""

    features: Tensor  # (N, D), of the last frame
    digits: Tensor  # int64 (N,)
    wanted: Tensor  # int64 (N,)
    directions: Tensor  # int64 (N,), of clips
    wanted_directions: Tensor  # int64 (N,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """What one model made of one bucket's prompts."""

    prompts: tuple[str, ...]  # one per sample
    latents: Tensor
    pixels: np.ndarray
    given: int = 0  # first frames that are those of real clips: see ``followed``


Draws = Mapping[Bucket, Drawn]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is drawn, and from which noise."""

    samples: Mapping[Bucket, int]  # per model
    curve_steps: Sequence[int]
    curve_samples: int  # per number of steps, of the first bucket
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """One model, judged."""

    name: str
    model: Model
    teacher: str | None  # name of its teacher, if that is judged too
    drawn: Draws
    numbers: Mapping[Bucket, Numbers]
    curve: Sequence[Numbers]  # quality against steps


def held_out(
    sources_params: Mapping[str, SourceParams], manifests: Path, buckets: Sequence[Bucket], split: str = "test"
) -> list[HeldOut]:
    """The real pictures of some buckets, of all sources. Raises WrongUse for a bucket that holds none."""
    rows = [row for name in sorted(sources_params) for row in manifest.read(manifests / name) if row.split == split]
    return [_bucket([row for row in rows if row.bucket == bucket], bucket, sources_params, split) for bucket in buckets]


def _bucket(rows: Sequence[Row], bucket: Bucket, sources_params: Mapping[str, SourceParams], split: str) -> HeldOut:
    if not rows:
        raise WrongUse(
            f"bucket {layout.bucket_name(bucket)}: no source has a row of the {split} split; take it out of "
            "evaluate.samples, or give a source such items"
        )
    pixels = np.stack([reading.pixels(sources_params[row.source], row) for row in rows])
    return HeldOut(bucket=bucket, captions=tuple(row.captions[0] for row in rows), pixels=pixels)


def find_judge(base: Path) -> Judge | None:
    """The judge of a base folder; None where the base has none, so that only what needs none is measured."""
    return Judge.load(base / "judge") if (base / "judge").is_dir() else None


def judges(judge: Judge | None, captions: Sequence[str]) -> bool:
    """Whether there is a judge and it knows what every caption asks for."""
    return judge is not None and all(judge.expected(caption)[0] is not None for caption in captions)


def evaluate(
    models: Sequence[Model],
    generators: Sequence[Generator],
    held_out: Sequence[HeldOut],
    judge: Judge | None,
    plan: Plan,
) -> list[Evaluated]:
    """Draw with every model, then measure each and compare it with its teacher."""
    for generator in generators:
        for real in _trained_on(generator, held_out):
            generator.embed(real.prompts, _asked(real.bucket, plan.seed))
    for generator in generators:
        generator.codec.release("text_encoder")
    drawn = [_draw_all(generator, held_out, plan) for generator in generators]
    judged_models: list[Evaluated] = []
    for model, generator, mine in zip(models, generators, drawn, strict=True):
        teacher = _teacher(model, models)
        theirs = None if teacher is None else drawn[teacher]
        judged_models.append(
            Evaluated(
                name=model.folder.name,
                model=model,
                teacher=None if teacher is None else models[teacher].folder.name,
                drawn=mine,
                numbers={real.bucket: _numbers(mine, theirs, real, judge) for real in held_out if real.bucket in mine},
                curve=_curve(generator, mine, mine if theirs is None else theirs, held_out[0], judge, plan),
            )
        )
    return judged_models


def _numbers(mine: Draws, theirs: Draws | None, real: HeldOut, judge: Judge | None) -> Numbers:
    numbers = measure(mine[real.bucket], real, judge)
    if theirs is not None and real.bucket in theirs:
        numbers |= compare(mine[real.bucket], theirs[real.bucket], judge)
    return rounded(numbers)


def draw(generator: Generator, prompts: Sequence[str], real: HeldOut, seed: int, steps: int | None = None) -> Drawn:
    """One sample per prompt; of a model that continues clips, each goes on from a real one."""
    context, given = None, 0
    if generator.continues(real.bucket):
        given = generator.given_frames
        context = generator.contexts(torch.from_numpy(real.pixels[followed(real, prompts)]))
    latents = generator.latents(prompts, _asked(real.bucket, seed, steps), context)
    return Drawn(prompts=tuple(prompts), latents=latents, pixels=generator.decode(latents).numpy(), given=given)


def followed(real: HeldOut, prompts: Sequence[str]) -> list[int]:
    """The real clip that a sample of each prompt goes on from: of those with its caption, the next each time."""
    clips = {prompt: itertools.cycle(np.flatnonzero(np.array(real.captions) == prompt)) for prompt in set(prompts)}
    return [int(next(clips[prompt])) for prompt in prompts]


def _asked(bucket: Bucket, seed: int, steps: int | None = None) -> Draw:
    frames, height, width = bucket
    return Draw(seed=seed, frames=frames, height=height, width=width, steps=steps)


def cycled(prompts: Sequence[str], n: int) -> tuple[str, ...]:
    """The first n of the prompts said over and over."""
    return tuple(itertools.islice(itertools.cycle(prompts), n))


def measure(drawn: Drawn, real: HeldOut, judge: Judge | None) -> Numbers:
    """What a model's samples are worth on their own and against real pictures."""
    spread = metrics.latent_spread(drawn.latents)
    numbers = {f"latent_{name}": value for name, value in spread.items()}
    numbers |= {"n": len(drawn.prompts), "saturation": metrics.saturation(torch.from_numpy(drawn.pixels))}
    if drawn.given:
        numbers |= _future(drawn, real)
    if judge is None or not judges(judge, real.captions):
        return numbers
    return numbers | judged(see(judge, drawn.pixels, drawn.prompts), see(judge, real.pixels, real.captions))


def _future(drawn: Drawn, real: HeldOut) -> Numbers:
    """How far what follows the given frames is from what really followed; and how far a clip that stands still is."""
    true = real.pixels[followed(real, drawn.prompts)]
    follows, stands = true[:, drawn.given :], true[:, drawn.given - 1 : drawn.given]
    return {
        "future_rmse": metrics.rmse(torch.from_numpy(drawn.pixels[:, drawn.given :]), torch.from_numpy(follows)),
        "still_rmse": metrics.rmse(torch.from_numpy(stands).expand(follows.shape), torch.from_numpy(follows)),
    }


def judged(seen: Seen, real: Seen) -> Numbers:
    """Accuracy, direction, diversity and distance to real pictures, shares with their standard errors."""
    numbers = _share("accuracy", seen.digits, seen.wanted)
    moving = seen.wanted_directions >= 0
    if bool(moving.any()):
        numbers |= _share("direction", seen.directions[moving], seen.wanted_directions[moving])
    if int(seen.wanted.unique(return_counts=True)[1].min()) > 1:
        numbers["diversity"] = metrics.within_class_diversity(seen.features, seen.wanted)
    numbers["frechet_real"] = metrics.frechet(seen.features, real.features)
    return numbers


def compare(drawn: Drawn, teacher: Drawn, judge: Judge | None) -> Numbers:
    """How far a student's samples are from its teacher's of the same prompts and noise."""
    numbers = {"endpoint_rmse": proofs.relative_rmse(drawn.latents, teacher.latents)}
    if judge is None or not judges(judge, drawn.prompts):
        return numbers
    ours, theirs = (see(judge, one.pixels, one.prompts).features for one in (drawn, teacher))
    return numbers | {"frechet_teacher": metrics.frechet(ours, theirs)}


def real_numbers(real: HeldOut, judge: Judge | None) -> Numbers:
    """The same measures of the real pictures: what a perfect model would reach."""
    numbers: Numbers = {"n": len(real.captions), "saturation": metrics.saturation(torch.from_numpy(real.pixels))}
    if judge is None or not judges(judge, real.captions):
        return rounded(numbers)
    seen = see(judge, real.pixels, real.captions)
    numbers |= judged(seen, seen)
    del numbers["frechet_real"]
    return rounded(numbers)


def see(judge: Judge, pixels: np.ndarray, captions: Sequence[str]) -> Seen:
    """Show pictures (N, T, H, W, 3) of these captions to the judge; -1 is wanted where a caption names nothing."""
    last = pixels[:, -1]
    wanted = [judge.expected(caption) for caption in captions]
    return Seen(
        features=torch.from_numpy(judge.features(last)),
        digits=torch.from_numpy(judge.classify(last)),
        wanted=torch.tensor([-1 if digit is None else digit for digit, _ in wanted]),
        directions=torch.from_numpy(judge.directions(pixels)),
        wanted_directions=torch.tensor([-1 if motion is None else motion for _, motion in wanted]),
    )


def evaluations(model: Model, steps: int) -> int:
    """Network evaluations one sample takes."""
    process, record = model.sampled()
    if record.guidance_form == "folded":
        return steps
    shares = [steps]
    if process.expert_boundary is not None:
        told = sampling.sampler(record).told(steps, record.shift)
        high = int(experts.serves_high(told, process.expert_boundary).sum())
        shares = [high, steps - high]
    return sum(n if scale == 1.0 else 2 * n for n, scale in zip(shares, record.scales, strict=True))


def rounded(numbers: Numbers) -> Numbers:
    """Numbers to DECIMALS places."""
    return {name: round(value, DECIMALS) for name, value in numbers.items()}


def plan(params: EvaluateParams) -> Plan:
    """What the params ask for."""
    return Plan(
        samples={layout.bucket_of(name): n for name, n in params.samples.items()},
        curve_steps=params.curve_steps,
        curve_samples=params.curve_samples,
        seed=params.seed,
    )


def missing(models: Sequence[Model], held_out: Sequence[HeldOut], judge: Judge | None, base: str) -> list[str]:
    """What cannot be judged, in sentences for the reader."""
    found = [_unfinished(model) for model in models if not model.training.complete]
    if judge is None:
        found.append(
            f"{base} has no judge, so accuracy, direction, diversity and distances of samples are not measured."
        )
        return found
    for real in held_out:
        if not judges(judge, real.captions):
            name = layout.bucket_name(real.bucket)
            found.append(
                f"The judge knows digits, and captions of {name} name none: only what needs no judge is measured."
            )
    return found


def _unfinished(model: Model) -> str:
    done, planned = model.training.steps_done, model.training.steps_planned
    return f"{model.folder.name} is unfinished: {done} of {planned} steps were done. Its numbers say little yet."


def summary(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Numbers]]:
    """Model to bucket to numbers: what metrics.json holds."""
    return {
        one.name: {layout.bucket_name(bucket): numbers for bucket, numbers in one.numbers.items()} for one in evaluated
    }


def identities(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, str]]:
    """Exactly what was judged: what evaluated.json holds, so that nothing else is registered on these numbers."""
    return {
        one.name: {"weights_digest": one.model.training.weights_digest, "contract_digest": one.model.contract.digest}
        for one in evaluated
    }


def lines(evaluated: Sequence[Evaluated]) -> list[str]:
    """The numbers that matter most, a line per model and bucket."""
    return [
        f"{one.name} {layout.bucket_name(bucket)}: "
        + ", ".join(f"{name} {numbers[name]:g}" for name in HEADLINE if name in numbers)
        for one in evaluated
        for bucket, numbers in one.numbers.items()
    ]


def _share(name: str, found: Tensor, wanted: Tensor) -> Numbers:
    """A share of pictures that are as wanted, with its standard error."""
    share = metrics.accuracy(found, wanted)
    return {name: share.value, f"{name}_error": share.error}


def _draw_all(generator: Generator, held_out: Sequence[HeldOut], plan: Plan) -> dict[Bucket, Drawn]:
    """What a model makes of every bucket it was trained on."""
    drawn: dict[Bucket, Drawn] = {}
    for real in _trained_on(generator, held_out):
        prompts = cycled(real.prompts, plan.samples[real.bucket])
        drawn[real.bucket] = draw(generator, prompts, real, plan.seed)
    return drawn


def _trained_on(generator: Generator, held_out: Sequence[HeldOut]) -> list[HeldOut]:
    """The buckets that a model was trained on; all of them where that is not known."""
    trained = generator.process.buckets
    return [real for real in held_out if trained is None or real.bucket in trained]


def _teacher(model: Model, models: Sequence[Model]) -> int | None:
    """The place of a student's teacher among the models that are judged, found by the digest of its weights."""
    digests = [other.training.weights_digest for other in models]
    wanted = model.training.teacher_digest
    return digests.index(wanted) if wanted is not None and wanted in digests else None


def _curve(
    generator: Generator, mine: Draws, theirs: Draws, real: HeldOut, judge: Judge | None, plan: Plan
) -> list[Numbers]:
    """Quality against steps, at the numbers of steps the contract allows.

    Distances are to the teacher's samples, or a teacher's own, at its default steps; what was drawn at the model's own
    default steps is not drawn again.
    """
    if real.bucket not in mine or real.bucket not in theirs:
        return []
    n, allowed = plan.curve_samples, generator.sampling.allowed_steps
    wanted, default = _first(theirs[real.bucket], n), _first(mine[real.bucket], n)
    points: list[Numbers] = []
    for steps in [steps for steps in plan.curve_steps if allowed is None or steps in allowed]:
        known = steps == generator.sampling.steps
        drawn = default if known else draw(generator, default.prompts, real, plan.seed, steps)
        numbers: Numbers = {"steps": steps, "evaluations": evaluations(generator.model, steps)}
        numbers |= measure(drawn, real, judge) | compare(drawn, wanted, judge)
        points.append(rounded({name: value for name, value in numbers.items() if name in CURVE}))
    return points


def _first(drawn: Drawn, n: int) -> Drawn:
    return Drawn(prompts=drawn.prompts[:n], latents=drawn.latents[:n], pixels=drawn.pixels[:n], given=drawn.given)
