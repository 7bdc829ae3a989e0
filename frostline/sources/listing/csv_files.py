"""CSV tables: UTF-8, commas, a first line with the names of the columns."""

import csv
import io
from collections.abc import Iterator

from frostline.errors import WrongUse
from frostline.storage import Blob


def rows(blob: Blob, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row with its line number; ``name`` is what messages call the file."""
    with blob.open() as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            columns = _columns(next(reader, []), name)
            for values in reader:
                if values:
                    yield reader.line_num, _row(columns, values, f"{name}:{reader.line_num}")
        except UnicodeDecodeError:
            raise WrongUse(f"{name}: not UTF-8 after line {reader.line_num}; save the file as UTF-8") from None
        except csv.Error as error:
            raise WrongUse(f"{name}:{reader.line_num}: not CSV ({error}); quote texts that hold commas") from None


def _columns(columns: list[str], name: str) -> list[str]:
    if not columns or len(set(columns)) < len(columns):
        raise WrongUse(f"{name}: its first line names the columns {columns}; name each once")
    return columns


def _row(columns: list[str], values: list[str], where: str) -> dict[str, str]:
    if len(values) != len(columns):
        message = f"{where}: {len(values)} values for {len(columns)} columns; quote texts that hold commas"
        raise WrongUse(message)
    return dict(zip(columns, values, strict=True))
