"""Which split a source item is in: a function of its name or content alone, so it stays when others come and go."""

from frostline import digests
from frostline.params import SplitParams


def of(key: str, params: SplitParams) -> str:
    """Train, validation or test. ``key`` is the item's name, or its content's digest, so that copies stay together."""
    place = int(digests.of_json([params.seed, key]), 16) / 2**128  # uniform in [0, 1)
    if place < params.test:
        return "test"
    return "validation" if place < params.test + params.validation else "train"
