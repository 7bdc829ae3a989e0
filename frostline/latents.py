"""The one home of the latent normalisation and of the text padding, for those who hold a VAE and those who must not.

raw      posterior mean as the VAE gives it and the cache stores it  (B, C, T, H, W)
latents  (raw - latents_mean) / latents_std per channel: what a transformer sees
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from frostline.contract import LatentSpace
from frostline.errors import WrongUse

TOGETHER = 1 << 18  # numbers that are normalised at once


def normalise(raw: Tensor, space: LatentSpace) -> Tensor:
    """Raw latents -> latents, near mean 0 and standard deviation 1 per channel."""
    return (raw - _channels(space.latents_mean, raw)) / _channels(space.latents_std, raw)


def normalise_into(made: Tensor, raw: Tensor, space: LatentSpace) -> None:
    """The same numbers in the place of those of ``made``, which is float32; ``raw`` may be of another dtype.

    A few channels at a time, or a few rows of small latents: those stay in the processor's cache.
    """
    scales = _channels(space.latents_mean, made), _channels(space.latents_std, made)
    channel = made[0, 0].numel()
    channels = max(1, min(made.shape[1], TOGETHER // channel))
    rows = max(1, TOGETHER // (channel * made.shape[1]))
    for own, given in zip(made.split(rows), raw.split(rows), strict=True):
        cut = (tensor.split(channels, dim=1) for tensor in (own, given, *scales))
        for few, stored, mean, deviation in zip(*cut, strict=True):
            few.copy_(stored).sub_(mean).div_(deviation)


def denormalise(latents: Tensor, space: LatentSpace) -> Tensor:
    """Latents -> raw latents."""
    return latents * _channels(space.latents_std, latents) + _channels(space.latents_mean, latents)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return _made(tuple(values), like.dtype, like.device)


@functools.lru_cache(maxsize=32)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once: to make them takes as long as to use them on a batch of small latents."""
    with torch.inference_mode(mode=False):  # whoever asks first may be in it, and who trains asks next
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1, 1)


def pad(texts: Sequence[Tensor], length: int) -> Tensor:
    """Embeddings (n_tokens, D) each -> (B, length, D), zeros after each true length.

    Raises WrongUse for a text longer than ``length``.
    """
    longest = max(len(text) for text in texts)
    if longest > length:
        raise WrongUse(
            f"a text of {longest} tokens does not fit the contract's {length}; encode it with this base again"
        )
    padded = texts[0].new_zeros(len(texts), length, texts[0].shape[1])
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    return padded
