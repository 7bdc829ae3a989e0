"""The figures of data in: how fast `prepare` reads, what it reads again, and what it refuses.

    python -m benchmarks.data [--quick] [--only scan importers hostile]

scan       100,000 images and 2,000 clips through `prepare` beside the bare Pillow and PyAV loop; then one file more;
           then a file changed under the same time (about half an hour of two cores, 7 GB in .work/benchmarks)
importers  dataset configs of other tools in FROSTLINE_CONFIGS, a folder with one folder per tool
hostile    forty and more kinds of broken and hostile files
"""

import benchmarks
from benchmarks import Frame


def scan(frame: Frame) -> None:
    """The rate of a full scan, flatness of its memory, and the price of one more file."""
    from benchmarks.parts import scanning

    scanning.measure(frame, scanning.QUICK if frame.quick else scanning.FULL)


def importers(frame: Frame) -> None:
    """Every config parses, or the key that cannot be honoured is named."""
    from benchmarks.parts import importers as measuring

    measuring.measure(frame)


def hostile(frame: Frame) -> None:
    """Every hostile file is rejected with a reason, in bounded memory, and none opens another."""
    from benchmarks.parts import hostile as measuring

    measuring.measure(frame)


PARTS = {"scan": scan, "importers": importers, "hostile": hostile}

if __name__ == "__main__":
    benchmarks.main("data", PARTS)
