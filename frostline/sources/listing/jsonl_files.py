"""JSON lines: UTF-8, one object a line."""

from collections.abc import Iterator
from typing import Any

from frostline.errors import WrongUse
from frostline.sources.listing import naming
from frostline.storage import Blob


def rows(blob: Blob, hint: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Every object with its line number; raises WrongUse naming the line, ``hint`` after it."""
    with blob.open() as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                try:
                    values = naming.json_object(text, f"{blob.path}:{number}")
                except WrongUse as error:
                    raise WrongUse(f"{error}{hint}") from None
                yield number, values
