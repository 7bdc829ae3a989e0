"""Quality of teacher and student on the miniature: n samples per model, bucket and seed, judged on the digits.

Names:  seen      what the judge sees in one set of samples (evaluation.Seen)
        key       model, bucket, seed and n: a set that was drawn is kept under its digest in .work/benchmarks, so that
                  a run that was stopped goes on, and a part measured again does not draw again
        real      the test split, each scan at several placements; the floor is the train split against it
"""

import concurrent.futures
import itertools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from benchmarks import Frame
from frostline import digests, digits, evaluation, files, generation, metrics, models, randomness
from frostline.codec import Codec
from frostline.evaluation import Bucket, Seen
from frostline.judge import Judge
from frostline.store import layout

KEPT = Path(".work/benchmarks/quality")
CHUNK = 640  # samples drawn and judged together: a whole number of the generator's batches of images
WORKERS = 2
IMAGE: Bucket = (1, 32, 32)
CLIPS: tuple[Bucket, ...] = ((5, 32, 32), (9, 32, 32))


class Size(NamedTuple):
    """How much is drawn."""

    images: int  # per model and seed
    clips: int  # per model, seed and length
    seeds: int
    placements: int  # of each real scan
    resamples: int  # of the bootstrap


FULL = Size(images=5000, clips=2500, seeds=3, placements=14, resamples=100)
QUICK = Size(images=40, clips=20, seeds=2, placements=1, resamples=4)


class Key(NamedTuple):
    """One set of samples."""

    folder: Path
    base: Path
    bucket: Bucket
    seed: int
    n: int
    steps: int | None = None  # of the sampler; None: those of the contract


class Sets(NamedTuple):
    """All sets of one model, a set per seed."""

    images: list[Seen]
    clips: list[Seen]  # of both lengths


def measure(frame: Frame, teacher: Path, student: Path, base: Path, size: Size) -> None:
    """Draw, judge and record every figure of quality."""
    made = {folder: sets(folder, base, size, frame.quick) for folder in (teacher, student)}
    for name, folder in (("teacher", teacher), ("guided", student)):
        _shares(frame, name, made[folder])
    real, floor = _real(base, size)
    _distance(frame, made[teacher].images, made[student].images, real, floor, size)
    _diversity(frame, made[teacher], made[student], size)


def sets(folder: Path, base: Path, size: Size, quick: bool, steps: int | None = None) -> Sets:
    """Draw what is not kept, two processes of one thread each: small networks gain nothing from more threads."""
    images = [Key(folder, base, IMAGE, seed, size.images, steps) for seed in range(size.seeds)]
    clips = [Key(folder, base, bucket, seed, size.clips, steps) for bucket in CLIPS for seed in range(size.seeds)]
    if quick:
        return Sets([draw(key) for key in images], [draw(key) for key in clips])
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, spawn, torch.set_num_threads, (1,)) as pool:
        found = list(pool.map(kept, [*images, *clips]))
    return Sets(found[: len(images)], found[len(images) :])


def kept(key: Key) -> Seen:
    """A set of samples, drawn unless it was drawn before."""
    contract, _, training = models.facts(key.folder)
    judge = digests.of_folder(key.base / "judge")
    parts = [training.weights_digest, contract.digest, judge, list(key.bucket), key.seed, key.n]
    parts += [] if key.steps is None else [key.steps]
    path = KEPT / f"{digests.of_json(parts)}.safetensors"
    if not path.exists():
        seen = draw(key)
        with files.replacing(path) as beside:
            safetensors.torch.save_file({name: value.contiguous() for name, value in vars(seen).items()}, beside)
        print(f"  drew {key.n} {layout.bucket_name(key.bucket)} of {key.folder}, seed {key.seed}", flush=True)
    return Seen(**safetensors.torch.load_file(path))


def draw(key: Key) -> Seen:
    """Draw and judge a set of samples."""
    generator = generation.Generator(models.load(key.folder), Codec(key.base))
    judge = Judge.load(key.base / "judge")
    prompts = evaluation.cycled(captions(key.bucket), key.n)
    frames, height, width = key.bucket
    parts: list[Seen] = []
    for first in range(0, key.n, CHUNK):
        asked = prompts[first : first + CHUNK]
        latents = generator.latents(
            asked,
            generation.Draw(seed=key.seed, frames=frames, height=height, width=width, first=first, steps=key.steps),
        )
        parts.append(evaluation.see(judge, generator.decode(latents).numpy(), asked))
    return Seen(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def captions(bucket: Bucket) -> list[str]:
    """All that samples of a bucket are asked for."""
    motions = [None] if bucket[0] == 1 else list(digits.MOTIONS)
    return [digits.caption(label, motion) for label in range(len(digits.WORDS)) for motion in motions]


def _shares(frame: Frame, name: str, made: Sets) -> None:
    _share(frame, f"{name}_accuracy_images", [(s.digits, s.wanted) for s in made.images], 0.98)
    _share(frame, f"{name}_accuracy_clips", [(s.digits, s.wanted) for s in made.clips], 0.95, "last frame")
    _share(frame, f"{name}_direction", [(s.directions, s.wanted_directions) for s in made.clips], 0.98)


def _share(frame: Frame, figure: str, pairs: Sequence[tuple[Tensor, Tensor]], target: float, what: str = "") -> None:
    each = [metrics.accuracy(found, wanted).value for found, wanted in pairs]
    found, wanted = (torch.cat(column) for column in zip(*pairs, strict=True))
    all_of_it = metrics.accuracy(found, wanted)
    spread = f"95 % interval {all_of_it.low:.4f} to {all_of_it.high:.4f}; sets {min(each):.4f} to {max(each):.4f}"
    note = ", ".join(filter(None, [what, f"{len(pairs)} sets of {len(pairs[0][0])}"]))
    frame.record(figure, all_of_it.value, target, ">=", unit="share", n=len(wanted), spread=spread, note=note)


def _distance(
    frame: Frame, teacher: Sequence[Seen], student: Sequence[Seen], real: Tensor, floor: float, size: Size
) -> None:
    """Frechet distance of student to teacher, in units of teacher to teacher; seeds always differ."""
    sets = [seen.features for seen in (*teacher, *student)]
    found = metrics.bootstrap(ratio, sets, randomness.generator("benchmark", "frechet"), size.resamples)
    n, seeds = len(sets[0]), len(teacher)
    ours, theirs = across(sets[:seeds], sets[seeds:]), within(sets[:seeds])
    to_real = [np.mean([metrics.frechet(s.features, real) for s in sets]) for sets in (teacher, student)]
    note = (
        f"upper 95 % bound; student to teacher {ours:.4f}, teacher to teacher {theirs:.4f}; to the real test split: "
        f"teacher {to_real[0]:.3f}, guided {to_real[1]:.3f}, floor (train split) {floor:.3f}"
    )
    spread = f"ratio {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}"
    frame.record("guided_frechet_ratio", found.high, 1.3, "<=", unit="x", n=n * seeds, spread=spread, note=note)


def ratio(*sets: Tensor) -> float:
    """Frechet distance of student to teacher over teacher to teacher; the first half of the sets is the teacher's."""
    teacher, student = sets[: len(sets) // 2], sets[len(sets) // 2 :]
    return across(teacher, student) / within(teacher)


def across(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> float:
    """Mean Frechet distance of a student's sets to a teacher's of other seeds."""
    pairs = [(s, t) for i, s in enumerate(student) for j, t in enumerate(teacher) if i != j]
    return float(np.mean([metrics.frechet(s, t) for s, t in pairs]))


def within(teacher: Sequence[Tensor]) -> float:
    """Mean Frechet distance of sets to each other."""
    return float(np.mean([metrics.frechet(a, b) for a, b in itertools.combinations(teacher, 2)]))


def _diversity(frame: Frame, teacher: Sets, student: Sets, size: Size) -> None:
    for what, theirs, ours in (
        ("images", with_labels(teacher.images), with_labels(student.images)),
        ("clips", with_labels(teacher.clips), with_labels(student.clips)),
    ):
        draw = randomness.generator("benchmark", "diversity", what)
        found = metrics.bootstrap(diversity_ratio, [ours, theirs], draw, size.resamples)
        spread = f"ratio {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}"
        figure, note = f"guided_diversity_{what}", "lower 95 % bound of within-class diversity, student over teacher"
        frame.record(figure, found.low, 0.9, ">=", unit="x", n=len(ours), spread=spread, note=note)


def with_labels(sets: Sequence[Seen]) -> Tensor:
    """Features with the label as last column, so that rows are resampled together: (N, D + 1)."""
    return torch.cat([torch.cat([s.features.double(), s.wanted.double()[:, None]], dim=1) for s in sets])


def diversity_ratio(ours: Tensor, theirs: Tensor) -> float:
    """Within-class diversity over within-class diversity, of features with their labels."""
    a, b = (metrics.within_class_diversity(rows[:, :-1], rows[:, -1]) for rows in (ours, theirs))
    return a / b


def _real(base: Path, size: Size) -> tuple[Tensor, float]:
    """Features of the real test split, and the distance of the train split from it."""
    judge = Judge.load(base / "judge")
    test, train = (_features(judge, split, size.placements) for split in ("test", "train"))
    chosen = torch.randperm(len(train), generator=randomness.generator("benchmark", "floor"))[: len(test)]
    return test, metrics.frechet(train[chosen], test)


def _features(judge: Judge, split: digits.Split, placements: int) -> Tensor:
    scans = digits.members(split).repeat(placements)
    images = np.concatenate([digits.render(int(scan), place, 1) for place, scan in enumerate(scans)])
    return torch.from_numpy(judge.features(images))
