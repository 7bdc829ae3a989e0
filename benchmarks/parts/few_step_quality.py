"""Quality of a student of few steps on the miniature, beside its teacher: sets of pictures, and the same noise.

Names:  sets      three of samples each, from other noise (quality); kept under .work once drawn
        ratio     Frechet distance of student to teacher over teacher to teacher, seeds always differ
        endpoint  root mean square difference of latents from the same noise, in deviations of the teacher's
"""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks import Frame
from benchmarks.parts import quality
from benchmarks.parts.quality import Sets, Size
from frostline import evaluation, generation, metrics, models, proofs, randomness
from frostline.codec import Codec
from frostline.evaluation import Bucket

RATIOS = {4: 1.3, 2: 1.6, 1: 2.0}  # what is asked, by steps
SAME_NOISE = 640  # latents


def measure(frame: Frame, teacher: Path, student: Path, base: Path, size: Size) -> None:
    """Draw, judge and record every figure, at 4, 2 and 1 steps."""
    theirs = quality.sets(teacher, base, size, frame.quick)
    for steps, asked in RATIOS.items():
        ours = quality.sets(student, base, size, frame.quick, steps)
        _images(frame, theirs, ours, steps, asked, size)
        _clips(frame, theirs, ours, steps)
    _endpoints(frame, teacher, student, base)


def _images(frame: Frame, theirs: Sets, ours: Sets, steps: int, asked: float, size: Size) -> None:
    features = [seen.features for seen in (*theirs.images, *ours.images)]
    draw = randomness.generator("benchmark", "few steps", steps)
    found = metrics.bootstrap(quality.ratio, features, draw, size.resamples)
    n, seeds = len(features[0]), len(theirs.images)
    pair = quality.across(features[:seeds], features[seeds:]), quality.within(features[:seeds])
    frame.record(
        f"fast_frechet_ratio_{steps}",
        found.high,
        asked,
        "<=",
        unit="x",
        n=n * seeds,
        spread=f"ratio {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}",
        note=f"upper 95 % bound; student to teacher {pair[0]:.4f}, teacher to teacher {pair[1]:.4f}",
    )
    labels = [torch.cat([getattr(seen, name) for seen in ours.images]) for name in ("digits", "wanted")]
    share = metrics.accuracy(*labels)
    interval = f"95 % interval {share.low:.4f} to {share.high:.4f}"
    frame.record(f"fast_accuracy_{steps}", share.value, 0.98, ">=", unit="share", n=n * seeds, spread=interval, note="")
    pairs = [quality.with_labels(sets) for sets in (ours.images, theirs.images)]
    draw = randomness.generator("benchmark", "diversity of few steps", steps)
    spread = metrics.bootstrap(quality.diversity_ratio, pairs, draw, size.resamples)
    frame.record(
        f"fast_diversity_{steps}",
        spread.low,
        0.9,
        ">=",
        unit="x",
        n=n * seeds,
        spread=f"ratio {spread.value:.3f}, 95 % interval {spread.low:.3f} to {spread.high:.3f}",
        note="lower 95 % bound of within-class diversity, student over teacher",
    )


def _clips(frame: Frame, theirs: Sets, ours: Sets, steps: int) -> None:
    for what, found, wanted in (("clips", "digits", "wanted"), ("direction", "directions", "wanted_directions")):
        shares = []
        for sets in (ours, theirs):
            labels = [torch.cat([getattr(seen, name) for seen in sets.clips]) for name in (found, wanted)]
            shares.append(metrics.accuracy(*labels))
        mine, yours = shares
        n = sum(len(seen.wanted) for seen in ours.clips)
        frame.record(
            f"fast_{what}_{steps}",
            mine.low / yours.high,
            0.97,
            ">=",
            unit="x",
            n=n,
            spread=f"student {mine.low:.4f} to {mine.high:.4f}, teacher {yours.low:.4f} to {yours.high:.4f}",
            note=f"lower bound over the teacher's upper; shares {mine.value:.4f} and {yours.value:.4f}",
        )


def _endpoints(frame: Frame, teacher: Path, student: Path, base: Path) -> None:
    n = 64 if frame.quick else SAME_NOISE
    theirs = _latents(teacher, base, quality.IMAGE, n, None)
    found = {steps: proofs.relative_rmse(_latents(student, base, quality.IMAGE, n, steps), theirs) for steps in RATIOS}
    said = ", ".join(f"{steps} steps {value:.3f}" for steps, value in found.items())
    note = f"images; {said}; in deviations of the teacher's latents at 20 steps"
    frame.record("fast_endpoint_4", found[4], 0.25, "<=", unit="deviations", n=n, spread="", note=note)


def _latents(folder: Path, base: Path, bucket: Bucket, n: int, steps: int | None) -> Tensor:
    generator = generation.Generator(models.load(folder), Codec(base))
    frames, height, width = bucket
    draw = generation.Draw(seed=0, frames=frames, height=height, width=width, steps=steps)
    return generator.latents(evaluation.cycled(quality.captions(bucket), n), draw)
