"""Rows of one step of each bucket: as many as params say, or as many as a number of tokens makes.

    rows = tokens // tokens of one row, less what parts do not divide

Names:  tokens  patches of latents
        parts   that a step's rows are taken in: processes, and each one's parts (``compute.accumulate``)

A step of few long clips then costs about as much as one of many images; how often each takes its turn is its share.
"""

from collections.abc import Mapping

from frostline.contract import LatentSpace
from frostline.errors import WrongUse
from frostline.params.trainings import AnyShare, BucketShare
from frostline.store import layout


def resolved(
    buckets: Mapping[str, AnyShare], space: LatentSpace, patch: tuple[int, int, int], parts: int
) -> dict[str, BucketShare]:
    """The same buckets, each with its rows; raises WrongUse for tokens that make fewer rows than parts."""
    return {name: _resolved(name, share, space, patch, parts) for name, share in buckets.items()}


def row_tokens(bucket: str, space: LatentSpace, patch: tuple[int, int, int]) -> int:
    """Tokens of one row of a bucket."""
    return tokens(space.shape(layout.bucket_of(bucket)), patch)


def tokens(shape: tuple[int, ...], patch: tuple[int, int, int]) -> int:
    """Patches of one latent (C, T, H, W)."""
    _, frames, height, width = shape
    return (frames // patch[0]) * (height // patch[1]) * (width // patch[2])


def _resolved(name: str, share: AnyShare, space: LatentSpace, patch: tuple[int, int, int], parts: int) -> BucketShare:
    if isinstance(share, BucketShare):
        return share
    each = row_tokens(name, space, patch)
    if not each:
        raise WrongUse(
            f"buckets.{name}: its latents are smaller than a patch of {patch}, so there are no tokens to count"
        )
    rows = share.tokens // each // parts * parts
    if not rows:
        least = "one row" if parts == 1 else f"{parts} rows, one for each part (processes times compute.accumulate)"
        raise WrongUse(
            f"buckets.{name}.tokens is {share.tokens}: a row has {each} tokens and a step takes at least {least}: "
            f"give {each * parts} or more"
        )
    return BucketShare(share=share.share, batch=rows)
