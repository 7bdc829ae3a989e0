"""The section ``shard``: sources that several workers encode together."""

from typing import Annotated

import pydantic

from frostline.params.values import Name, Positive
from frostline.records import Record


def _counted(shares: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse what does not count from one on."""
    if shares != tuple(range(1, len(shares) + 1)) or not shares:
        raise ValueError("count the shares: [1, 2] for two, [1, 2, 3, 4] for four")
    return shares


class ShardParams(Record):
    """Rows of these sources are dealt into shares, each a stage of its own."""

    sources: tuple[Name, ...]
    shares: Annotated[tuple[Positive, ...], pydantic.AfterValidator(_counted)]  # 1, 2 and so on: a list, as DVC has it
