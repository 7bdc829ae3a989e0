"""Captions without media: a text file in UTF-8, one prompt a line."""

from frostline import storage
from frostline.errors import WrongUse
from frostline.sources.listing import captions

LIMIT = 4 << 30  # bytes


def read(path: str) -> list[str]:
    """The prompts in their order, blank lines left out; raises WrongUse for a prompt that stands there twice."""
    try:
        text = captions.decode(storage.blob(*storage.parent(path)).read(LIMIT))
    except ValueError as error:
        raise WrongUse(f"{path}: {error}") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if prompt in lines:
            raise WrongUse(f"{path}:{number}: {prompt[:80]!r} stands in line {lines[prompt]} already; keep one of them")
        if prompt:
            lines[prompt] = number
    return list(lines)
