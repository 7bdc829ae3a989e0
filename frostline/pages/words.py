"""Things in plain words."""

Bucket = tuple[int, int, int]  # frames, height, width


def of_bucket(bucket: Bucket) -> str:
    """A bucket in plain words."""
    frames, height, width = bucket
    return f"images of {width} × {height}" if frames == 1 else f"clips of {frames} frames of {width} × {height}"


def in_short(bucket: Bucket) -> str:
    """A bucket where its size is known."""
    return "images" if bucket[0] == 1 else f"clips of {bucket[0]} frames"


def name(bucket: Bucket) -> str:
    """A bucket as params name it: 5x32x32."""
    return "x".join(map(str, bucket))


def of_bytes(count: float) -> str:
    """A number of bytes: 3.1 MB."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def of_seconds(seconds: float) -> str:
    """A length of time: 42 s, 3.5 min, 12 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def things(count: int, one: str, several: str = "") -> str:
    """1 row, 12,579 rows; `several` where it is not one with an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def share(part: float, whole: float) -> str:
    """How much of a whole: 12 %, <0.1 %."""
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"
