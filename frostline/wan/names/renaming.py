"""Parts of dotted names put in the place of others."""

from collections.abc import Iterable, Mapping

Pairs = Iterable[tuple[str, str]]


def begun(name: str, pairs: Pairs) -> str:
    """A name that begins with the parts of a pair's first, with its second's in their place; else the name itself."""
    for old, new in pairs:
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def swapped(pairs: Pairs) -> list[tuple[str, str]]:
    """The pairs the other way round."""
    return [(new, old) for old, new in pairs]


def inverted(converted: Mapping[str, object]) -> dict[str, str]:
    """What each name became in a converter of diffusers that was given names in the place of tensors."""
    return {str(name): new for new, name in converted.items()}
