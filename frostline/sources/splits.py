"""Which split a source item is in.

The rule: an item's key is the name of what it was cut from, where somebody says so, and else the digest of its bytes.
Items that are near-duplicates, or share a key, form a group; a group is in the split that a digest of (seed, its
smallest key) deals it. So no window, mirror image, copy or near-duplicate of a held-out item is in training, and an
item stays where it is while others come and go, unless one joins its group that has a smaller key.
"""

from collections.abc import Sequence

import numpy as np

from frostline import digests
from frostline.params.sources import SplitParams


def of(key: str, params: SplitParams) -> str:
    """Train, validation or test; ``key`` is the smallest of the group."""
    place = int(digests.of_json([params.seed, key]), 16) / 2**128  # uniform in [0, 1)
    if place < params.test:
        return "test"
    return "validation" if place < params.test + params.validation else "train"


def of_groups(keys: Sequence[str], groups: np.ndarray, params: SplitParams) -> list[str]:
    """The split of every item, from its key and the number of its group."""
    smallest: dict[int, str] = {}
    for key, group in zip(keys, groups.tolist(), strict=True):
        smallest[group] = min(key, smallest.get(group, key))
    dealt = {group: of(key, params) for group, key in smallest.items()}
    return [dealt[group] for group in groups.tolist()]
