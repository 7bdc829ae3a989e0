"""Things in plain words."""

Bucket = tuple[int, int, int]  # frames, height, width


def of_bucket(bucket: Bucket) -> str:
    """A bucket in plain words."""
    frames, height, width = bucket
    return f"images of {width} × {height}" if frames == 1 else f"clips of {frames} frames of {width} × {height}"


def in_short(bucket: Bucket) -> str:
    """A bucket where its size is known."""
    return "images" if bucket[0] == 1 else f"clips of {bucket[0]} frames"
