"""A part's tensors by diffusers' names, read one at a time out of the files they lie in."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import final

from torch import Tensor

from frostline import weights
from frostline.wan.loading import Plan


@final
class Tensors(Mapping[str, Tensor]):
    """Tensors by name, none of them held: each is read when it is asked for, and may lie in a mapped file."""

    def __init__(self, names: list[str], read: Callable[[str], Tensor]) -> None:
        self._names = names
        self._read = read

    def __getitem__(self, name: str) -> Tensor:
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextlib.contextmanager
def opened(found: Plan) -> Iterator[Tensors]:
    """The tensors of a part while its files are open; raises as ``weights.opened``."""
    places = {new: (file, old) for file, renamed in found.renamed.items() for old, new in renamed.items()}
    with contextlib.ExitStack() as stack:
        readers: dict[Path, Callable[[str], Tensor]] = {
            file: stack.enter_context(weights.opened(file)).read for file in found.renamed
        }

        def read(name: str) -> Tensor:
            file, old = places[name]
            return readers[file](old)

        yield Tensors(list(places), read)
