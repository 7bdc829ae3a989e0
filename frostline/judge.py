"""The judge: which digit a frame shows, which way a clip drifts, and features to compare sets of frames by.

Names:  images    uint8 (N, H, W, 3), H = W = the size the judge was trained at
        clips     uint8 (N, T, H, W, 3)
        features  float32 (N, 32), each of mean 0 and standard deviation 1 over the real train split
A judge is one small convolutional network, stored as judge.safetensors (bfloat16) and judge.json beside it. Directions
are measured, not learned: the way of the centre of brightness from the first frame to the last.
"""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from frostline import digits, files, records
from frostline.errors import WrongUse
from frostline.records import Record

WEIGHTS, SETTINGS = "judge.safetensors", "judge.json"
FEATURES = 32
BATCH = 500  # frames per evaluation
STILL = -1  # direction of a clip that does not drift


class Settings(Record):
    """What stands beside the weights."""

    size: int  # height and width of the images
    feature_mean: tuple[float, ...]  # over the real images of the train split
    feature_std: tuple[float, ...]
    minimum_drift: float = 1 / 16  # of the frame's side; a clip whose centre moves less stands still


class Network(nn.Module):
    """Three convolutions, 32 features, ten logits."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *_stage(3, 24), *_stage(24, 48), *_stage(48, 64), nn.Flatten(), nn.Linear(64 * (size // 8) ** 2, FEATURES)
        )
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(FEATURES, len(digits.WORDS)))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (N, 3, H, W) in [-1, 1] -> features (N, 32), logits (N, 10)."""
        features = self.trunk(pixels)
        return features, self.head(features)


class Judge:
    """A trained judge; holds its network and settings."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self.settings = settings
        self._network = network.eval().requires_grad_(requires_grad=False)

    @classmethod
    def load(cls, folder: str | Path) -> "Judge":
        """Read a judge's folder (``judge/`` of a base folder); raises WrongUse if it is absent or damaged."""
        folder = Path(folder)
        settings = records.parse(Settings, files.read_json(folder / SETTINGS), origin=str(folder / SETTINGS))
        if not (folder / WEIGHTS).exists():
            raise WrongUse(f"{folder / WEIGHTS}: no such file; restore it with `git checkout {folder}`")
        network = Network(settings.size)
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        network.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return cls(network, settings)

    def save(self, folder: str | Path) -> None:
        """Write weights and settings into a folder."""
        weights = {name: weight.bfloat16().contiguous() for name, weight in self._network.state_dict().items()}
        files.write_bytes(Path(folder) / WEIGHTS, safetensors.torch.save(weights))
        files.write_json(Path(folder) / SETTINGS, self.settings.model_dump(mode="json"))

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of images: float32 (N, 32), standardised."""
        raw = self._evaluate(images)[0]
        return ((raw - np.array(self.settings.feature_mean)) / np.array(self.settings.feature_std)).astype(np.float32)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits of the ten digits: float32 (N, 10)."""
        return self._evaluate(images)[1]

    def classify(self, images: np.ndarray) -> np.ndarray:
        """The digit each image shows: int64 (N,)."""
        return self.logits(images).argmax(1)

    def directions(self, clips: np.ndarray) -> np.ndarray:
        """Which of digits.MOTIONS each clip drifts in, or STILL: int64 (N,)."""
        way = _centre(clips[:, -1]) - _centre(clips[:, 0])  # (N, 2) as (row, column), in sides
        sideways = np.abs(way[:, 1]) >= np.abs(way[:, 0])
        found = np.where(sideways, np.where(way[:, 1] < 0, 0, 1), np.where(way[:, 0] < 0, 2, 3))
        return np.where(np.abs(way).max(1) < self.settings.minimum_drift, STILL, found).astype(np.int64)

    @staticmethod
    def expected(caption: str) -> tuple[int | None, int | None]:
        """What a caption asks for: (digit, index of the motion); None for what it does not name."""
        words = caption.lower().split()
        label = next((digits.WORDS.index(word) for word in words if word in digits.WORDS), None)
        motion = next((number for number, name in enumerate(digits.MOTIONS) if name in words), None)
        return label, motion

    def _evaluate(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = self.settings.size
        if images.ndim != 4 or images.shape[1:] != (size, size, 3) or images.dtype != np.uint8:
            raise WrongUse(f"the judge takes uint8 images (N, {size}, {size}, 3), not {images.dtype} {images.shape}")
        with torch.inference_mode():
            parts = [self._network(as_pixels(images[at : at + BATCH])) for at in range(0, len(images), BATCH)]
        features, logits = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        return features, logits


def as_pixels(images: np.ndarray) -> Tensor:
    """uint8 images (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2)]


def _centre(images: np.ndarray) -> np.ndarray:
    """Centre of brightness, in sides of the frame: float64 (N, 2) as (row, column); a black frame's is its middle."""
    grey = images.astype(np.float64).mean(-1) + 1e-9  # (N, H, W)
    rows, columns = grey.sum(2), grey.sum(1)
    places = [(mass @ (np.arange(mass.shape[1]) + 0.5)) / mass.sum(1) / mass.shape[1] for mass in (rows, columns)]
    return np.stack(places, axis=1)
