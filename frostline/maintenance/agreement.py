"""What the parts of a cache say of one another, once each of them opens."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from frostline import codec
from frostline.caching import building
from frostline.maintenance import findings
from frostline.maintenance.caches import Cache
from frostline.maintenance.findings import AGAIN, Finding
from frostline.maintenance.parts import Opened
from frostline.manifest import SPLITS
from frostline.store import payloads
from frostline.store.layout import CAPTIONS, ITEMS, MANIFEST, PROMPTS, TEXT, compute

SHOWN = 3  # names in a line


def look(cache: Cache, opened: Mapping[str, Opened]) -> list[Finding]:
    """Findings that concern several parts, or a part and the manifest; ``opened`` has all of its parts by name."""
    checks: Sequence[Callable[[Cache, Mapping[str, Opened]], Iterator[Finding]]] = (
        _pairs,
        _counts,
        _unique,
        _captions,
        _texts,
        _weights,
        _repeated,
    )
    return [finding for check in checks for finding in check(cache, opened)]


def _pairs(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """Each part of captions has a text with a row for each of their tokens."""
    captions, texts = cache.names(CAPTIONS), set(cache.names(TEXT))
    for name in sorted(texts - set(map(building.text_of, captions))):
        yield findings.damaged(cache.folder / name, "a text without its captions")
    for name in captions:
        if building.text_of(name) not in texts:
            yield findings.damaged(cache.folder / name, "captions without their text")
            continue
        tokens = compute.sum(opened[name].facts["tokens"]).as_py() or 0
        if tokens != (rows := opened[building.text_of(name)].rows):
            yield findings.damaged(cache.folder / name, f"its captions have {tokens} tokens, their text has {rows}")


def _counts(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """As many rows of each bucket and split as the manifest says."""
    found: dict[str, int] = {}
    for name in (*cache.names(ITEMS), *cache.names(PROMPTS)):
        bucket = PROMPTS if name.startswith(PROMPTS) else name.split("/")[1]
        for count in compute.value_counts(opened[name].facts["split"]).to_pylist():
            if count["values"] not in SPLITS:
                yield findings.damaged(cache.folder / name, f"a split {count['values']!r}; there are {SPLITS}")
            key = f"{bucket}/{count['values']}"
            found[key] = found.get(key, 0) + count["counts"]
    listed = cache.listing.rows
    for key in sorted(k for k in found.keys() | listed.keys() if found.get(k, 0) != listed.get(k, 0)):
        what = f"says {listed.get(key, 0)} rows of {key}, its parts have {found.get(key, 0)}"
        yield findings.damaged(cache.folder / MANIFEST, what)


def _unique(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """No id and no text twice."""
    for kinds, column in (((ITEMS, PROMPTS), "id"), ((CAPTIONS,), "text_id")):
        names = [name for kind in kinds for name in cache.names(kind)]
        if twice := _more_than_once(_column(opened, names, column)):
            what = f"{len(twice)} {column}s occur more than once in its parts: {_some(twice)}"
            yield findings.damaged(cache.folder / MANIFEST, what)


def _captions(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """The null prompt comes first; prompts of no item are there."""
    names = cache.names(CAPTIONS)
    first = payloads.columns(cache.where(names[0]), ["caption"], cache.space)["caption"] if names else []
    if not len(first) or codec.clean(first[0].as_py()) != codec.clean(cache.space.null_prompt):
        yield findings.damaged(cache.folder / MANIFEST, "the first of its texts is not the null prompt's")
    known = _column(opened, names, "text_id").combine_chunks()
    for ids, what in ((cache.listing.prompts, "preview"), (cache.listing.negative or {}, "negative")):
        wanted = pa.array(sorted(ids.values()), pa.string())
        if absent := wanted.filter(compute.invert(compute.is_in(wanted, known))).to_pylist():
            says = f"{len(absent)} {what} prompts have no text: {_some(absent)}"
            yield findings.damaged(cache.folder / MANIFEST, says)


def _texts(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """Every text of an item or prompt is there, of the length that stands beside it."""
    known = _column(opened, cache.names(CAPTIONS), "text_id").combine_chunks()
    tokens = _column(opened, cache.names(CAPTIONS), "tokens", pa.int64()).combine_chunks()
    for name in (*cache.names(ITEMS), *cache.names(PROMPTS)):
        facts = opened[name].facts
        ids, lengths = (
            (compute.list_flatten(facts["text_ids"]), compute.list_flatten(facts["text_lengths"]))
            if "text_ids" in facts.column_names
            else (facts["text_id"], facts["text_length"])
        )
        places = compute.index_in(ids, known)
        if places.null_count:
            absent = compute.unique(ids.filter(compute.is_null(places))).to_pylist()
            what = f"names {len(absent)} texts that no part of the cache holds: {_some(absent)}"
            yield findings.damaged(cache.folder / name, what)
        elif wrong := compute.sum(compute.not_equal(tokens.take(places.combine_chunks()), lengths)).as_py():
            yield findings.damaged(cache.folder / name, f"{wrong} of its texts have another length than it says")


def _weights(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """Every caption has a weight, and one of each row can be chosen."""
    for name in cache.names(ITEMS):
        facts = opened[name].facts.combine_chunks()
        counts = compute.list_value_length(facts["weights"]).to_numpy()
        weights = compute.list_flatten(facts["weights"]).to_numpy()
        same = (counts == compute.list_value_length(facts["text_ids"]).to_numpy()).all()
        starts = np.cumsum(counts) - counts
        good = np.isfinite(weights).all() and (weights >= 0).all() and (counts > 0).all()
        if not (same and good and (np.add.reduceat(weights, starts) > 0).all()):
            what = "a row has no caption, or weights of captions by which none can be chosen"
            yield findings.differs(cache.folder / name, what, f"look at the source's captions, then {AGAIN}")


def _repeated(cache: Cache, opened: Mapping[str, Opened]) -> Iterator[Finding]:
    """Rows of equal pixels: no harm, but worth knowing."""
    ids = _column(opened, cache.names(ITEMS), "latent_id")
    repeated = len(ids) - compute.count_distinct(ids).as_py()
    if repeated:
        yield findings.note(cache.folder, f"{repeated} of {len(ids)} rows have the latent of an earlier row")


def _column(
    opened: Mapping[str, Opened], names: Sequence[str], column: str, of: pa.DataType | None = None
) -> pa.ChunkedArray:
    chunks = [chunk for name in names for chunk in opened[name].facts[column].chunks]
    return pa.chunked_array(chunks, of or pa.string())


def _more_than_once(ids: pa.ChunkedArray) -> list[str]:
    counts = compute.value_counts(ids)
    return counts.field("values").filter(compute.greater(counts.field("counts"), 1)).to_pylist()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
