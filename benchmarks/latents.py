"""The figures of the latent cache: how fast rows are read, what filling it costs, and how that grows.

    python -m benchmarks.latents [--quick] [--only reading peers encoding wan_encoding additions growth opening waiting]

reading    shuffled rows from the page cache beside bare preadv of the same bytes
peers      the same rows in other layouts: HF datasets, MosaicML streaming, LitData, WebDataset, safetensors, parquet
encoding   the cache stage on media files beside the bare VAE on the same batches; wan_encoding: one of Wan2.1's size
additions  1 % more rows, as one new group and spread over all groups
growth     a thousand to a million rows: time and memory
opening    a million rows opened
waiting    how long trainings wait for their data, on the disk and in a store

CPU seconds decide, so that other work on the machine does not; wall time is given beside them. The peers need the extra
`peers`; one that is not installed is listed as not run. 3 GB in .work/benchmarks while it runs.
"""

import benchmarks
from benchmarks import Frame


def reading(frame: Frame) -> None:
    """Ours against the bare system call."""
    from benchmarks.parts import shuffled_reading

    shuffled_reading.floor(frame)


def peers(frame: Frame) -> None:
    """Ours against other layouts."""
    from benchmarks.parts import shuffled_reading

    shuffled_reading.peers(frame)


def encoding(frame: Frame) -> None:
    """What the cache stage adds to its VAE."""
    from benchmarks.parts import encode_stage

    encode_stage.measure(frame, encode_stage.MINIATURE)


def wan_encoding(frame: Frame) -> None:
    """What it adds to a VAE of the size people use."""
    from benchmarks.parts import encode_stage

    encode_stage.measure(frame, encode_stage.WAN)


def additions(frame: Frame) -> None:
    """The price of one row in a hundred."""
    from benchmarks.parts import filling

    filling.adding(frame)


def growth(frame: Frame) -> None:
    """Time and memory of ten times the rows, and ten times those."""
    from benchmarks.parts import filling

    filling.growing(frame)


def opening(frame: Frame) -> None:
    """A million rows opened."""
    from benchmarks.parts import opening as measuring

    measuring.measure(frame)


def waiting(frame: Frame) -> None:
    """A training's wait for its data."""
    from benchmarks.parts import waiting as measuring

    measuring.measure(frame)


PARTS = {
    "reading": reading,
    "peers": peers,
    "encoding": encoding,
    "wan_encoding": wan_encoding,
    "additions": additions,
    "growth": growth,
    "opening": opening,
    "waiting": waiting,
}

if __name__ == "__main__":
    benchmarks.main("latents", PARTS)
