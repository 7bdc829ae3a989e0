"""Records in columns, as tables hold them: many at once without an object for each.

Fields of a record are texts, bytes, numbers, truth values, or tuples of them, and none is ever absent.
"""

import bisect
import contextlib
import dataclasses
import itertools
import operator
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

AT_ONCE = 8192  # records in memory while a table is written
R = TypeVar("R")


def _required(of: pa.DataType) -> pa.Field:
    return pa.field("element", of, nullable=False)


_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    tuple[int, int]: pa.list_(_required(pa.int64()), 2),
    tuple[int, int, int, int]: pa.list_(_required(pa.int64()), 4),
    tuple[int, ...]: pa.list_(_required(pa.int64())),
    tuple[float, ...]: pa.list_(_required(pa.float64())),
    tuple[str, ...]: pa.list_(_required(pa.string())),
}


class Columns(Generic[R]):
    """Many records of one class in columns, each as long as there are records: Row, Rejected and the like."""

    def __init__(self, kind: type[R], table: pa.Table) -> None:
        self._kind, self.table = kind, table

    @classmethod
    def of(cls, kind: type[R], records: Sequence[R]) -> "Columns[R]":
        """Records in their order."""
        names = schema_of(kind).names
        values = zip(*map(operator.attrgetter(*names), records), strict=True) if records else [()] * len(names)
        return cls.of_values(kind, *values)

    @classmethod
    def of_values(cls, kind: type[R], *columns: Sequence[Any]) -> "Columns[R]":
        """One column for each field, in their order."""
        schema = schema_of(kind)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        return cls(kind, pa.Table.from_arrays(arrays, schema=schema))

    def __len__(self) -> int:
        return self.table.num_rows

    def values(self, name: str) -> list[Any]:
        """A column of texts, bytes or numbers."""
        return self.table.column(name).to_pylist()

    def records(self, places: Sequence[int] | None = None) -> list[R]:
        """All records, or those at some places."""
        chosen = [self.table] if places is None else [self.table.slice(*run) for run in _runs(places)]
        names = self.table.column_names
        found: list[R] = []
        for table in chosen:
            columns = [map(_value, table.column(name).to_pylist()) for name in names]
            found += [self._kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
        return found

    def where(self, kept: Sequence[bool]) -> "Columns[R]":
        """Those for which it is true."""
        return self if all(kept) else Columns(self._kind, self.table.filter(pa.array(kept, pa.bool_())))

    def parted(self, name: str, values: Collection[Any]) -> tuple["Columns[R]", "Columns[R]"]:
        """Those whose ``name`` is none of the values, and those whose is."""
        if not values:
            return self, Columns(self._kind, self.table.slice(0, 0))
        among = [value in values for value in self.values(name)]
        return self.where([not one for one in among]), self.where(among)

    def with_others(self, others: "Columns[R]") -> "Columns[R]":
        """The others after these."""
        return Columns(self._kind, pa.concat_tables([self.table, others.table]))

    def merged(self, others: "Columns[R]", name: str) -> "Columns[R]":
        """Both in the order of a column, in which each is already; of equal ones the others come later."""
        if not len(others):
            return self
        here, pieces, taken = self.values(name), list[pa.Table](), 0
        for number, value in enumerate(others.values(name)):
            place = bisect.bisect_right(here, value, taken)
            pieces += [self.table.slice(taken, place - taken), others.table.slice(number, 1)]
            taken = place
        return Columns(self._kind, pa.concat_tables([*pieces, self.table.slice(taken)]))

    def parts(self, names: Sequence[str] | None = None) -> Iterator["Columns[R]"]:
        """The same, AT_ONCE a part, or some columns of it."""
        table = self.table if names is None else self.table.select(names)
        slices = (table.slice(start, AT_ONCE) for start in range(0, len(self), AT_ONCE))
        return (Columns(self._kind, part.combine_chunks()) for part in slices)


def in_columns(kind: type[R], records: Iterable[R]) -> Iterator[Columns[R]]:
    """A stream of records in columns, AT_ONCE a part."""
    left = iter(records)
    while part := list(itertools.islice(left, AT_ONCE)):
        yield Columns.of(kind, part)


@contextlib.contextmanager
def keeping(path: Path, kind: type[R]) -> Iterator[Callable[[Columns[R]], None]]:
    """Gives what writes a part of a table in Arrow's own format: larger than the manifest's, and quicker to read."""
    quick = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(path, schema_of(kind), options=quick) as writer:
        yield lambda part: writer.write_table(part.table)


def kept(path: Path, kind: type[R]) -> Columns[R]:
    """A table that ``keeping`` wrote."""
    with pa.ipc.open_file(path) as reader:
        return Columns(kind, reader.read_all())


def without_pandas() -> None:
    """Let pyarrow do without pandas, which it loads, for half a second, to ask whether a list is one of its series.

    It asks once, and loads pandas all the same where it needs it.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([], pa.int64())
    finally:
        sys.meta_path.remove(hidden)


class _Hidden:
    """Finds no module, and says that there is no pandas."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Is asked before all others."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not looked for")


def schema_of(kind: type[Any]) -> pa.Schema:
    """The columns of a class of records."""
    return pa.schema([pa.field(field.name, _TYPES[field.type], nullable=False) for field in dataclasses.fields(kind)])


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first of each run of places that follow each other, and how many there are."""
    first = 0
    for number in range(1, len(places) + 1):
        if number == len(places) or places[number] != places[number - 1] + 1:
            yield places[first], number - first
            first = number


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
