"""From failures to their cause: a graph of which failures each check explains.

The cause is the failing check that explains most of the others and is explained by none of them; of equals the one
nearest to the data, then the one of the lower number. What it explains are symptoms, directly or through another
symptom; the rest are causes of their own.
"""

from collections.abc import Collection
from dataclasses import dataclass

from frostline.doctor import catalogue


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Failing checks, by what they are to one another."""

    cause: str | None  # None: nothing failed
    symptoms: tuple[str, ...]
    others: tuple[str, ...]  # second causes, the likeliest first
    of_others: tuple[str, ...]  # symptoms of second causes alone


def diagnose(failed: Collection[str]) -> Diagnosis:
    """The cause among failing checks."""
    found = set(failed)
    roots = [id_ for id_ in found if not any(id_ in explained(other, found) for other in found - {id_})]
    roots.sort(key=lambda id_: _rank(id_, found))
    if not roots:
        return Diagnosis(cause=None, symptoms=(), others=(), of_others=())
    cause, *others = roots
    mine = explained(cause, found)
    return Diagnosis(
        cause=cause,
        symptoms=tuple(sorted(mine)),
        others=tuple(others),
        of_others=tuple(sorted(found - mine - set(roots))),
    )


def explained(id_: str, among: Collection[str]) -> set[str]:
    """The checks among some that fail because this one does, through others of them too."""
    known, reached, ahead = catalogue.entries(), set[str](), [id_]
    while ahead:
        new = {other for other in known[ahead.pop()].explains if other in among and other != id_} - reached
        reached |= new
        ahead += sorted(new)
    return reached


def _rank(id_: str, failed: Collection[str]) -> tuple[int, int, str]:
    return -len(explained(id_, failed)), catalogue.LEVELS.index(catalogue.entry(id_).level), id_
