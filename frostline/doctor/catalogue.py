"""All checks, D01 to D36, in words: question, story, procedure, threshold, remedy, and which failures each explains."""

import functools
from pathlib import Path
from typing import Any, Literal

import yaml

from frostline import records, vitals
from frostline.checks import catalogue
from frostline.errors import WrongUse
from frostline.findings import Check
from frostline.records import Record

FILE = Path(__file__).with_suffix(".yaml")
LEVELS = ("data", "process", "model", "sampler")
SHARED = ("name", "question", "procedure", "remedy", "reference")  # what a Check says


class Entry(Record):
    """One check in words."""

    id: str
    name: str
    level: Literal["data", "process", "model", "sampler"]  # where the cause lies
    when: Literal["files", "records", "test"]  # files; a training's own records alone; tests of this library
    question: str
    procedure: str
    threshold: str
    remedy: str
    reference: str
    story: str
    maths: str
    explains: tuple[str, ...]  # the checks that fail as its symptoms

    @property
    def stops(self) -> bool:
        """Whether a training that runs is looked at for it, and stopped by it."""
        return self.id in vitals.ABOUT

    @property
    def check(self) -> Check:
        """What a finding is judged by."""
        return Check(id=self.id, **{name: getattr(self, name) for name in SHARED})


@functools.cache
def entries() -> dict[str, Entry]:
    """All entries by identifier, in order."""
    values: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())
    return {
        id_: records.parse(Entry, {"id": id_, **_stated(id_), **facts}, origin=FILE.name)
        for id_, facts in values.items()
    }


def _stated(id_: str) -> dict[str, str]:
    """What a check of its own module says of itself."""
    about = {**vitals.ABOUT, **catalogue.ABOUT}.get(id_)
    return {} if about is None else {name: getattr(about, name) for name in SHARED}


def entry(id_: str) -> Entry:
    """One entry; raises WrongUse for an identifier that there is not."""
    found = entries().get(id_.upper())
    if found is None:
        known = list(entries())
        raise WrongUse(f"{id_}: no such check; they are {known[0]} to {known[-1]}, `frostline explain` lists them")
    return found


def about(id_: str) -> Check:
    """What a check asks."""
    return entry(id_).check
