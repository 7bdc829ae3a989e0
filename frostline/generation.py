"""Samples from a model folder and its base, as the model's contract says and in no other way.

noise (N, C, T', H', W') -> latents -> pixels uint8 (N, T, H, W, 3)

Sample ``i`` depends on (weights, prompt, seed, i, bucket) alone: its noise has its own generator and every network runs
at a fixed batch per bucket, padded, because results depend on the batch size (2e-7) but not on the neighbours in it.
Evaluation, command line and serving draw through here, so the same integers give the same pixels everywhere.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tqdm
from torch import Tensor

from frostline import continuation, path, randomness, sampling, velocities
from frostline import contract as contracts
from frostline import latents as latent_form
from frostline.codec import Codec
from frostline.errors import Refused, WrongUse
from frostline.models import Model
from frostline.residence import Residence

MAXIMUM_STEPS = 1000  # timesteps that whole numbers keep apart
MAXIMUM_PIXELS = 1 << 27  # of one sample: 81 frames of 1280x720 are 7.5e7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """What is to be drawn; None means what the contract says."""

    seed: int
    frames: int
    height: int  # pixels
    width: int  # pixels
    steps: int | None = None
    shift: float | None = None
    guidance: float | None = None  # given alone it is that of both experts, where there are two
    guidance_low: float | None = None  # of the low-noise expert
    negative_prompt: str | None = None
    first: int = 0  # index of the first sample: its noise is that of (seed, first)

    @property
    def bucket(self) -> tuple[int, int, int]:
        """Frames, height and width in pixels."""
        return self.frames, self.height, self.width


class Generator:
    """Draws from one model."""

    def __init__(self, model: Model, codec: Codec) -> None:
        """Networks are asked on the codec's device, one at a time, or a block at a time where the codec offloads.

        Raises Refused if the codec's VAE or text encoder is not the one the model was trained on.
        """
        require_base(model, codec)
        self.model = model
        self.codec = codec
        self.process, self.sampling = model.sampled()
        self._embeddings: dict[str, Tensor] = {}
        self._residence = Residence(codec.device, offload=codec.offload)
        for network in model.networks:
            self._residence.take(network)

    def sample(self, prompts: Sequence[str], draw: Draw, context: Tensor | None = None) -> Tensor:
        """One sample per prompt: pixels uint8 (N, T, H, W, 3); Refused for what the contract forbids."""
        return self.decode(self.latents(prompts, draw, context))

    def latents(self, prompts: Sequence[str], draw: Draw, context: Tensor | None = None) -> Tensor:
        """One sample per prompt: latents float32 (N, C, T', H', W'), which go on from ``context`` where a model does.

        Raises Refused for what the contract forbids, before anything is computed.
        """
        self.refuse_forbidden(draw)
        self._require_context(len(prompts), draw, context)
        numbers = list(range(draw.first, draw.first + len(prompts)))
        texts = self.texts(prompts)  # (N, L, D)
        size = self.batch(draw.bucket)
        starts = range(0, len(prompts), size)
        bar = tqdm.tqdm(starts, desc="sampling", unit="batch", disable=True if len(starts) < 2 else None)
        batches = (slice(start, start + size) for start in bar)
        return torch.cat(
            [
                self._sample_batch(numbers[rows], texts[rows], draw, None if context is None else context[rows])
                for rows in batches
            ]
        )

    def decode(self, drawn: Tensor) -> Tensor:
        """Latents (N, C, T', H', W') -> pixels uint8 (N, T, H, W, 3), at the fixed batch."""
        self._residence.leave()
        size = self._latent_batch(tuple(drawn.shape[2:]))
        return torch.cat([self.codec.decode(_rows(part, size))[: len(part)].cpu() for part in drawn.split(size)])

    def noise(self, n: int, draw: Draw) -> Tensor:
        """The noise (n, C, T', H', W') float32 that samples ``first`` to ``first + n - 1`` of a seed start from."""
        return self._noise([sample_generator(draw.seed, i) for i in range(draw.first, draw.first + n)], draw)

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (N, L, D), padded as the contract says; each prompt is encoded once and alone."""
        for prompt in prompts:
            if prompt not in self._embeddings:
                [self._embeddings[prompt]] = [text.cpu() for text in self.codec.encode_text([prompt])]
        return latent_form.pad([self._embeddings[prompt] for prompt in prompts], self.codec.latent_space.text_length)

    def continues(self, bucket: tuple[int, int, int]) -> bool:
        """Whether samples of a bucket go on from given frames."""
        return continuation.wanted(self.model.contract.latent_space.shape(bucket)[1], self.process)

    @property
    def given_frames(self) -> int:
        """How many frames a clip goes on from; 0 where the model makes all of them."""
        return 1 + self.codec.latent_space.temporal_stride * (self.process.context - 1) if self.process.context else 0

    def contexts(self, pixels: Tensor) -> Tensor:
        """The context latents (N, C, k, H', W') of clips uint8 (N, T, H, W, 3): of their first ``given_frames``.

        Each is encoded alone, so that it does not depend on its neighbours. Raises WrongUse for clips that are shorter.
        """
        if pixels.shape[1] < self.given_frames:
            raise WrongUse(
                f"{pixels.shape[1]} frames: {self.model.folder} goes on from {self.given_frames}; give as many"
            )
        rows = pixels[:, : self.given_frames].split(1)
        return torch.cat([self.codec.normalise(self.codec.encode(row)).cpu() for row in rows])

    def embed(self, prompts: Sequence[str], draw: Draw) -> None:
        """Embed all that a draw of these prompts needs: until it is made, the codec may let go of its text encoder.

        Raises Refused for what the contract forbids.
        """
        self.refuse_forbidden(draw)
        self.texts([*prompts, *([self._away(draw)] if self._is_guided(draw) else [])])

    def batch(self, bucket: tuple[int, int, int]) -> int:
        """The fixed number of samples of one network call."""
        return self._latent_batch(self.model.contract.latent_space.shape(bucket)[1:])

    def default_bucket(self, frames: int | None = None) -> tuple[int, int, int]:
        """The first trained bucket (frames, height, width), or the first with that many frames."""
        trained = self.process.buckets
        if trained is None:
            raise WrongUse(f"{self.model.folder}: its contract names no trained sizes; give frames, height and width")
        for bucket in trained:
            if frames is None or bucket[0] == frames:
                return bucket
        raise Refused(f"frames {frames}: {self.model.folder} was trained on {_buckets(trained)}; ask for one of these")

    def refuse_forbidden(self, draw: Draw) -> None:
        """Raise Refused, with the reason, for anything the contract does not allow; WrongUse for what means nothing."""
        _require_sane(draw)
        wishes = {"guidance": draw.guidance, "guidance_low": draw.guidance_low}
        sampling.refuse_forbidden(self.sampling, steps=draw.steps, shift=draw.shift, **wishes)
        self._refuse_bucket(draw.bucket)
        if draw.negative_prompt is not None and not self._is_guided(draw):
            raise Refused(
                f"negative prompt {draw.negative_prompt!r}: {self._why_unguided()}, so no second evaluation is made "
                "that it could steer; leave it out"
            )

    def describe(self, draw: Draw) -> dict[str, Any]:
        """How and with what a draw is made, with the contract's values where the draw names none."""
        steps, shift = sampling.settled(self.sampling, steps=draw.steps, shift=draw.shift)
        return {
            **dataclasses.asdict(draw),
            "model": str(self.model.folder),
            "sampler": self.sampling.sampler,
            "steps": steps,
            "shift": shift,
            **self._stated_guidance(draw),
            "guidance_form": self.sampling.guidance_form,
            "negative_prompt": self._away(draw),
            "weights_digest": self.model.training.weights_digest,
            "contract_digest": self.model.contract.digest,
        }

    def _require_context(self, count: int, draw: Draw, context: Tensor | None) -> None:
        """Raise Refused for a clip that is to go on from nothing, WrongUse for a context that does not belong to it."""
        channels, _, height, width = self.model.contract.latent_space.shape(draw.bucket)
        wanted = (count, channels, self.process.context, height, width) if self.continues(draw.bucket) else None
        if wanted is not None and context is None:
            raise Refused(
                f"{self.model.folder}: it continues clips, and makes {_name(draw.bucket)} from {self.given_frames} "
                "given frame(s): give a clip to `frostline predict`"
            )
        if context is not None and tuple(context.shape) != wanted:
            raise WrongUse(f"a context of shape {tuple(context.shape)}: {self.model.folder} takes {wanted}")

    def _refuse_bucket(self, bucket: tuple[int, int, int]) -> None:
        self.model.contract.latent_space.shape(bucket)
        if bucket[0] * bucket[1] * bucket[2] > MAXIMUM_PIXELS:
            raise WrongUse(f"size {_name(bucket)}: more than {MAXIMUM_PIXELS} pixels in one sample; ask for fewer")
        trained = self.process.buckets
        if trained is not None and bucket not in trained:
            raise Refused(
                f"size {_name(bucket)}: {self.model.folder} was trained on {_buckets(trained)} (frames x height x "
                "width) and its samples of other sizes mean nothing; ask for one of these"
            )

    def _away(self, draw: Draw) -> str:
        """What guidance steers away from."""
        return self.model.contract.negative_prompt if draw.negative_prompt is None else draw.negative_prompt

    def _stated_guidance(self, draw: Draw) -> dict[str, float | None]:
        """What acts, or what is folded in; the second number where it is that of two experts."""
        folded = self.sampling.guidance_form == "folded" and draw.guidance is None
        scales = self.sampling.scales if folded else self._scales(draw)
        return {"guidance": scales[0], "guidance_low": scales[1] if len(scales) > 1 else None}

    def _scales(self, draw: Draw) -> tuple[float, ...]:
        """The guidance applied from outside to each network: 1 where it is folded in.

        One number given for two experts is that of both, as in diffusers' WanPipeline.
        """
        record = self.sampling
        if record.guidance_form == "folded":
            return (1.0,)
        high = record.guidance if draw.guidance is None else draw.guidance
        if record.guidance_low is None:
            return (high,)
        given = draw.guidance if draw.guidance_low is None else draw.guidance_low
        return high, record.guidance_low if given is None else given

    def _is_guided(self, draw: Draw) -> bool:
        return any(scale != 1.0 for scale in self._scales(draw))

    def _why_unguided(self) -> str:
        if self.sampling.guidance_form == "folded":
            return f"guidance {_and(self.sampling.scales)} is folded into the weights of {self.model.folder}"
        return "guidance is 1"

    def _latent_batch(self, size: tuple[int, ...]) -> int:
        return velocities.rows_at_once(size, self.process.patch_size)

    def _noise(self, generators: Sequence[torch.Generator], draw: Draw) -> Tensor:
        shape = self.model.contract.latent_space.shape(draw.bucket)
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    @torch.inference_mode()
    def _sample_batch(self, numbers: list[int], text: Tensor, draw: Draw, context: Tensor | None) -> Tensor:
        """Samples of some numbers, their texts (n, L, D) and contexts (n, C, k, H', W'): latents (n, C, T', H', W')."""
        size = self.batch(draw.bucket)
        filled = numbers + [numbers[-1]] * (size - len(numbers))
        generators = [sample_generator(draw.seed, number) for number in filled]
        noise = self._noise(generators, draw)
        given = None if context is None else _rows(context, size)
        velocity = self._velocity(_rows(text, size), draw, given)
        sampler = sampling.sampler(self.sampling)
        latents = sampler.sample(velocity, noise, steps=draw.steps, shift=draw.shift, generator=generators)
        return continuation.held(latents, given)[: len(numbers)]

    def _velocity(self, text: Tensor, draw: Draw, context: Tensor | None) -> path.VelocityFn:
        """The network, or the two experts, under texts (B, L, D), guided from outside where the contract says so."""
        away = self.texts([self._away(draw)]).expand_as(text) if self._is_guided(draw) else None
        high, *_ = scales = self._scales(draw)
        low = self.model.second(scales[-1])
        device = self._residence.device
        asked = velocities.sampled(
            self.model.transformer,
            high,
            low,
            process=self.process,
            text=text.to(device),
            away=None if away is None else away.to(device),
            context=None if context is None else context.to(device),
        )
        return self._residence.velocity(asked)


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The generator of sample ``index`` of a seed: the first numbers it gives are the sample's noise."""
    return randomness.generator("sample", seed, index)


def require_base(model: Model, codec: Codec) -> None:
    """Raise Refused, naming each field, if the codec is not the one whose latents and embeddings the model knows."""
    ours = model.contract.latent_space
    contracts.require_same(
        ours,
        codec.latent_space.stored_as(ours),
        ours_is=str(model.folder),
        theirs_is=str(codec.base),
        remedy="Sample it with the base that base.json names, or train a model on this base's latents.",
    )


def base_folder(model: Model) -> Path:
    """Where the base lies that ``base.json`` names: from here, or from a folder above the model's.

    Raises WrongUse if it is nowhere.
    """
    places = [Path(), *model.folder.resolve().parents]
    for place in places:
        if (place / model.base.path / "vae" / "config.json").is_file():
            return place / model.base.path
    raise WrongUse(
        f"{model.folder}: its base {model.base.path} is neither in {Path.cwd()} nor above the model; name the folder "
        f"that holds the VAE {model.base.vae_digest} with --base"
    )


def _require_sane(draw: Draw) -> None:
    for name, value in (("shift", draw.shift), ("guidance", draw.guidance), ("guidance_low", draw.guidance_low)):
        if value is not None and not math.isfinite(value):
            raise WrongUse(f"{name} {value}: give a finite number")
    if draw.shift is not None and draw.shift <= 0:
        raise WrongUse(f"shift {draw.shift:g}: give a number above 0 (1 changes nothing)")
    if draw.steps is not None and not 1 <= draw.steps <= MAXIMUM_STEPS:
        raise WrongUse(f"steps {draw.steps}: a sampler takes 1 to {MAXIMUM_STEPS}")


def _rows(tensor: Tensor, size: int) -> Tensor:
    """The rows of a tensor with the last one repeated up to a fixed number of rows."""
    return torch.cat([tensor, tensor[-1:].expand(size - len(tensor), *tensor.shape[1:])])


def _and(scales: Sequence[float]) -> str:
    return " and ".join(map(str, scales))


def _name(bucket: Sequence[int]) -> str:
    return "x".join(map(str, bucket))


def _buckets(buckets: Sequence[Sequence[int]]) -> str:
    return ", ".join(map(_name, buckets))
