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

from frostline.errors import Refused
from frostline.foundation import figures
from frostline.foundation import vae as training

BATCH = 64
WIDEST = 1.0  # posterior standard deviation / that of the means; about .05 in a channel that is used


def published(vae: AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    """Wan2.1's mean and standard deviation of each channel, as its configuration states them: float64 (C,), (C,)."""
    return torch.tensor(vae.config["latents_mean"]).double(), torch.tensor(vae.config["latents_std"]).double()


@torch.no_grad()
def statistics(vae: AutoencoderKLWan, scans: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of the raw latents: float64 (C,), (C,).

    Over every scan as an image, a clip of 5 and one of 9 frames; each latent counts once.
    """
    columns = []
    for frames in training.FRAMES:
        for at in range(0, len(scans), BATCH):
            clips = [figures.drifting(int(scan), frames) for scan in scans[at : at + BATCH]]
            raw = training.posterior(vae, training.as_pixels(clips)).mean
            columns.append(raw.transpose(0, 1).flatten(1).double())  # (C, B * T' * H' * W')
    pooled = torch.cat(columns, dim=1)
    return pooled.mean(1), pooled.std(1)


@torch.no_grad()
def require_alive(vae: AutoencoderKLWan, scans: np.ndarray) -> None:
    """Refuse a VAE with a channel that carries nothing: re-gauging would blow its remnant up to full size.

    Raises Refused if some channel's posterior is wider than the spread of its means over the scans as images.
    """
    posterior = training.posterior(vae, training.as_pixels([figures.drifting(int(scan), 1) for scan in scans]))
    ratio = posterior.std.mean((0, 2, 3, 4)) / posterior.mean.std((0, 2, 3, 4))  # (z_dim,)
    dead = [channel for channel, wide in enumerate(ratio.tolist()) if wide > WIDEST]
    if dead:
        raise Refused(
            f"channels {dead} of the VAE carry nothing (posterior {ratio.max():.2f} of the spread, at most {WIDEST}): "
            "raise kl_floor or lower kl_weight in frostline/foundation/vae.py and train again"
        )


@torch.no_grad()
def regauge(vae: AutoencoderKLWan, found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Change the VAE in place so that channels of statistics `found` come out as `wanted`."""
    (mean, std), (new_mean, new_std) = found, wanted
    scale = new_std / std  # (C,)
    channels = len(scale)
    weight, bias = training.affine(vae.quant_conv)
    kernel, offset = weight.double(), bias.double()  # (2C, 2C, 1, 1, 1), (2C,)
    kernel[:channels] *= scale[:, None, None, None, None]
    offset[:channels] = (offset[:channels] - mean) * scale + new_mean
    offset[channels:] += 2 * scale.log()  # the posterior's log-variance
    weight.copy_(kernel)
    bias.copy_(offset)
    weight, bias = training.affine(vae.post_quant_conv)
    kernel, offset = weight.double(), bias.double()  # (C, C, 1, 1, 1), (C,)
    back = kernel / scale[None, :, None, None, None]  # undoes the scale
    bias.copy_(offset + kernel[:, :, 0, 0, 0] @ mean - back[:, :, 0, 0, 0] @ new_mean)
    weight.copy_(back)
