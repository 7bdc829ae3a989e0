"""Which parts of a clip become rows."""


def starts(available: int, frames: int, stride: int | None) -> range:
    """First frames of the windows of ``frames`` frames: every ``stride``-th that fits, or with None only frame 0.

    A rest at the end that is shorter than a window is not used.
    """
    return range(1) if stride is None else range(0, available - frames + 1, stride)
