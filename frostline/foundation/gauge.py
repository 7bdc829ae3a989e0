"""Re-gauging: the same VAE with latents of another mean and standard deviation per channel.

Names:  raw latents  posterior means, (B, C, T', H', W')
        found        (mean, std) of the raw latents per channel, each (C,)
        wanted       the same as they are to be
A VAE trained on its own has latents near N(0, 1), so that a program which forgets to normalise them would still seem
to work. Both 1 x 1 x 1 convolutions about the latents take up the change: what is decoded stays what it was.
"""

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from frostline.foundation import figures
from frostline.foundation import vae as training

BATCH = 64


def published(vae: AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    """Wan2.1's mean and standard deviation of each channel, as its configuration states them: float64 (C,), (C,)."""
    return torch.tensor(vae.config.latents_mean).double(), torch.tensor(vae.config.latents_std).double()


@torch.no_grad()
def statistics(vae: AutoencoderKLWan, scans: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of the raw latents: float64 (C,), (C,).

    Over every scan as an image, a clip of 5 and one of 9 frames; each latent counts once.
    """
    columns = []
    for frames in training.FRAMES:
        for at in range(0, len(scans), BATCH):
            clips = [figures.drifting(int(scan), frames) for scan in scans[at : at + BATCH]]
            raw = vae.encode(training.as_pixels(clips)).latent_dist.mean
            columns.append(raw.transpose(0, 1).flatten(1).double())  # (C, B * T' * H' * W')
    pooled = torch.cat(columns, dim=1)
    return pooled.mean(1), pooled.std(1)


@torch.no_grad()
def regauge(vae: AutoencoderKLWan, found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Change the VAE in place so that channels of statistics `found` come out as `wanted`."""
    (mean, std), (new_mean, new_std) = found, wanted
    scale = new_std / std  # (C,)
    channels = vae.config.z_dim
    before, after = vae.quant_conv, vae.post_quant_conv
    weight, bias = before.weight.double(), before.bias.double()
    weight[:channels] *= scale[:, None, None, None, None]
    bias[:channels] = (bias[:channels] - mean) * scale + new_mean
    bias[channels:] += 2 * scale.log()  # the posterior's log-variance
    before.weight.copy_(weight)
    before.bias.copy_(bias)
    back = after.weight.double() / scale[None, :, None, None, None]  # (C, C, 1, 1, 1): undoes the scale
    after.bias.copy_(after.bias.double() + after.weight.double()[:, :, 0, 0, 0] @ mean - back[:, :, 0, 0, 0] @ new_mean)
    after.weight.copy_(back)
