"""How the judge is trained: placements of scans of the train split, as images and as frames of drifting clips."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from frostline import digits, judge, randomness
from frostline.records import Record

SIZE = 32


class Recipe(Record):
    """How the judge is trained."""

    seed: int = 0
    steps: int = 1200
    batch: int = 64
    rate: float = 3e-3
    weight_decay: float = 1e-2
    smoothing: float = 0.05  # of the labels
    noise: float = 0.1  # standard deviation added to pixels in [-1, 1], so that faint grain does not decide


Report = Callable[[int, float], None]  # (steps done, loss)


def train(recipe: Recipe, report: Report) -> judge.Judge:
    """Train a judge from nothing; the same recipe, threads and instruction set give the same bits."""
    network = _build(recipe.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    for step in range(recipe.steps):
        images, labels = _batch(recipe, step)
        pixels = judge.as_pixels(images)
        grain = randomness.normal(tuple(pixels.shape), recipe.seed, "judge noise", step)
        loss = criterion(network(pixels + recipe.noise * grain)[1], torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        report(step + 1, float(loss.detach()))
    return judge.Judge(network, _settings(network))


def accuracy(trained: judge.Judge, split: digits.Split, placements: int = 4) -> float:
    """Share of real images of a split that the judge names rightly, each scan at several placements."""
    scans = np.repeat(digits.members(split), placements)
    images = np.concatenate([digits.render(int(scan), number, 1) for number, scan in enumerate(scans)])
    return float((trained.classify(images) == digits.labels()[scans]).mean())


def _build(seed: int) -> judge.Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.seed(seed, "judge weights"))
        return judge.Network(SIZE)


def _batch(recipe: Recipe, step: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (batch, H, W, 3) and their labels; every other one is a frame of a drifting clip."""
    generator = np.random.default_rng((recipe.seed, step))
    scans = generator.choice(digits.members("train"), recipe.batch)
    frames = generator.integers(5, size=recipe.batch)
    images = [
        digits.render(int(scan), 1000 + step, 5, digits.MOTIONS[place % 4])[frames[place]]
        if place % 2
        else digits.render(int(scan), 1000 + step, 1)[0]
        for place, scan in enumerate(scans)
    ]
    return np.stack(images), digits.labels()[scans]


def _settings(network: judge.Network) -> judge.Settings:
    """Mean and standard deviation of the features over the train split, in the precision that is stored."""
    images = np.concatenate([digits.render(int(scan), 0, 1) for scan in digits.members("train")])
    plain = judge.Settings(size=SIZE, feature_mean=(0.0,) * judge.FEATURES, feature_std=(1.0,) * judge.FEATURES)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.bfloat16())
    features = judge.Judge(network, plain).features(images).astype(np.float64)
    return plain.model_copy(
        update={"feature_mean": tuple(features.mean(0).tolist()), "feature_std": tuple(features.std(0).tolist())}
    )
