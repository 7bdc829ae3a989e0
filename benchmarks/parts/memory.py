"""Resident memory of this process, as the system counts it."""

from pathlib import Path


def resident() -> int:
    """Bytes now."""
    return _status("VmRSS")


def peak() -> int:
    """Bytes at most, since the process began or ``forget_peak`` was called."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Count the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
