"""The texts of a source: where the tokens of each caption lie."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store import keys, payloads
from frostline.store.far import Where
from frostline.store.layout import CAPTIONS, DTYPES, EMBEDDING, REMEDY, TEXT
from frostline.store.locations import Place
from frostline.store.parts import Parts, Reader, Stretch
from frostline.store.payloads import Payload, Runs, Tensors


class Texts:
    """The captions of a source in their order, the null prompt first."""

    def __init__(self, place: Place, names: Sequence[str], space: LatentSpace) -> None:
        """``names`` are those of the parts with tokens, in ``place``.

        Raises Refused if a text part is not that of its captions, or its tokens are not the contract's.
        """
        opened = place.each(lambda name: _open(place, name, space), names)
        digests = np.concatenate([one.digests for one in opened])
        self._parts, self._reader = Parts([one.payload for one in opened], digests), Reader()
        self.lengths = np.concatenate([one.lengths for one in opened])
        self.starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        self._index = keys.Index(np.concatenate([one.ids for one in opened]))

    def numbers(self, ids: np.ndarray, path: Where) -> np.ndarray:
        """Which captions have these keys, int32; raises Refused, naming ``path``, for a text that no part holds."""
        found = self._index.find(ids)
        if absent := int((found < 0).sum()):
            raise Refused(f"{path}: names {absent} texts that no part of the cache holds; {REMEDY}")
        return found.astype(np.int32)

    def forget_ids(self) -> None:
        """Give up what only opening needs."""
        del self._index

    def stretch(self, number: int) -> Stretch:
        """Where the tokens of a caption lie."""
        return self._parts.stretch(self.starts.item(number), self.lengths.item(number), number)

    def read(self, number: int) -> np.ndarray:
        """The tokens of a caption, uint8 (n, width); raises Refused as Reader does."""
        return self._reader.read([self.stretch(number)]).reshape(self.lengths.item(number), -1)


class _Opened(NamedTuple):
    """Captions, and where their tokens are."""

    payload: Payload
    lengths: np.ndarray
    ids: np.ndarray
    digests: np.ndarray


def _open(place: Place, name: str, space: LatentSpace) -> _Opened:
    captions = place.part(name.replace(TEXT, CAPTIONS, 1))
    facts = payloads.columns(captions, ["text_id", "tokens", "text_digest"], space)
    lengths, digests = payloads.numbers(facts["tokens"]).astype(np.int32), keys.of(facts["text_digest"])
    if (longest := int(lengths.max(initial=0))) > space.text_length:
        raise Refused(
            f"{captions}: a text of {longest} tokens does not fit the contract's {space.text_length}; {REMEDY}"
        )
    first, text = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), place.part(name)
    runs = Runs(path=captions, first=first, digests=digests)
    payload = payloads.open_payload(text, EMBEDDING, space, runs, place.blocks)
    expected = Tensors(shape=(space.text_dim,), dtype=DTYPES[space.text_stored_dtype])
    if payload.tensors != expected:
        raise Refused(f"{text}: its tokens are {payload.tensors}, those of its contract are {expected}; {REMEDY}")
    return _Opened(payload, lengths, keys.of(facts["text_id"]), digests)
