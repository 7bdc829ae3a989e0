"""What came, changed or went among the media of a source since they were listed.

A listing is kept as stamps by name. Of any source these are its media, each with all that its listing says of it. Where
captions lie in files beside media they are all files: what is listed of a medium depends on the files of its stem
alone, so where none of those was touched, nothing is made of them but the comparison.
"""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass

from frostline import storage
from frostline.manifest import Columns, Rejected
from frostline.params.sources import AnyMediaParams, SidecarParams
from frostline.sources import listing, probing
from frostline.sources.entries import Entry, Listing
from frostline.sources.listing import sidecars
from frostline.sources.means import Means
from frostline.sources.texts import Texts
from frostline.storage import Blob, local

Stamps = dict[str, str]  # by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """Of one name."""

    name: str
    stamp: str


@dataclass(frozen=True, kw_only=True)
class Touched:
    """What is not as it was."""

    entries: list[Entry]  # that came or changed
    names: set[str]  # that changed or went; those of media are locators
    rejected: list[Rejected]  # what cannot be taken, in all the source


class ByMedium:
    """A source whose media are all listed."""

    def __init__(self, listed: Listing) -> None:
        self._listed = listed

    def since(self, before: Stamps) -> Touched:
        """What was touched since these stamps were kept."""
        names = _touched({entry.locator: line(entry) for entry in self._listed.entries}, before)
        entries = [entry for entry in self._listed.entries if entry.locator in names]
        return Touched(entries=entries, names=names & before.keys(), rejected=self._listed.rejected)

    def all(self) -> Listing:
        """The listing of all media."""
        return self._listed

    def stamps(self, media: Collection[str]) -> tuple[Columns[Stamp], set[str]]:
        """What is to be kept of these media (locators), and which of them it tells every change of."""
        lines = {entry.locator: line(entry) for entry in self._listed.entries if entry.locator in media}
        known = {name: stamp for name, stamp in lines.items() if stamp}
        return _columns(known), set(known)


class ByFile:
    """A folder of media with captions beside them, on a local disk."""

    def __init__(self, source: str, params: SidecarParams, texts: Texts) -> None:
        self._source, self._params, self._texts = source, params, texts
        self._folders, self._passed = local.stamps(params.path)
        self._listed = Listing([], [])

    def since(self, before: Stamps) -> Touched:
        """See ByMedium."""
        folders = _touched(self._folders, before)
        now, then = _files(self._folders, folders), _files(before, folders)
        stems = {self._stem(name) for name in _touched(now, then)}
        found = self._listing((name, stamp) for name, stamp in now.items() if self._stem(name) in stems)
        names = {name for name in then if self._stem(name) in stems}
        return Touched(entries=found.entries, names=names, rejected=found.rejected)

    def all(self) -> Listing:
        """See ByMedium."""
        self._listed = self._listing(_files(self._folders, self._folders.keys()).items())
        return self._listed

    def stamps(self, media: Collection[str]) -> tuple[Columns[Stamp], set[str]]:
        """See ByMedium; all files but those of stems that other media, or what cannot be taken, belong to."""
        others = [entry.locator for entry in self._listed.entries if entry.locator not in media]
        stems = {self._stem(name) for name in (*others, *(entry.locator for entry in self._listed.rejected))}
        kept = {folder: self._without(stems, folder, lines) for folder, lines in self._folders.items()}
        return _columns(kept), {name for name in media if self._stem(name) not in stems}

    def _without(self, stems: set[str], folder: str, lines: str) -> str:
        if not stems:
            return lines
        files = local.by_name(lines)
        return "".join([local.line(name, stamp) for name, stamp in files if self._stem(folder + name) not in stems])

    def _listing(self, files: Iterable[tuple[str, str]]) -> Listing:
        found = [(name, Blob(*local.stamped(storage.join(self._params.path, name), stamp))) for name, stamp in files]
        read_all = self._texts.read_all
        return listing.in_order(sidecars.of_files(self._source, self._params, found, self._passed, read_all))

    def _stem(self, name: str) -> str:
        return sidecars.stem_of(self._params, name)


def look(source: str, params: AnyMediaParams, means: Means) -> ByMedium | ByFile:
    """Look at a source as it is now."""
    texts = Texts(means.texts(source), verify=means.verify)
    if isinstance(params, SidecarParams) and not storage.is_remote(params.path):
        return ByFile(source, params, texts)
    return ByMedium(listing.read(source, params, texts.read_all))


def line(entry: Entry) -> str:
    """All that is listed of a medium, with its stamps; "" where nobody knows when its bytes change."""
    stamp = probing.stamp_of(entry)
    captions = [text for caption in entry.captions for text in (caption.text, str(caption.weight))]
    facts = (stamp, entry.file, entry.medium or "", entry.item or "", entry.attributes, *captions)
    return "\0".join(facts) if stamp else ""


def _touched(now: Stamps, before: Stamps) -> set[str]:
    """Names that came, changed or went."""
    return {name for name, stamp in now.items() if before.get(name) != stamp} | (before.keys() - now.keys())


def _files(stamps: Stamps, folders: Set[str]) -> Stamps:
    """The stamps of all files of those of the folders that there are."""
    there = [(folder, stamps[folder]) for folder in stamps.keys() & folders]
    return {folder + name: stamp for folder, lines in there for name, stamp in local.by_name(lines)}


def _columns(stamps: Stamps) -> Columns[Stamp]:
    return Columns.of_values(Stamp, list(stamps), list(stamps.values()))
