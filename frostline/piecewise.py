"""The encoder of Wan's VAE on a few frames and one window at a time, equal to encoding the clip as a whole.

Along time it is causal: one frame, then four at a time, while every convolution remembers the last frames it saw. So
beside the clip's uint8 pixels and its latents, memory does not grow with length; a clip is never held as floats.

In space it has two halves. The shallow one is all convolutions down to latent size, where nearly all time and memory
go: it runs in windows, and what pixels outside of a window could reach is thrown away. The deep one has attention from
everywhere to everywhere, at latent size: it runs on whole frames. So windows leave no seam, and nothing is blended. In
exchange they hold the shallow half's features of the whole clip: for Wan2.1, twice the bytes of its uint8 pixels.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan as wan
from torch import Tensor, nn

from frostline import tiling
from frostline.tiling import Span

Scaled = Callable[[Tensor], Tensor]
"""pixels uint8 (B, T, H, W, 3) -> what the VAE takes (B, 3, T, H, W), on its device"""


def encode(vae: AutoencoderKLWan, pixels: Tensor, scaled: Scaled, tile: int | None) -> Tensor:
    """Pixels uint8 (B, T, H, W, 3) -> mean of the posterior (B, C, T', H', W') in the VAE's dtype.

    ``tile`` is a window's longest side in pixels; None encodes whole frames. Raises WrongUse for a tile of no use.
    """
    config: Any = vae.config
    stride = config.scale_factor_spatial
    margin = math.ceil(reach(config) / stride)
    rows, columns = (tiling.spans(size, tile, stride=stride, margin=margin) for size in pixels.shape[2:4])
    deep = _Deep(vae)
    found = [deep(part) for part in _features(vae, pixels, scaled, rows, columns)]
    mean, _ = vae.quant_conv(torch.cat(found, dim=2)).chunk(2, dim=1)  # the other half is the log-variance
    return mean.contiguous()


def reach(config: Any) -> int:
    """How many pixels beyond its own a feature of the shallow half sees, at most, from a VAE's config.

    Each 3x3 convolution sees one position further at its scale; those that halve the size see one to the right only.
    """
    scale = config.patch_size or 1  # pixels per position
    seen = scale  # of the first convolution
    last = len(config.dim_mult) - 1
    for level in range(last + 1):
        seen += 2 * config.num_res_blocks * scale + (scale if level < last else 0)
        scale *= 2
    return seen


def _features(
    vae: AutoencoderKLWan, pixels: Tensor, scaled: Scaled, rows: Sequence[Span], columns: Sequence[Span]
) -> Iterable[Tensor]:
    """What the shallow half makes of each part of a clip, in order: (B, D, 1, H', W')."""
    if len(rows) == len(columns) == 1:
        return _window(vae, pixels, scaled)
    config: Any = vae.config
    stride = config.scale_factor_spatial
    shape = (rows[-1].stop, columns[-1].stop)
    parts: list[Tensor] = []
    for row, column in itertools.product(rows, columns):
        window = pixels[:, :, row.pixels(stride), column.pixels(stride)]
        for number, found in enumerate(_window(vae, window, scaled)):
            if number == len(parts):
                parts.append(found.new_empty(*found.shape[:3], *shape))
            parts[number][..., row.kept, column.kept] = found[..., row.kept_inside, column.kept_inside]
    return parts


def _window(vae: AutoencoderKLWan, pixels: Tensor, scaled: Scaled) -> Iterable[Tensor]:
    config: Any = vae.config
    every, shallow = config.scale_factor_temporal, _Shallow(vae)
    edges = [0, *range(1, pixels.shape[1] + 1, every)]
    return (shallow(scaled(pixels[:, start:stop]).to(vae.dtype)) for start, stop in itertools.pairwise(edges))


class _Remembering:
    """A causal convolution that is given a clip a few frames at a time."""

    def __init__(self, convolution: nn.Module) -> None:
        self.convolution: Any = convolution
        self.past: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        past, last = self.past, self.convolution.kernel_size[0] - 1
        seen = x[:, :, -last:]
        self.past = (seen if past is None else torch.cat([past, seen], dim=2))[:, :, -last:].clone()
        return self.convolution(x, past)


class _Shallow:
    """From pixels to features at latent size: nothing in it sees further than its convolutions reach."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        config: Any = vae.config
        self.patch_size = config.patch_size or 1
        self.first = _Remembering(vae.encoder.conv_in)
        self.blocks = vae.encoder.down_blocks
        self.past = _nothing_yet(vae.encoder.down_blocks)

    def __call__(self, unit: Tensor) -> Tensor:
        x, index = self.first(wan.patchify(unit, self.patch_size)), [0]
        for block in self.blocks:
            x = block(x, feat_cache=self.past, feat_idx=index)
        return x


class _Deep:
    """From features to moments: attention sees the whole frame."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.encoder: Any = vae.encoder
        self.last = _Remembering(vae.encoder.conv_out)
        self.past = _nothing_yet(vae.encoder.mid_block)

    def __call__(self, features: Tensor) -> Tensor:
        x = self.encoder.mid_block(features, feat_cache=self.past, feat_idx=[0])
        return self.last(self.encoder.nonlinearity(self.encoder.norm_out(x)))


def _nothing_yet(blocks: nn.Module) -> list[Tensor | None]:
    """What diffusers' blocks remember of frames before the first: a place for each causal convolution."""
    return [None] * sum(isinstance(module, wan.WanCausalConv3d) for module in blocks.modules())
