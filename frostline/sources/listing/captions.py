"""Captions as tables and text files give them."""

import math
from typing import Any

from frostline.errors import WrongUse
from frostline.sources.entries import Caption

LIMIT = 1 << 20  # bytes of one text file
EXAMPLES = '"a cat", ["a cat", "a cat on a mat"] or [{"text": "a cat", "weight": 2}]'


def decode(data: bytes) -> str:
    """UTF-8, with or without a byte order mark; raises ValueError saying what the bytes are instead."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError("it is UTF-16, by its first bytes; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError("it holds zero bytes, as UTF-16 does; save it as UTF-8")
    return text


def of_text(text: str) -> tuple[Caption, ...]:
    """One caption, or none where the text is blank."""
    return (Caption(text.strip(), 1.0),) if text.strip() else ()


def of_lines(text: str) -> tuple[Caption, ...]:
    """A caption a line; blank lines are none."""
    return tuple(Caption(line.strip(), 1.0) for line in text.split("\n") if line.strip())


def of_value(value: Any, where: str) -> tuple[Caption, ...]:
    """A JSON value: null, a text, texts, or texts with weights; raises WrongUse naming ``where``."""
    if value is None:
        return ()
    if isinstance(value, str):
        return of_text(require_unicode(value, where))
    if not isinstance(value, list):
        raise WrongUse(f"{where}: the caption is {value!r}; write {EXAMPLES}")
    return tuple(caption for one in value for caption in _weighted(one, where))


def _weighted(value: Any, where: str) -> tuple[Caption, ...]:
    if isinstance(value, str):
        return of_text(require_unicode(value, where))
    if not isinstance(value, dict) or set(value) != {"text", "weight"} or not isinstance(value["text"], str):
        raise WrongUse(f"{where}: a caption of the list is {value!r}; write {EXAMPLES}")
    weight = value["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise WrongUse(f"{where}: the weight of a caption is {weight!r}; give a number above 0")
    return tuple(Caption(found.text, float(weight)) for found in of_text(require_unicode(value["text"], where)))


def require_unicode(text: str, where: str) -> str:
    """Refuse halves of characters and zero bytes, which JSON can write and no table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongUse(f"{where}: {text[:80]!a} holds half a character at place {error.start}; write it anew") from None
    if "\0" in text:
        raise WrongUse(f"{where}: {text[:80]!a} holds a zero byte; write it anew")
    return text
