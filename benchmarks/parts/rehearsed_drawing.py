"""What makes a cache, and what draws, at published sizes on cards of a size."""

import torch

from benchmarks import Frame
from benchmarks.parts import card, latent_rows, random_models, scratch
from benchmarks.parts.rehearsed_training import BOUNDARY, GUIDANCE, PICTURES, TEACHER
from frostline import sampling, velocities
from frostline.codec import Codec
from frostline.contract import Process, Sampling
from frostline.residence import Residence
from frostline.velocities import Low

CAPTIONS, TEXT_BATCH, IMAGES, IMAGE_BATCH = 64, 4, 16, 4
STEPS, QUICK_STEPS, SHIFT = 50, 2, 12.0


def encode(frame: Frame) -> None:
    """Texts through the text encoder, then images through the VAE, one of them there at a time."""
    size, figure = 24, "cache"
    if card.absent(frame, figure, size):
        return
    place, side = card.device(frame), 64 if frame.quick else 1024
    captions, images = (TEXT_BATCH, IMAGE_BATCH) if frame.quick else (CAPTIONS, IMAGES)
    with scratch.folder(frame) as folder:
        codec = Codec(random_models.base(folder, place, quick=frame.quick), device=place.type, offload=True)
        what = f"{captions} captions and {images} images of {side} x {side}, the text encoder waiting on the host"
        with card.of(frame, figure, size, what) as used:
            began = card.settled(place)
            for first in range(0, captions, TEXT_BATCH):
                codec.encode_text([f"made-up caption {number}" for number in range(first, first + TEXT_BATCH)])
            codec.release("text_encoder")
            for _ in range(images // IMAGE_BATCH):
                codec.encode(torch.zeros(IMAGE_BATCH, 1, side, side, 3, dtype=torch.uint8))
            used.steps, used.seconds = captions + images, card.settled(place) - began
        codec.release("vae")


def draw(frame: Frame) -> None:
    """One picture of two experts, with one of them there, then with a block."""
    sizes = {"draw": (48, False), "draw_offload": (24, True)}
    wanted = [figure for figure, (size, _) in sizes.items() if not card.absent(frame, figure, size)]
    for figure in wanted:
        size, offload = sizes[figure]
        _drawn(frame, figure, size, offload=offload)


def _drawn(frame: Frame, figure: str, size: int, *, offload: bool) -> None:
    """Fresh experts each time: what was laid upon a network to bring its blocks stays there."""
    place, steps = card.device(frame), QUICK_STEPS if frame.quick else STEPS
    kind = latent_rows.SMALL if frame.quick else PICTURES
    values = random_models.shape(TEACHER, quick=frame.quick)
    high, low = (
        random_models.drawn(values, kind.space, place, held=random_models.frozen, seed=seed) for seed in range(2)
    )
    text = torch.zeros(1, kind.text_length, kind.text_dim)
    process = Process(
        shift=SHIFT, draws="logit_normal", patch_size=tuple(values["patch_size"]), expert_boundary=BOUNDARY
    )
    record = Sampling(
        sampler="unipc",
        rounds_timesteps=True,
        steps=steps,
        allowed_steps=None,
        shift=SHIFT,
        allowed_shifts=None,
        sigmas=None,
        guidance=GUIDANCE[0],
        guidance_low=GUIDANCE[1],
        guidance_form="external",
        teacher_digest=None,
    )
    there = "a block of an expert" if offload else "one expert"
    with card.of(
        frame, figure, size, f"both experts of {TEACHER}, {there} on the card, guided: 2 calls a step"
    ) as used:
        residence = Residence(place.type, offload=offload)
        for network in (high, low):
            residence.take(network)
        asked = velocities.sampled(
            high,
            GUIDANCE[0],
            Low(network=low, guidance=GUIDANCE[1], boundary=BOUNDARY),
            process=process,
            text=text.to(place),
            away=text.to(place),
        )
        noise = torch.randn(1, *kind.space.shape(kind.bucket), generator=torch.Generator().manual_seed(0))
        began = card.settled(place)
        with torch.inference_mode():
            drawing = sampling.sampler(record)
            drawing.sample(residence.velocity(asked), noise, generator=torch.Generator().manual_seed(0))
        used.steps, used.seconds = steps, card.settled(place) - began
        residence.leave()
