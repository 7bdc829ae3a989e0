"""A network that knows the truth: a mixture in closed form, read in any way, and latents drawn from it."""

import torch
from torch import Tensor

from frostline import exact, path, randomness
from frostline.doctor import readings
from frostline.doctor.readings import Asked, Reading
from frostline.doctor.rows import Rows

SHAPE = (4, 1, 8, 4)  # (C, T, H, W): 128 dimensions
MIXTURE = exact.mixture(classes=3, components=2, dimensions=128, generator=randomness.generator("truth"), spread=0.3)
STD, MEAN = (1.4, 2.0, 3.0, 2.5), (0.5, -0.5, 1.0, 0.0)


def rows(count: int = 48) -> Rows:
    """Latents of the mixture, and raw ones that are normalised to them; texts say the class."""
    flat, labels = MIXTURE.draw(count, randomness.generator("rows"))
    clean = flat.float().reshape(count, *SHAPE)
    std, mean = (torch.tensor(values).view(1, 4, 1, 1, 1) for values in (STD, MEAN))
    text = torch.nn.functional.one_hot(labels, 3).float()[:, None].expand(-1, 2, -1).contiguous()
    return Rows(origin="truth", raw=clean * std + mean, clean=clean, text=text, null=torch.zeros(1, 2, 3))


def network(reading: Reading, blur: float = 0.0) -> Asked:
    """Answers that are right when they are read in one way; ``blur`` mixes in as much of nothing learned."""

    def ask(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        sigma = sigma_of(reading, told)
        length = torch.ones_like(sigma) if reading.schedule is None else ((1 - sigma) ** 2 + sigma**2).sqrt()
        noised = given * path.broadcast(length, given)
        velocity = conditional(noised, sigma, text)
        flat = exact.Gaussian(mean=0.0, std=1.0).velocity(noised, sigma)
        velocity = (1 - blur) * velocity + blur * flat
        clean, noise = path.clean(noised, velocity, sigma), path.noise(noised, velocity, sigma)
        return readings.target(reading.prediction, clean, noise, sigma)

    return ask


def conditional(noised: Tensor, sigma: Tensor, text: Tensor | None) -> Tensor:
    """The velocity towards the class that a text names; a text of zeros names none."""
    free = MIXTURE.velocity(noised, sigma)
    if text is None:
        return free
    named = text[:, 0].any(1).view(-1, 1, 1, 1, 1)
    return torch.where(named, MIXTURE.guided(text[:, 0].argmax(1), 1.0)(noised, sigma), free)


def sigma_of(reading: Reading, told: Tensor) -> Tensor:
    """The sigma (B,) that a network was told."""
    grid = torch.linspace(1e-3, 1 - 1e-3, 2000, dtype=torch.float64)
    known = reading.told(grid).double()
    place = (known[None] - told.double()[:, None]).abs().argmin(1)
    return grid[place]


PARAMETRISATIONS = (
    Reading(prediction="velocity", time="1000 sigma"),
    Reading(prediction="velocity", time="sigma"),
    Reading(prediction="reversed velocity", time="1000 (1 - sigma)"),
    Reading(prediction="reversed velocity", time="1 - sigma"),
    Reading(prediction="clean", time="1000 sigma"),
    Reading(prediction="epsilon", time="1000 sigma"),
    Reading(prediction="epsilon", time="scaled linear", schedule=readings.SCHEDULES["scaled linear"]),
    Reading(
        prediction="v_prediction",
        time="scaled linear, zero terminal",
        schedule=readings.SCHEDULES["scaled linear, zero terminal"],
    ),
)
