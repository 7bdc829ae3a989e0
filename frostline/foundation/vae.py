"""The miniature's VAE: an AutoencoderKLWan of .7 M parameters, trained on the digits of the train split.

Names:  pixels   float32 (B, 3, T, H, W) in [-1, 1]
        moments  posterior mean and log-variance as quant_conv gives them: (B, 2 * z_dim, T', H', W')
        tap      one time step of a causal kernel; the last one sees the present frame
Source: AutoencoderKLWan of diffusers (Wan2.1 and 2.2); the recipe's reasons and its curve: docs/log/0001-foundation.md.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from torch.nn import functional

from frostline import digits, muon, randomness
from frostline.records import Record

FRAMES = (1, 5, 9)  # the lengths it is trained on


class Recipe(Record):
    """How the VAE is trained."""

    seed: int = 0
    steps: int = 6000
    image_share: float = 0.5  # of the steps after the image phase
    image_phase: float = 0.2  # first part of the steps, images only
    long_every: int = 6  # every so many clips, one of 9 frames, else 5
    batches: tuple[int, int, int] = (32, 16, 8)  # images, clips of 5 frames, clips of 9 in a step
    muon_rate: float = 0.02
    adamw_rate: float = 3e-3
    warmup: int = 20
    clip: float = 1.0
    kl_weight: float = 1e-4  # of the mean over latents, beside the mean squared error over [-1, 1] pixels
    log_variance: float = -6.0  # at the start


Report = Callable[[int, float, AutoencoderKLWan], None]  # (steps done, loss, the VAE)


def build(seed: int) -> AutoencoderKLWan:
    """An untrained VAE whose clips begin as sequences of independent images."""
    vae = _structure()
    generator = randomness.generator(seed, "vae weights")
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            _initialise(module, generator)
    _spread_over_time(vae)
    _begin_certain(vae, Recipe().log_variance)
    return vae


def train(recipe: Recipe, report: Report) -> AutoencoderKLWan:
    """Train a VAE from nothing; the same recipe, threads and instruction set give the same bits."""
    vae = build(recipe.seed)
    optimisers = _optimisers(vae, recipe)
    for step, frames in enumerate(lengths(recipe)):
        with skipping_padding(vae):
            loss = _loss(vae, batch(recipe, step, frames), recipe, step)
            loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), recipe.clip)
        for optimiser, rate in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * _rate(step, recipe)
            optimiser.step()
            optimiser.zero_grad()
        report(step + 1, float(loss.detach()), vae)
    return vae.eval()


def batch(recipe: Recipe, step: int, frames: int) -> Tensor:
    """The pixels of one step: fresh placements of scans of the train split."""
    scans = digits.members("train")
    generator = np.random.default_rng((recipe.seed, step))
    chosen = generator.choice(scans, recipe.batches[FRAMES.index(frames)])
    motions = generator.integers(len(digits.MOTIONS), size=len(chosen))
    return as_pixels(
        [
            digits.render(int(scan), 1000 + step, frames, None if frames == 1 else digits.MOTIONS[motion])
            for scan, motion in zip(chosen, motions, strict=True)
        ]
    )


def posterior(vae: AutoencoderKLWan, pixels: Tensor) -> DiagonalGaussianDistribution:
    """Distribution of the raw latents (B, C, T', H', W') of pixels (B, 3, T, H, W) in [-1, 1]."""
    return cast(tuple[DiagonalGaussianDistribution], vae.encode(pixels, return_dict=False))[0]


def decode(vae: AutoencoderKLWan, raw: Tensor) -> Tensor:
    """Raw latents (B, C, T', H', W') -> pixels (B, 3, T, H, W) in [-1, 1]."""
    return cast(tuple[Tensor], vae.decode(raw, return_dict=False))[0]


def as_pixels(clips: list[np.ndarray]) -> Tensor:
    """uint8 clips (T, H, W, 3) -> float32 (B, 3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@contextlib.contextmanager
def skipping_padding(vae: AutoencoderKLWan) -> Iterator[None]:
    """Within, the first frame of every clip, which has only zeros before it, costs a third to a fifth of the time.

    Equal to the plain network but for rounding: of a causal kernel only the last tap sees anything there.
    """
    convolutions = [module for module in vae.modules() if isinstance(module, WanCausalConv3d)]
    for module in convolutions:
        vars(module)["forward"] = functools.partial(_convolve, module)
    try:
        yield
    finally:
        for module in convolutions:
            del vars(module)["forward"]


def _convolve(module: WanCausalConv3d, frames: Tensor, before: Tensor | None = None) -> Tensor:
    """A causal convolution of frames (B, C, T, H, W) after the frames seen before, if any -> (B, C', T, H, W)."""
    if before is not None or frames.shape[2] > 1 or module.stride[0] > 1:
        return WanCausalConv3d.forward(module, frames, before)
    margin = module.kernel_size[1] // 2
    return functional.conv2d(frames[:, :, 0], module.weight[:, :, -1], module.bias, padding=margin).unsqueeze(2)


def _loss(vae: AutoencoderKLWan, pixels: Tensor, recipe: Recipe, step: int) -> Tensor:
    found = posterior(vae, pixels)
    kl = 0.5 * (found.mean.square() + found.var - 1 - found.logvar).mean()
    noise = randomness.normal(tuple(found.mean.shape), recipe.seed, "posterior", step)
    error = (decode(vae, found.mean + found.std * noise) - pixels).square().mean()
    return error + recipe.kl_weight * kl


def lengths(recipe: Recipe) -> Iterator[int]:
    """Frames of each step's clips: images first, then images and clips evenly interleaved."""
    clips = 0
    for step in range(recipe.steps):
        late = step - int(recipe.image_phase * recipe.steps)
        if late < 0 or int((late + 1) * recipe.image_share) > int(late * recipe.image_share):
            yield 1
        else:
            clips += 1
            yield 9 if clips % recipe.long_every == 0 else 5


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero."""
    return min(1.0, (step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _optimisers(vae: AutoencoderKLWan, recipe: Recipe) -> list[tuple[torch.optim.Optimizer, float]]:
    kernels = [weight for weight in vae.parameters() if _is_kernel(weight)]
    rest = [weight for weight in vae.parameters() if not _is_kernel(weight)]
    adamw = torch.optim.AdamW(rest, lr=recipe.adamw_rate, betas=(0.9, 0.99), weight_decay=0.0)
    return [(muon.Muon(kernels, lr=recipe.muon_rate), recipe.muon_rate), (adamw, recipe.adamw_rate)]


def _is_kernel(weight: Tensor) -> bool:
    """Whether Muon moves it: a convolution's weight; gains (C, 1, 1, 1) and biases are AdamW's."""
    return weight.ndim >= 4 and weight.shape[1] > 1


def _structure() -> AutoencoderKLWan:
    """The layers, with weights still to be set.

    Wan2.1's published latents_mean and latents_std are the defaults of this class's configuration: not repeating them
    gives the miniature the very same, to the last digit.
    """
    with torch.random.fork_rng(devices=[]):
        return AutoencoderKLWan(
            base_dim=16,
            z_dim=16,
            dim_mult=[1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[True, True],
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
        )


def _initialise(module: nn.Conv2d | nn.Conv3d, generator: torch.Generator) -> None:
    """Present tap: uniform with variance 1 / (3 fan-in); earlier taps and bias: zero."""
    with torch.no_grad():
        present = module.weight[:, :, -1] if isinstance(module, WanCausalConv3d) else module.weight
        bound = (present[0].numel()) ** -0.5
        module.weight.zero_()
        present.uniform_(-bound, bound, generator=generator)
        affine(module)[1].zero_()


def _spread_over_time(vae: AutoencoderKLWan) -> None:
    """Temporal down-sampling begins as the mean of two frames, up-sampling as their repetition."""
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith("time_conv"):
                identity = torch.eye(module.in_channels)
                module.weight.zero_()
                if "downsampler" in name:
                    module.weight[:, :, 1, 0, 0] = module.weight[:, :, 2, 0, 0] = identity / 2
                else:
                    module.weight[:, :, 2, 0, 0] = torch.cat([identity, identity])


def _begin_certain(vae: AutoencoderKLWan, log_variance: float) -> None:
    """The posterior begins narrow, whatever the input."""
    weight, bias = affine(vae.quant_conv)
    with torch.no_grad():
        weight[vae.z_dim :] = 0
        bias[vae.z_dim :] = log_variance


def affine(module: nn.Conv2d | nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that has both."""
    return module.weight, cast(Tensor, module.bias)
