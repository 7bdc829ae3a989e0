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
from scipy import linalg
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
def emptiness(vae: AutoencoderKLWan, scans: np.ndarray) -> Tensor:
    """Posterior width over the spread of the means, of each channel over scans as images: float64 (C,).

    About .05 in a channel that is used; above 1 the channel carries nothing, and the decoder ignores it.
    """
    posterior = training.posterior(vae, training.as_pixels([figures.drifting(int(scan), 1) for scan in scans]))
    return (posterior.std.mean((0, 2, 3, 4)) / posterior.mean.std((0, 2, 3, 4))).double()


@torch.no_grad()
def mix(vae: AutoencoderKLWan, found: tuple[Tensor, Tensor], empty: Tensor) -> None:
    """Change the VAE in place so that every channel carries an equal share of what all of them carry.

    Training lets some channels die. Re-gauging such a channel would blow its remnant up to full size, and a diffusion
    model would learn it as data. So channels are brought to one spread, the dead ones to a spread as small as their
    part, and turned by an orthogonal matrix of equal entries (Hadamard's): the same function, no channel empty.
    The posterior's width is set to that of the live channels. Raises Refused if half of the channels are dead.
    """
    mean, std = found
    live = empty <= WIDEST
    if live.sum() <= len(live) / 2:
        raise Refused(f"only {int(live.sum())} of {len(live)} channels of the VAE carry anything: train it anew")
    unit = std * empty.clamp(min=1.0)  # (C,): raw size of one unit
    turn = torch.from_numpy(linalg.hadamard(len(std))).double() / len(std) ** 0.5  # (C, C)
    weight, bias = training.affine(vae.quant_conv)
    kernel, offset, channels = weight.double(), bias.double(), len(std)
    forth = turn / unit  # (C, C): raw - mean -> mixed
    width = (empty[live] * std[live] / unit[live]).square().mean()
    kernel[:channels] = torch.einsum("ij,j...->i...", forth, kernel[:channels])
    offset[:channels] = forth @ (offset[:channels] - mean)
    kernel[channels:] = 0.0
    offset[channels:] = width.log()
    weight.copy_(kernel)
    bias.copy_(offset)
    weight, bias = training.affine(vae.post_quant_conv)
    kernel, offset = weight.double(), bias.double()
    back = unit[:, None] * turn.T  # (C, C): mixed -> raw - mean
    bias.copy_(offset + kernel[:, :, 0, 0, 0] @ mean)
    weight.copy_((kernel[:, :, 0, 0, 0] @ back)[:, :, None, None, None])


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
