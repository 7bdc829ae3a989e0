"""The texts of a source: where the tokens of each caption lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from frostline.contract import LatentSpace
from frostline.errors import Refused
from frostline.store import payloads
from frostline.store.layout import CAPTIONS, EMBEDDING, REMEDY, TEXT, compute
from frostline.store.parts import Parts


class Texts:
    """The captions of a source in their order, the null prompt first."""

    def __init__(self, folder: Path, names: Sequence[str], space: LatentSpace) -> None:
        """Raises Refused if a text part is not that of its captions."""
        self.parts = Parts([payloads.open_payload(folder / name, EMBEDDING, space) for name in names])
        ids, lengths = [], []
        for name, payload in zip(names, self.parts.payloads, strict=True):
            path = folder / name.replace(TEXT, CAPTIONS, 1)
            facts = payloads.columns(path, ["text_id", "tokens"], space)
            lengths.append(facts["tokens"].to_numpy())
            ids.append(facts["text_id"])
            if int(lengths[-1].sum()) != payload.rows:
                raise Refused(
                    f"{path}: its captions have {lengths[-1].sum()} tokens, {name} has {payload.rows}; {REMEDY}"
                )
        self.lengths = np.concatenate(lengths).astype(np.int32)
        self.starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        self._ids = pa.chunked_array([chunk for column in ids for chunk in column.chunks])

    def numbers(self, ids: pa.Array | pa.ChunkedArray, path: Path) -> np.ndarray:
        """Which captions these are; raises Refused, naming ``path``, for a text that no part holds."""
        found = compute.index_in(ids, self._ids.combine_chunks())
        if found.null_count:
            raise Refused(f"{path}: names {found.null_count} texts that no part of the cache holds; {REMEDY}")
        return found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()

    def forget_ids(self) -> None:
        """Give up what only opening needs."""
        del self._ids

    def read_into(self, padded: np.ndarray, number: int) -> None:
        """Fill the first rows of uint8 (L, width) with the tokens of a caption; raises Refused if it has more."""
        start, count = int(self.starts[number]), int(self.lengths[number])
        if count > len(padded):
            raise Refused(f"a text of {count} tokens does not fit the contract's {len(padded)}; {REMEDY}")
        self.parts.read_into(padded[:count], start)

    def expect(self, number: int) -> None:
        """Say that a caption will be read soon."""
        self.parts.expect(int(self.starts[number]), int(self.lengths[number]))
