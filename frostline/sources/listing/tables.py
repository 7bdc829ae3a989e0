"""A parquet, CSV or JSON lines table of media and captions; the second door to pyarrow beside manifest and store.

Names are relative to the table's folder, or absolute (a path, or s3://bucket/key). The captions' columns hold texts,
or, in parquet and JSON, lists of texts; empty ones are none. Other columns become attributes where their values are
texts, numbers or truth values. Only what the table names is listed: files beside it are none of its business.
"""

import math
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from frostline import storage
from frostline.errors import WrongUse
from frostline.manifest import Rejected
from frostline.params.sources import TableParams
from frostline.sources.entries import Entry, Listing
from frostline.sources.listing import captions, csv_files, jsonl_files, naming
from frostline.sources.listing.naming import Named
from frostline.storage import Blob


def read(source: str, params: TableParams) -> Listing:
    """The media a table names; raises WrongUse naming the row where the table is wrong."""
    root, name = storage.parent(params.path)
    table = storage.blob(root, name)
    rows = _parquet(params, table) if _is_parquet(table) else _lines(params, table)
    files: dict[str, str] = {}  # by locator
    named = naming.by_locator(_named(params, root, where, row, files) for where, row in rows)
    tree = dict(storage.walk(root)[0]) if storage.is_remote(root) else {}  # one listing instead of a request for each
    naming.require_inside(root, (line for locator, line in named.items() if files[locator] == locator))
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    for locator, line in named.items():
        file = files[locator]
        found = tree.get(file) or naming.look(source, root, line, file)
        if isinstance(found, Rejected):
            rejected.append(found)
        else:
            entries.append(naming.entry(line, file, (found,), None))
    return Listing(entries, rejected)


def _named(params: TableParams, root: str, where: str, row: dict[str, Any], files: dict[str, str]) -> Named:
    name = row[params.media]
    file = name if _is_absolute(name, where) else naming.locator(name, root, where)
    locator = naming.locator(file.removeprefix(storage.S3).lstrip("/"), root, where)
    files[locator] = file
    taken = {params.media, *params.captions, params.item}
    item = None if params.item is None or row[params.item] in (None, "") else str(row[params.item])
    return Named(
        locator=locator,
        captions=tuple(caption for key in params.captions for caption in captions.of_value(row[key], where)),
        item=item,
        attributes=naming.attributes({key: _plain(row[key]) for key in row if key not in taken}, where),
        where=where,
    )


def _is_absolute(name: Any, where: str) -> bool:
    try:
        return isinstance(name, str) and (PurePosixPath(name).is_absolute() or storage.is_remote(name))
    except WrongUse as error:
        raise WrongUse(f"{where}: {error}") from None


def _plain(value: Any) -> Any:
    """A number that is none becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_parquet(table: Blob) -> bool:
    with table.open() as file:
        return file.read(4) == b"PAR1"


def _lines(params: TableParams, table: Blob) -> Iterator[tuple[str, dict[str, Any]]]:
    """JSON lines by the name's ending, else CSV."""
    is_json = PurePosixPath(table.path).suffix in (".jsonl", ".ndjson")
    for number, row in jsonl_files.rows(table) if is_json else csv_files.rows(table, table.path):
        _require_columns(params, list(row), f"{table.path}:{number}")
        yield f"{table.path}:{number}", row


def _parquet(params: TableParams, table: Blob) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows, numbered from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with table.open() as file, pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            _require_columns(params, schema.names, table.path)
            wanted = [field.name for field in schema if _wanted(params, field)]
            number = 0
            for batch in parquet.iter_batches(columns=wanted, batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{table.path}: row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{table.path}: not a whole parquet file ({str(error).splitlines()[0]})") from None


def _wanted(params: TableParams, field: Any) -> bool:
    from pyarrow import types

    kind = field.type
    simple = types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)
    simple = simple or types.is_integer(kind) or types.is_floating(kind)
    return simple or field.name in {params.media, *params.captions, params.item}


def _require_columns(params: TableParams, columns: list[str], where: str) -> None:
    wanted = [params.media, *params.captions, *([params.item] if params.item is not None else [])]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise WrongUse(f"{where}: no column {missing[0]!r} (it has {columns}); name its columns in params")
