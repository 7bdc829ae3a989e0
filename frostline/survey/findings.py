"""What stands out: one sentence each, and how it is put together.

What is wrong must be mended before a training; the rest is for a person to judge.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from frostline.manifest import Row
from frostline.pages import words

NAMED = 3  # examples in a sentence

Weight = Literal["wrong", "look"]


class Finding(NamedTuple):
    """One thing that stands out."""

    weight: Weight
    subject: str  # one word
    text: str
    place: str  # the part of the page that shows it


class Group(NamedTuple):
    """Findings of one subject and weight."""

    weight: Weight
    subject: str
    place: str
    texts: list[str]


def groups(found: Sequence[Finding]) -> list[Group]:
    """Findings with their like, in the order of the first of each."""
    by_kind: dict[tuple[Weight, str], Group] = {}
    for one in found:
        empty = Group(one.weight, one.subject, one.place, [])
        by_kind.setdefault((one.weight, one.subject), empty).texts.append(one.text)
    return list(by_kind.values())


def of(part: Sequence[Row], whole: Sequence[Row], thing: str) -> str:
    """Some rows of many: 5 of 60 rows (8.3 %)."""
    return f"{len(part):,} of {words.things(len(whole), thing)} ({words.share(len(part), len(whole))})"


def names(rows: Sequence[Row]) -> str:
    """The first few, by name."""
    found = list(dict.fromkeys(map(name, rows)))
    return ", ".join(found[:NAMED]) + (", …" if len(found) > NAMED else "")


def name(row: Row) -> str:
    """A row by its medium."""
    return short(row.locator)


def listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def short(text: str, most: int = 80) -> str:
    """A foreign text for a sentence, on one line."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
