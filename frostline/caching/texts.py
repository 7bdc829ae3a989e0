"""Captions that no file of the pool has yet, through the frozen text encoder."""

from collections.abc import Sequence, Set

import numpy as np
import torch

from frostline import digests
from frostline.caching import units
from frostline.caching.bars import Bar
from frostline.caching.pool import Pool
from frostline.caching.units import Claims, Unit
from frostline.codec import Codec
from frostline.store import layout, writing
from frostline.store.layout import CAPTIONS, TEXT, Caption

UNIT_BATCHES = 16


def encode(
    ids: Sequence[str], captions: Sequence[str], fresh: Set[str], codec: Codec, size: int, pool: Pool, bar: Bar
) -> None:
    """Put the embeddings of captions into the pool, but for those that are fresh there.

    They go in batches of ``size``, the last of a unit padded. Units that another process has claimed are waited for.
    ``bar`` is told of texts that were encoded.
    """
    with Claims(units.cut(ids, size * UNIT_BATCHES, CAPTIONS, pool), pool) as claims:
        for unit, claim in claims:
            with claim:
                new = [place for place in unit.places if ids[place] not in fresh]
                if new:
                    _write(unit, [ids[n] for n in new], [captions[n] for n in new], codec, size, pool)
            bar.add(len(new))


def _write(unit: Unit, ids: Sequence[str], captions: Sequence[str], codec: Codec, size: int, pool: Pool) -> None:
    """Write a unit: its tokens first, so that captions never stand without them."""
    found: list[torch.Tensor] = []
    for start in range(0, len(captions), size):
        batch = captions[start : start + size]
        found += codec.encode_text([*batch, *[batch[-1]] * (size - len(batch))])[: len(batch)]
    data = [writing.text_bytes(text.cpu(), pool.space) for text in found]
    rows = [
        Caption(text_id=one, caption=caption, tokens=len(text), text_digest=digests.of_bytes(text.data))
        for one, caption, text in zip(ids, captions, data, strict=True)
    ]
    facts = layout.table(Caption, rows)
    writing.write_text(pool.unit(TEXT, unit.name), pool.space, facts, np.concatenate(data))
    writing.write_captions(unit.path, pool.space, facts)
