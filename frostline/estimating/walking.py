"""A call without numbers: what a module would hold at most, and how many operations it would do.

On torch's meta device tensors have shapes and no values, so that a call of any size takes no memory. What a kernel
takes for itself (a convolution's workspace) is not seen.
"""

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Held(TorchDispatchMode):
    """Counts the bytes of tensors that are made under it, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what was asked and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.take(leaf)
        return made

    def take(self, tensor: Tensor) -> None:
        """Count a tensor's memory from now on, once."""
        storage = tensor.untyped_storage()
        if id(storage) in self._alive:
            return
        size = storage.nbytes()
        self._alive.add(id(storage))
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._let_go, id(storage), size)

    def _let_go(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


@dataclass
class Walk:
    """What a call took."""

    bytes: int = 0
    flops: int = 0


@contextlib.contextmanager
def walked() -> Iterator[Walk]:
    """Count what is done in the block, without gradients."""
    found, held, counted = Walk(), Held(), FlopCounterMode(display=False)
    with torch.inference_mode(), counted, held:
        yield found
    found.bytes, found.flops = held.most, counted.get_total_flops()
