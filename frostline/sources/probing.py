"""What every medium holds and shows, each decoded once: what was found is kept, and found again by name or content.

    files    locator, stamp -> content    stamps are sizes and times, so a file that was not touched is not opened
    probes   content, settings -> probe   so a file that was touched, moved or copied is read, but not decoded

The two tables are in one SQLite file that can be deleted at any time. ``verify`` reads all bytes, whatever the stamps
say: times can be set back, and some file systems do not keep them. Neither it, nor what is kept, nor the number of
processes has any influence on what is found.
"""

import collections
import contextlib
import dataclasses
import itertools
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from frostline import digests
from frostline.manifest import Rejected
from frostline.media import Limits, Probe, Scenes, keeping
from frostline.media.keeping import Failure, Found
from frostline.media.workers import Task, Workers
from frostline.params.sources import AnyMediaParams
from frostline.sources import listing, memory
from frostline.sources.entries import Entry

REVISION = 1  # raise when a probe of the same bytes changes
AHEAD = 1024  # entries under way at once: one that takes long does not hold up the others
EVERY = 512  # outcomes are written at once, and as many asked for
TABLES = """
create table if not exists files (
    locator text primary key, medium text not null, stamp text not null, content text not null) without rowid;
create table if not exists probes (
    content text, medium text, settings text, value text not null, primary key (content, medium, settings)
) without rowid;
"""
KNOWN = """
select files.locator, files.medium, files.stamp, files.content, probes.value from files left join probes
on probes.content = files.content and probes.medium = files.medium and probes.settings = ?
where files.locator in ({})
"""


@dataclass(slots=True)
class _Asked:
    """One entry under way."""

    entry: Entry
    stamp: str
    known: tuple[str, str | None]  # content and probe, as they were found last; "" if never
    found: Found | None = None


def probe_all(
    source: str, entries: Iterable[Entry], params: AnyMediaParams, cache: Path, processes: int, *, verify: bool
) -> Generator[tuple[Entry, Probe | Rejected], None, None]:
    """Every entry, in the order given, with what it is or why it cannot be used."""
    limits, scenes = limits_of(params)
    with contextlib.closing(Workers(processes, limits, scenes)) as workers, memory.opened(cache, TABLES) as store:
        scan = _Scan(_Store(store, limits, scenes), workers, verify=verify)
        for entry, found in scan.over(entries):
            yield entry, _rejected(source, listing.root(params), entry, found) if isinstance(found, Failure) else found


def limits_of(params: AnyMediaParams) -> tuple[Limits, Scenes | None]:
    """What a probe needs to know of params."""
    limits, cuts = Limits(max_pixels=params.max_pixels, max_frames=params.clips.max_frames), params.clips.scene_cuts
    return limits, Scenes(threshold=cuts.threshold, minimum_frames=cuts.minimum_frames) if cuts else None


class _Scan:
    """Entries in, what they are out, in the same order."""

    def __init__(self, store: "_Store", workers: Workers, *, verify: bool) -> None:
        self._store, self._workers, self._verify = store, workers, verify
        self._asked: dict[int, _Asked] = {}
        self._all_new = store.empty

    def over(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Found]]:
        line: collections.deque[_Asked] = collections.deque()
        for number, (entry, known) in enumerate(self._store.beside(entries)):
            line.append(self._begin(number, entry, known))
            while line[0].found is not None or len(self._asked) >= AHEAD or len(line) >= 8 * AHEAD:
                yield from self._finished(line)
                if not line:
                    break
        while line:
            yield from self._finished(line)
        self._store.write()

    def _finished(self, line: collections.deque[_Asked]) -> Iterator[tuple[Entry, Found]]:
        """Those at the head of the line that are done; waits if there is none."""
        if line[0].found is None:
            for number, outcome in self._workers.outcomes():
                self._take(number, outcome)
        while line and (found := line[0].found) is not None:
            yield line.popleft().entry, found

    def _begin(self, number: int, entry: Entry, known: "_Known | None") -> _Asked:
        stamp = stamp_of(entry)
        if known is not None and known.medium != (entry.medium or ""):
            known = None
        asked = _Asked(entry, stamp, (known.content, known.value) if known else ("", None))
        untouched = known if known and known.stamp == stamp != "" and not self._verify else None
        if untouched and untouched.value is not None:
            asked.found = _read(untouched.value, entry)
        else:
            self._give(number, asked, "probe" if untouched or self._all_new else "content")
        return asked

    def _take(self, number: int, outcome: str) -> None:
        """A digest leads to what is known of such bytes, or to a probe; a probe is kept."""
        asked = self._asked.pop(number)
        if not outcome.startswith("["):
            content, value = asked.known
            value = value if content == outcome else self._store.value(outcome, asked.entry.medium)
            if value is None:
                self._give(number, asked, "probe")
                return
            asked.found = _read(value, asked.entry)
            self._store.keep(asked.entry, asked.stamp, outcome, None)
            return
        asked.found = _read(outcome, asked.entry)
        if asked.found.content is not None:
            self._store.keep(asked.entry, asked.stamp, asked.found.content, outcome)

    def _give(self, number: int, asked: _Asked, wanted: str) -> None:
        self._asked[number] = asked
        task = Task("probe" if wanted == "probe" else "content", asked.entry.blobs, asked.entry.medium)
        self._workers.give(number, task)


@dataclass(frozen=True, slots=True)
class _Known:
    medium: str
    stamp: str
    content: str
    value: str | None


class _Store:
    """The two tables, under the settings of this scan."""

    def __init__(self, store: sqlite3.Connection, limits: Limits, scenes: Scenes | None) -> None:
        facts = [REVISION, dataclasses.asdict(limits), dataclasses.asdict(scenes) if scenes else None]
        self._store, self._settings = store, digests.of_json(facts)
        self._files: list[tuple[str, ...]] = []
        self._probes: list[tuple[str, ...]] = []

    @property
    def empty(self) -> bool:
        """Is nothing known under these settings?"""
        asked = "select 1 from probes where settings = ? limit 1"
        return self._store.execute(asked, (self._settings,)).fetchone() is None

    def beside(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, _Known | None]]:
        """Entries with what is known of each; asked for some at a time."""
        left = iter(entries)
        while some := list(itertools.islice(left, EVERY)):
            asked = KNOWN.format(", ".join("?" * len(some)))
            rows = self._store.execute(asked, (self._settings, *[entry.locator for entry in some])).fetchall()
            known = {locator: _Known(*facts) for locator, *facts in rows}
            for entry in some:
                yield entry, known.get(entry.locator)

    def value(self, content: str, medium: str | None) -> str | None:
        """What is known of such bytes."""
        self.write()
        asked = "select value from probes where content = ? and medium = ? and settings = ?"
        row = self._store.execute(asked, (content, medium or "", self._settings)).fetchone()
        return row[0] if row else None

    def keep(self, entry: Entry, stamp: str, content: str, value: str | None) -> None:
        """Remember an outcome; without a value it is known already."""
        medium = entry.medium or ""
        self._files.append((entry.locator, medium, stamp, content))
        if value is not None:
            self._probes.append((content, medium, self._settings, value))
        if len(self._files) >= EVERY:
            self.write()

    def write(self) -> None:
        """Write what was to be remembered."""
        with self._store:
            self._store.executemany("insert or replace into files values (?, ?, ?, ?)", self._files)
            self._store.executemany("insert or replace into probes values (?, ?, ?, ?)", self._probes)
        self._files.clear()
        self._probes.clear()


def stamp_of(entry: Entry) -> str:
    """The stamps of an entry's bytes as one; "" where any has none."""
    if len(entry.blobs) == 1:
        return entry.blobs[0].stamp
    stamps = [blob.stamp for blob in entry.blobs]
    return digests.of_json(stamps) if all(stamps) else ""


def _read(line: str, entry: Entry) -> Found:
    return keeping.read(line, keeping.place(entry.blobs, entry.medium))


def _rejected(source: str, root: str, entry: Entry, why: Failure) -> Rejected:
    """Without the source's path: tables are the same wherever the media lie."""
    detail = why.message.replace(f"{root.rstrip('/')}/", "")
    detail = detail if entry.locator in detail else f"{entry.locator}: {detail}"
    return Rejected(source=source, locator=entry.locator, reason=why.reason, detail=detail)
