"""The figures of reading from an object store, here a real one on this machine, 30 ms and 20 MB/s a connection away.

    python -m benchmarks.storage [--quick]

reading  one object: in ranges of 8 MiB at once, as one stream, and as s3fs reads it; and a cache's rows in random
         order: as a training reads them, as s3fs does, and again from the blocks on the disk

A relay stands before the store and makes it as far away. Wall time decides, of ways in turn, as waiting is what is
measured; for what comes from the disk CPU seconds do. The server is that of the tests (`make swift`).
"""

import benchmarks
from benchmarks import Frame


def reading(frame: Frame) -> None:
    """One large object, and rows of a cache."""
    from benchmarks.parts import far_reading

    far_reading.measure(frame)


PARTS = {"reading": reading}

if __name__ == "__main__":
    benchmarks.main("storage", PARTS)
