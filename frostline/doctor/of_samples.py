"""The checks of what a model's own sampler makes."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from frostline import codec as codecs
from frostline import randomness, sampling
from frostline.codec import Codec
from frostline.contract import Sampling
from frostline.doctor import drawn, errors_by_sigma
from frostline.doctor.case import Check, Given, Seen
from frostline.doctor.readings import Reading
from frostline.doctor.rows import Rows
from frostline.doctor.subjects import Subject
from frostline.findings import Finding

PROMPTS = 3
UNKNOWN = Sampling(  # for networks of which nothing says how they are sampled
    sampler="euler",
    rounds_timesteps=False,
    steps=20,
    allowed_steps=None,
    shift=3.0,
    allowed_shifts=None,
    sigmas=None,
    guidance=1.0,
    guidance_form="folded",
    teacher_digest=None,
)


def checks(subject: Subject, given: Given, rows: Rows, reading: Reading, seen: Seen) -> Iterator[tuple[str, Check]]:
    """Checks by identifier; the samples are drawn by the first."""
    count = given.size.samples
    seen.noise = noise = randomness.normal((count, *rows.clean.shape[1:]), "doctor", "samples")
    if rows.text is not None:
        seen.text = torch.stack([rows.text[n % PROMPTS] for n in range(count)])

    def likeness() -> Finding:
        seen.samples = draw(subject, reading, seen.text, noise, rows.null, subject.sampling or UNKNOWN)
        return drawn.likeness(seen.samples, noise)

    yield "D02", likeness
    if seen.samples is None:
        return
    samples = seen.samples
    if given.base is not None and codecs.latent_space(given.base).z_dim == samples.shape[1]:
        yield "D28", lambda: _seams(subject, given.base, rows, samples, seen)
    yield "D27", lambda: drawn.collapse(samples, rows.clean, seen.pixels, seen.real, PROMPTS)


def draw(
    subject: Subject, reading: Reading, text: Tensor | None, noise: Tensor, null: Tensor | None, record: Sampling
) -> Tensor:
    """Samples as a contract says, guided where it says so."""
    own = reading.velocity_fn(subject.ask, text)
    if record.guidance_form == "external" and null is not None:
        away = reading.velocity_fn(subject.ask, null.expand(len(noise), -1, -1))
        own = errors_by_sigma.guided(own, away, record.guidance)
    return sampling.sampler(record).sample(own, noise, generator=randomness.generator("doctor", "fresh"))


def _seams(subject: Subject, base: Path | None, rows: Rows, samples: Tensor, seen: Seen) -> Finding:
    codec = Codec(base or Path())
    seen.pixels = codec.decode_float(samples.nan_to_num()).cpu()
    seen.real = codec.decode_float(rows.clean[: len(samples)]).cpu()
    patch = subject.parts[0].config["patch_size"][1] if subject.parts else 1
    return drawn.seams(seen.pixels, seen.real, codec.latent_space.spatial_stride * patch)
