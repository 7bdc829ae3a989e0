"""Hostile and broken files through the doors of media: what is taken, opened, and filled of the memory."""

import tempfile
from pathlib import Path

from benchmarks import Frame
from tests.unit.media import judging

GROWTH = 64  # MiB: far below the 400 and more that such a file decodes to elsewhere


def measure(frame: Frame) -> None:
    """Judge the whole set, in a process whose address space is bounded."""
    with tempfile.TemporaryDirectory() as folder:
        found = judging.judged(Path(folder) / "set")
    refused = [one for one in found if "taken" not in dict(one["reasons"])]
    strangers = [one["name"] for one in found if set(one["opened"]) - {one["name"]}]
    growth = max(one["growth"] for one in found) / 1024
    n, reasons = len(found), sorted({one["reasons"][0][0] for one in refused})
    frame.record("hostile_kinds", n, 40, ">=", unit="kinds", n=n, spread="", note="bombs, cut off, dressed up, hollow")
    frame.record(
        "hostile_refused",
        len(refused) / n,
        1,
        "==",
        unit="share",
        n=n,
        spread="deterministic",
        note="in one process that came to its end; reasons: " + ", ".join(reasons),
    )
    frame.record(
        "hostile_other_files_opened",
        len(strangers),
        0,
        "==",
        unit="files",
        n=n,
        spread="deterministic",
        note="seen by inotify on the folder, with two canaries that playlists and references name",
    )
    frame.record(
        "hostile_memory",
        growth,
        GROWTH,
        "<=",
        unit="MiB",
        n=n,
        spread="one process",
        note=f"peak resident memory over that before the first file; {judging.MEGABYTES} MB of address space allowed",
    )
