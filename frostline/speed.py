"""How fast a training goes: rows and tokens a second, and the share of the device's peak that its network uses.

Names:  tokens  patches of latents, summed over the rows of a step
        flops   of a step: 2 for each multiplication with its addition; forward, and twice that for the way back,
                once where weights are frozen and nothing goes back to them
        peak    of dense bfloat16 matrix products, as the maker states it
What is computed again (``compute.recompute``), a teacher's part, and the optimiser's are not counted: MFU as in
Chowdhery et al., PaLM, arXiv:2204.02311, appendix B.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from frostline import budgets
from frostline.dataset import Batch

LOOKS = 2.0  # seconds between two looks, at least
PEAKS = {
    "A100": 312e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
}


def forward_flops(config: Mapping[str, Any], tokens: int, text: int) -> float:
    """Of one row through a Wan transformer: ``tokens`` patches under ``text`` tokens."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    own = 8 * tokens * width**2 + 4 * tokens**2 * width
    crossed = 4 * (tokens + text) * width**2 + 4 * tokens * text * width
    blocks = config["num_layers"] * (own + crossed + 4 * tokens * width * config["ffn_dim"])
    patch = config["patch_size"][0] * config["patch_size"][1] * config["patch_size"][2]
    ends = 2 * tokens * width * patch * (config["in_channels"] + config["out_channels"])
    words = 2 * text * width * (config["text_dim"] + width)
    time = 2 * width * (config["freq_dim"] + 7 * width)
    return float(blocks + ends + words + time)


def peak(device: torch.device) -> float | None:
    """Operations a second that a device can do at most; None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((found for part, found in PEAKS.items() if part in name), None)


class Meter:
    """Counts what is done between two looks."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        world: int,
        device: torch.device,
        frozen: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``config`` is the network's; each of ``world`` processes has a device like this one.

        ``frozen``: an adapter is trained beside it, whose own operations are not counted.
        """
        self._passes = 2 if frozen else 3
        self._config, self._world, self._peak, self._clock = config, world, peak(device), clock
        self._forget()

    def _forget(self) -> None:
        self._since, self._rows, self._tokens, self._flops = self._clock(), 0, 0, 0.0

    def count(self, batch: Batch) -> None:
        """Count a step by this process's share of its rows: the others' are as many and as large."""
        rows = len(batch.rows) * self._world
        each = budgets.tokens(batch.shape, self._config["patch_size"])
        self._rows += rows
        self._tokens += rows * each
        self._flops += self._passes * rows * forward_flops(self._config, each, batch.text.shape[1])

    def due(self) -> bool:
        """Is it time for a look, for somebody who watches?"""
        return self._clock() - self._since >= LOOKS

    def look(self) -> dict[str, str]:
        """Rates since the last look, in words."""
        taken = max(self._clock() - self._since, 1e-9)
        found = {"samples/s": f"{self._rows / taken:.3g}", "tokens/s": f"{self._tokens / taken:.3g}"}
        if self._peak is not None:
            found["MFU"] = f"{self._flops / taken / self._peak / self._world:.1%}"
        self._forget()
        return found
