"""Low-rank changes of a transformer (LoRA; Hu et al., arXiv:2106.09685, eq. 3): added to weights, and found again.

    W' = W + scale * (alpha / r) * up @ down        W (out, in), down (r, in), up (out, r)

Modules go by diffusers' names. How much of a change D a rank r keeps is measured in squared Frobenius norms, with the
singular values s of D:     share = sum of the first r of s^2 / sum of all s^2 = 1 - ||D - D_r||^2 / ||D||^2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import tqdm
from torch import Tensor

from frostline import randomness
from frostline.errors import Refused, WrongUse
from frostline.weights import Kind

SEARCHED = 4  # ranks below a fourth of a matrix's are searched for, not cut from all
SPARE, ROUNDS = 8, 8  # of the search: columns besides, and how often it is refined


@dataclass(frozen=True)
class Change:
    """The change of one matrix."""

    down: Tensor  # (r, in)
    up: Tensor  # (out, r)
    alpha: float

    @property
    def rank(self) -> int:
        """The change's rank."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (out, in) of the matrix it changes."""
        return self.up.shape[0], self.down.shape[1]

    def delta(self, scale: float = 1.0) -> Tensor:
        """What is added to the matrix: (out, in) in float32."""
        return (scale * self.alpha / self.rank) * (self.up.float() @ self.down.float())


Lora = dict[str, Change]
"""Module, by diffusers' name, to its change."""


@dataclass(frozen=True)
class Extracted:
    """A change of low rank, and how much of the whole change it is."""

    lora: Lora = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)  # module to the share of its own change
    left_out: tuple[str, ...] = ()  # tensors that changed and that no LoRA can hold
    overall: float = 1.0  # share of the change of all tensors, those left out too

    @property
    def worst(self) -> tuple[str, float]:
        """The module of which least is kept, and its share."""
        return min(self.kept.items(), key=lambda item: item[1])


def require_fitting(lora: Mapping[str, Change], kinds: Mapping[str, Kind], *, lora_is: str, model_is: str) -> None:
    """Raise WrongUse, naming the matrix, if a LoRA is for another transformer."""
    for module, change in lora.items():
        name = f"{module}.weight"
        there = kinds[name].shape if name in kinds else "no such matrix"
        if there != change.shape:
            raise WrongUse(
                f"{lora_is}: changes {name} {change.shape}, {model_is} has {there}: it is for another transformer; "
                "name the model it was trained on"
            )


def merged(name: str, tensor: Tensor, lora: Mapping[str, Change], scale: float = 1.0) -> Tensor:
    """A tensor of a transformer with a LoRA added: summed in float32, given back in its own dtype."""
    change = lora.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
    return tensor if change is None else (tensor.float() + change.delta(scale)).to(tensor.dtype)


def extract(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], rank: int, *, matrices_only: bool = False
) -> Extracted:
    """The best change of a rank, in the Frobenius norm, that turns one transformer's matrices into another's.

    Both have the same names and shapes. Tensors that are equal are left out. What is no matrix (biases, norms) cannot
    be in a LoRA: Refused if it differs, unless ``matrices_only`` leaves it out.
    """
    lora: Lora = {}
    kept: dict[str, float] = {}
    left_out: list[str] = []
    size = whole = 0.0  # squared norms: of what is kept, of all
    for name in tqdm.tqdm(before, desc="extracting", unit="tensor", disable=None):
        delta = _difference(name, before[name], after[name])
        if not delta.any():
            continue
        own = delta.double().square().sum().item()
        whole += own
        if delta.ndim == 2 and name.endswith(".weight"):
            module = name.removesuffix(".weight")
            lora[module], kept[module] = _best(delta, rank)
            size += own * kept[module]
        else:
            _require_allowed(name, matrices_only=matrices_only)
            left_out.append(name)
    if not lora:
        raise Refused("no matrix of the two differs: there is no change that a LoRA could hold")
    return Extracted(lora, kept, tuple(left_out), size / whole)


def _difference(name: str, before: Tensor, after: Tensor) -> Tensor:
    delta = after.float() - before.float()
    if not delta.isfinite().all():
        raise Refused(f"{name}: holds numbers that are not finite: one of the two models is damaged; make it again")
    return delta


def _best(delta: Tensor, rank: int) -> tuple[Change, float]:
    """The nearest matrix of a rank, and the share of the squared norm that it keeps."""
    used = min(rank, *delta.shape)
    u, s, v = _leading(delta, used)  # (out, r), (r,), (r, in)
    root = s.sqrt()
    share = s.double().square().sum() / delta.double().square().sum()
    return Change(root[:, None] * v, u * root, float(used)), min(share.item(), 1.0)


def _leading(delta: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The leading singular vectors and values: all of them found, or where few are wanted, only these.

    Few are found by subspace iteration (Halko, Martinsson, Tropp, arXiv:0909.4061, alg. 4.4) from fixed numbers: at
    rank 32 in a sixteenth to a seventh of the time for matrices of 1.3B. The share is of what was found, not the best.
    """
    if SEARCHED * rank >= min(delta.shape):
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
        return u[:, :rank], s[:rank], v[:rank]
    right = randomness.normal((delta.shape[1], rank + SPARE), "extract", rank)
    left = torch.linalg.qr(delta @ right).Q  # (out, r + SPARE)
    for _ in range(ROUNDS):
        right = torch.linalg.qr(delta.T @ left).Q
        left = torch.linalg.qr(delta @ right).Q
    u, s, v = torch.linalg.svd(left.T @ delta, full_matrices=False)
    return left @ u[:, :rank], s[:rank], v[:rank]


def _require_allowed(name: str, *, matrices_only: bool) -> None:
    if not matrices_only:
        raise Refused(
            f"{name}: differs, and is no matrix: a LoRA cannot hold that change; export the whole model, or leave out "
            "all that is no matrix with --matrices-only"
        )
