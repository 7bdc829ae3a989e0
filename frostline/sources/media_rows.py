"""From media and their captions to rows, whatever convention they come in.

listing -> probes -> filters -> near-duplicates -> captions that are missing -> splits -> scenes, windows, crops -> rows

What is known of all media at once is small: names, sizes, times of frames. Rows are made one after the other, as they
are asked for.
"""

import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from frostline import captioning, manifest, media
from frostline.manifest import Columns, Rejected, Row
from frostline.media import Extent, Medium, Probe
from frostline.params.sources import AnyMediaParams
from frostline.sources import buckets, duplicates, filters, listing, probing, seen, splits, touched, windows
from frostline.sources.buckets import Bucket
from frostline.sources.entries import Caption, Entry
from frostline.sources.filters import Why
from frostline.sources.means import Means
from frostline.sources.seen import Seen, Sights

NO_TIMES = array.array("q")


Known = TypeVar("Known")


@dataclass(slots=True)
class Usable:
    """A medium, and what its rows need of its probe."""

    entry: Entry
    medium: Medium
    content: str
    extent: Extent
    pts: "array.array[int]"
    time_base: tuple[int, int]
    cuts: tuple[int, ...]
    captions: tuple[Caption, ...]
    split: str = ""

    @property
    def key(self) -> str:
        """What its split goes by."""
        return seen.key(self.entry, self.content)


@dataclass(frozen=True, slots=True)
class Window:
    """One part of a medium that becomes a row."""

    bucket: Bucket
    shown: tuple[int, ...]  # () of an image


def rows(source: str, params: AnyMediaParams, means: Means) -> tuple[Iterator[Row], list[Rejected]]:
    """Rows in the order of their locators, and one Rejected for each medium, scene or caption that was left out."""
    found = touched.look(source, params, means).all()
    part = Reading(source, params, means).part(found.entries)
    means.look(part.seen)
    return part.rows, in_order([*found.rejected, *part.rejected])


def in_order(rejected: Iterable[Rejected]) -> list[Rejected]:
    """What was left out, as tables have it."""
    return sorted(rejected, key=lambda entry: (entry.locator, entry.reason, entry.detail))


@dataclass(frozen=True, kw_only=True)
class Part:
    """What some media of a source become, as if there were no others."""

    rows: Iterator[Row]
    rejected: list[Rejected]
    seen: Columns[Seen]  # of those that could be decoded


class Reading:
    """Media of one source on their way to rows."""

    def __init__(self, source: str, params: AnyMediaParams, means: Means) -> None:
        self._source, self._params, self._means = source, params, means
        self._buckets = buckets.all_of(params.buckets)
        self._chosen: dict[tuple[bool, Extent], Bucket | Why] = {}
        self._rejected: list[Rejected] = []
        self._seen = Sights()
        self._known: dict[Any, Any] = {}

    def part(self, entries: Sequence[Entry]) -> Part:
        """See the module; entries in the order of their locators."""
        usable, places = self._probed(entries)
        near, groups = self._compared(usable, places)
        dealt = splits.of_groups([one.key for one in usable], groups, self._params.split)
        for one, split in zip(usable, dealt, strict=True):
            one.split = split
        if not self._params.filters.keep_duplicates:
            usable = self._distinct(usable, near)
        usable = self._captioned(usable)
        found = (row for one in usable for row in self._rows(one))
        return Part(rows=found, rejected=self._rejected, seen=self._seen.columns())

    def _probed(self, entries: Sequence[Entry]) -> tuple[list[Usable], np.ndarray]:
        """What passes the filters, and its places among all that was seen."""
        usable: list[Usable] = []
        places = array.array("q")
        means = self._means
        cache = means.probes(self._source)
        for entry, found in probing.probe_all(
            self._source, means.progress(entries), self._params, cache, means.processes, verify=means.verify
        ):
            if isinstance(found, Rejected):
                self._rejected.append(found)
                continue
            one = self._usable(entry, found)
            self._seen.add(entry, one.medium, one.content, found.measures)
            if self._passes(one, found):
                usable.append(one)
                places.append(len(self._seen) - 1)
        return usable, np.array(places)

    def _usable(self, entry: Entry, probe: Probe) -> Usable:
        return Usable(
            entry=entry,
            medium=self._same(probe.medium),
            content=probe.content,
            extent=self._same(probe.extent),
            pts=array.array("q", probe.pts) if probe.pts else NO_TIMES,
            time_base=self._same(probe.time_base),
            cuts=self._same(probe.cuts),
            captions=entry.captions,
        )

    def _same(self, value: Known) -> Known:
        """The value as it came first: what is equal of many media is in memory once."""
        return self._known.setdefault(value, value)

    def _passes(self, one: Usable, probe: Probe) -> bool:
        why = filters.of_medium(probe, self._params.filters)
        if why is not None:
            self._reject(one, *why)
            return False
        return self._fits(one) and (self._wants_caption(one) or self._describes(one))

    def _fits(self, one: Usable) -> bool:
        """Does it fill a bucket? Scenes that fill none are left out by themselves while another does."""
        found, left_out = self._windows(one)
        for why in left_out:
            self._reject(one, *why)
        return bool(found)

    def _wants_caption(self, one: Usable) -> bool:
        return self._params.captioner is not None and not any(caption.text.strip() for caption in one.captions)

    def _describes(self, one: Usable) -> bool:
        """Is there a caption of it that can stay? Those that cannot are left out by themselves."""
        captions, left_out = filters.of_captions(one.captions, self._params.filters)
        one.captions = one.captions if captions == one.captions else captions
        for why in left_out:
            self._reject(one, *why)
        return bool(captions)

    def _compared(self, usable: Sequence[Usable], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(groups of near-duplicates and copies, groups that share a split): each a number per medium."""
        near = duplicates.of_keys([one.content for one in usable])
        distance = self._params.filters.duplicate_distance
        for still in (True, False) if distance else ():
            at = np.flatnonzero([(one.medium == "image") == still for one in usable])
            if len(at):
                codes = self._seen.hashes(places[at])
                near = duplicates.joined(near, at, at[duplicates.of_hashes(codes, distance)])
        return near, duplicates.together(near, duplicates.of_keys([one.key for one in usable]))

    def _distinct(self, usable: Sequence[Usable], near: np.ndarray) -> list[Usable]:
        """Of each group of near-duplicates one: with captions, with most pixels and frames, first by name."""
        best: dict[int, Usable] = {}
        groups = near.tolist()
        for group, one in zip(groups, usable, strict=True):
            best[group] = min(best.get(group, one), one, key=self._rank)
        for group, one in zip(groups, usable, strict=True):
            if one is not best[group]:
                self._reject(one, "near_duplicate", f"looks like {best[group].entry.locator}, which is kept")
        return [one for group, one in zip(groups, usable, strict=True) if one is best[group]]

    def _rank(self, one: Usable) -> tuple[bool, int, str]:
        return self._wants_caption(one), -_volume(one.extent), one.entry.locator

    def _captioned(self, usable: Sequence[Usable]) -> list[Usable]:
        """With the captions a captioner fills in."""
        captioner, means = self._params.captioner, self._means
        silent = [one for one in usable if self._wants_caption(one)]
        if captioner is None or not silent:
            return list(usable)
        entries = [one.entry for one in silent]
        root, work = listing.root(self._params), means.captions(self._source)
        said = captioning.fill(entries, captioner, work, root, means.progress)
        for one in silent:
            text = said.get(one.entry.locator, "")
            one.captions = (Caption(text, 1.0),)
            self._describes(one)
        return [one for one in usable if one.captions]

    def _windows(self, one: Usable) -> tuple[list[Window], list[Why]]:
        """All parts of a medium that become rows, and why a scene gives none; a part that was seen is not repeated."""
        if one.medium == "image":
            chosen = self._choose(one, one.extent)
            return ([Window(chosen, ())], []) if len(chosen) == 3 else ([], [chosen])
        found: dict[tuple[int, ...], Window] = {}
        left_out: list[Why] = []
        scenes = windows.scenes(one.extent.frames, one.cuts)
        for number, scene in enumerate(scenes, start=1):
            line = windows.timeline(scene, one.pts, one.time_base, self._params.clips.fps)
            chosen = self._choose(one, _as_long(one.extent, len(line)))
            if len(chosen) == 2:
                reason, detail = chosen
                part = f"scene {number} of {len(scenes)}, from frame {scene[0]}: " if len(scenes) > 1 else ""
                left_out.append((reason, part + detail))
                continue
            for start in windows.choose(len(line), chosen[0], self._params.clips):
                shown = tuple(line[start : start + chosen[0]].tolist())
                found.setdefault(shown, Window(chosen, shown))
        return list(found.values()), left_out

    def _choose(self, one: Usable, extent: Extent) -> Bucket | Why:
        """The bucket for a part of a medium, or why there is none."""
        key = (one.medium == "image", extent)
        if key not in self._chosen:
            try:
                self._chosen[key] = buckets.choose(buckets.of_medium(self._buckets, one.medium), extent)
            except media.Unusable as error:
                self._chosen[key] = error.reason, str(error)
        return self._chosen[key]

    def _rows(self, one: Usable) -> Iterator[Row]:
        """The rows of one medium, each followed by its mirror image if that is wanted."""
        for window in self._windows(one)[0]:
            for flip in (False, True) if self._params.crop.flip else (False,):
                yield self._row(one, window, flip=flip)

    def _row(self, one: Usable, window: Window, *, flip: bool) -> Row:
        entry, (frames, height, width) = one.entry, window.bucket
        item = entry.item or entry.locator
        start = window.shown[0] if window.shown else 0
        crop = buckets.crop(window.bucket, one.extent, self._params.crop, item)
        altered = manifest.alteration(start, window.shown, flip=flip)
        return Row(
            id=manifest.identity(self._source, entry.locator, one.content, start, window.bucket, crop, altered),
            source=self._source,
            item=item,
            split=one.split,
            locator=entry.locator,
            medium=one.medium,
            **_place(one),
            content=one.content,
            start=start,
            shown=window.shown,
            pts=tuple([one.pts[number] for number in window.shown]) if one.pts else (),
            time_base=one.time_base,
            flip=flip,
            frames=frames,
            height=height,
            width=width,
            source_width=one.extent.width,
            source_height=one.extent.height,
            source_frames=one.extent.frames,
            source_fps=one.extent.fps,
            crop=crop,
            captions=tuple([caption.text for caption in one.captions]),
            weights=tuple([caption.weight for caption in one.captions]),
            attributes=entry.attributes,
        )

    def _reject(self, one: Usable, reason: str, detail: str) -> None:
        locator = one.entry.locator
        self._rejected.append(
            Rejected(
                source=self._source,
                locator=locator,
                reason=reason,
                detail=f"{locator}: {detail}",
                medium=one.medium,
                content=one.content,
                **_place(one),
            )
        )


def _place(one: Usable) -> dict[str, Any]:
    """Where its bytes are; frames are not in one piece."""
    first, whole = one.entry.blobs[0], one.medium != "frames"
    return {"file": one.entry.file, "offset": first.offset if whole else 0, "size": first.size if whole else 0}


def _as_long(extent: Extent, frames: int) -> Extent:
    return Extent(width=extent.width, height=extent.height, frames=frames, fps=extent.fps)


def _volume(extent: Extent) -> int:
    return extent.width * extent.height * extent.frames
