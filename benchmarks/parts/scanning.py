"""`prepare` over many files, beside the bare loop that decodes the same files on as many processes.

Names:  full   a scan that knows nothing yet        again  one that knows all files but one
        growth resident memory of all its processes, late in a scan over early in it, files of a kind held apart
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import yaml

from benchmarks import Frame
from benchmarks.parts import media_set
from frostline import manifest

KEPT = Path(".work/benchmarks")
SOURCE = "media"
EVERY = 0.5  # seconds between looks at the memory
NEITHER_START_NOR_END = (0.1, 0.9)  # of a scan's time: imports come before, tables after


class Size(NamedTuple):
    """How much is scanned, how often."""

    images: int
    clips: int
    rounds: int


FULL = Size(images=100_000, clips=2_000, rounds=2)
QUICK = Size(images=40, clips=2, rounds=1)


class Scan(NamedTuple):
    """One run of prepare."""

    seconds: float
    memory: np.ndarray  # bytes, (looks,)
    output: str


def measure(frame: Frame, size: Size) -> None:
    """Measure and record every figure of a scan."""
    processes = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) if frame.quick else KEPT
        media = media_set.make(root, size.images, size.clips, processes)
        project = _project(Path(temporary) / "project", media)
        scans, bare = [], []
        for _ in range(size.rounds):
            bare.append(media_set.bare(media, processes))
            shutil.rmtree(project / ".work", ignore_errors=True)
            scans.append(prepare(project, processes))
        _rate(frame, size, bare, scans, processes)
        _memory(frame, size, scans)
        _again(frame, project, media, size, scans, processes)


def _rate(frame: Frame, size: Size, bare: list[float], scans: list[Scan], processes: int) -> None:
    ratios = [loop / scan.seconds for loop, scan in zip(bare, scans, strict=True)]
    frame.record(
        "prepare_rate",
        min(ratios),
        0.85,
        ">=",
        unit="x",
        n=size.images + size.clips,
        spread=f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} interleaved rounds, the smallest counts",
        note=f"the bare loop's time over that of `prepare` as a whole process, {processes} processes; bare "
        + ", ".join(f"{seconds:.0f} s" for seconds in bare)
        + ", prepare "
        + ", ".join(f"{scan.seconds:.0f} s" for scan in scans),
    )


def _memory(frame: Frame, size: Size, scans: list[Scan]) -> None:
    """The median of the last quarter over the median of the second: both long after the imports."""
    ratios = []
    for scan in scans:
        low, high = (int(share * len(scan.memory)) for share in NEITHER_START_NOR_END)
        quarters = np.array_split(scan.memory[low:high], 4)
        ratios.append(float(np.median(quarters[3]) / np.median(quarters[1])) if len(quarters[0]) else float("nan"))
    peak = max(scan.memory.max() for scan in scans) / 2**20
    frame.record(
        "prepare_memory_growth",
        max(ratios),
        1.1,
        "<=",
        unit="x",
        n=size.images + size.clips,
        spread=f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} rounds",
        note=f"resident memory of all processes, last quarter of a scan over its second; peak {peak:.0f} MiB",
    )


def _again(frame: Frame, project: Path, media: Path, size: Size, scans: list[Scan], processes: int) -> None:
    full = float(np.median([scan.seconds for scan in scans]))
    with _one_more(media, size.images):
        again = prepare(project, processes)
    allowed = 0.02 * full + 2
    frame.record(
        "prepare_one_more_file",
        again.seconds,
        allowed,
        "<=",
        unit="s",
        n=1,
        spread="one run",
        note=f"wall time with one new file among {size.images + size.clips}; 2 % of {full:.0f} s and 2 s are allowed",
    )
    with _changed_under_its_time(media) as (name, before):
        found = _contents(project, name), _contents(_verified(project, processes), name)
        frame.record(
            "prepare_verify_sees_a_change",
            float(found[0] == before and found[1] != before),
            1,
            "==",
            unit="of 1",
            n=1,
            spread="",
            note="a file changed under the same size and times is found by `prepare --verify`",
        )


def prepare(project: Path, processes: int, *more: str) -> Scan:
    """Run prepare in a project as a whole process and watch its memory."""
    command = [sys.executable, "-m", "stages.prepare", SOURCE, "--manifest", "data/manifest/media", "--sheets"]
    command += ["data/sheets/media", "--processes", str(processes), *more]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    looks: list[int] = []
    watcher = threading.Thread(target=_watch, args=(process, looks))
    watcher.start()
    output = process.communicate()[0]
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"prepare ended with {process.returncode}:\n{output[-2000:]}")
    return Scan(seconds, np.array(looks or [0]), output)


def _watch(process: "subprocess.Popen[str]", looks: list[int]) -> None:
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(process.pid)
            looks.append(sum(one.memory_full_info().pss for one in (root, *root.children(recursive=True))))
        time.sleep(EVERY)


def _project(folder: Path, media: Path) -> Path:
    folder.mkdir(parents=True)
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["base"] = str(Path(values["base"]).resolve())
    values["sources"] = {SOURCE: source(media)}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


def source(media: Path) -> dict[str, object]:
    """A source of the set: images and clips with sidecar captions, every filter at work."""
    return {
        "kind": "sidecar",
        "path": str(media.resolve()),
        "extension": ".txt",
        "lines": "one_caption",
        "buckets": [[1, 256, 256], [17, 192, 256]],
        "clips": {
            "fps": 16.0,
            "scene_cuts": None,
            "use_sliding_window": False,
            "window_stride": 16,
            "window_choice": "middle",
            "windows_per_scene": 1,
            "max_frames": 10_000,
        },
        "crop": {"place": "centre", "seed": 0, "flip": False},
        "filters": {
            "minimum_side": 64,
            "minimum_seconds": 0.5,
            "minimum_motion": 0.01,
            "minimum_brightness": 1.0,
            "minimum_sharpness": 0.01,
            "caption_characters": [1, 1000],
            "duplicate_distance": 2,
            "keep_duplicates": False,
        },
        "captioner": None,
        "split": {"seed": 0, "validation": 0.01, "test": 0.01},
        "max_pixels": 1_000_000,
        "max_rejected": 0.05,
    }


@contextlib.contextmanager
def _one_more(media: Path, number: int) -> Iterator[None]:
    media_set.image(_room(media, number), number)
    path = media / "i" / f"{number // 1000:03d}" / f"{number:06d}.jpg"
    try:
        yield
    finally:
        path.unlink()
        path.with_suffix(".txt").unlink()


def _room(media: Path, number: int) -> Path:
    (media / "i" / f"{number // 1000:03d}").mkdir(exist_ok=True)
    return media


@contextlib.contextmanager
def _changed_under_its_time(media: Path) -> Iterator[tuple[str, str]]:
    """Change the last byte before an image's end mark, keep its size and times, and take it back."""
    from frostline import digests

    path = media / "i" / "000" / "000000.jpg"
    kept, stat, before = path.read_bytes(), path.stat(), digests.of_file(path)
    changed = bytearray(kept)
    changed[-12] ^= 1
    _overwrite(path, bytes(changed), stat)
    try:
        yield path.relative_to(media).as_posix(), before
    finally:
        _overwrite(path, kept, stat)


def _overwrite(path: Path, data: bytes, stat: os.stat_result) -> None:
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _verified(project: Path, processes: int) -> Path:
    prepare(project, processes, "--verify")
    return project


def _contents(project: Path, name: str) -> str:
    rows = manifest.read(project / "data" / "manifest" / "media")
    return next(row.content for row in rows if row.locator == name)
