"""Hostile files through the doors of media in a process of its own: its memory is bounded, its opens are seen."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.media import hostile

MAX_FRAMES = 200
MAX_PIXELS = 2_000_000
MEGABYTES = 256  # of address space beyond what is there before the first file

PROGRAM = """
import ctypes, json, os, pathlib, re, resource, struct, sys
import av, numpy
from PIL import AvifImagePlugin, Image
from frostline import media
from frostline.media import clips, images
from frostline.storage import Blob

folder, max_frames, max_pixels, megabytes = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
Image.init()
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20),) * 2)
watching = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
ctypes.CDLL(None).inotify_add_watch(watching, os.fsencode(folder), 0x20)

def opened():
    found, data = set(), b""
    try:
        while more := os.read(watching, 1 << 16):
            data += more
    except BlockingIOError:
        pass
    while data:
        length = struct.unpack_from("iIII", data)[3]
        found.add(data[16 : 16 + length].rstrip(b"\\0").decode())
        data = data[16 + length :]
    return sorted(found)

def peak():  # of this program alone: ru_maxrss begins at the peak of the process that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])

limits = media.Limits(max_pixels=max_pixels, max_frames=max_frames)
before = peak()
for name in json.loads(sys.stdin.read()):
    path = folder / name
    size = path.stat().st_size if path.is_file() else 4096
    reasons = []
    for medium in (None, "image", "clip", "frames"):
        if (name, medium) == ("frame.gif", "clip"):
            continue  # a clip is cut to its screen, here of one pixel
        try:
            media.probe([Blob(str(path), 0, size, "")], medium, limits, None)
            reasons.append(["taken", ""])
        except media.Unusable as error:
            reasons.append([error.reason, str(error)])
    print(json.dumps({"name": name, "reasons": reasons, "opened": opened(), "growth": peak() - before}), flush=True)
"""


def judged(folder: Path) -> list[dict[str, Any]]:
    """What became of each file of a set made in ``folder``, as ``judge`` says it."""
    return judge(folder, hostile.make(folder, MAX_FRAMES))


def judge(folder: Path, names: Sequence[str], max_pixels: int = MAX_PIXELS) -> list[dict[str, Any]]:
    """What became of each of some files of a folder, taken as every medium.

    Of each its name, the (reason, message) of each try, the names of the files in the folder that were opened, and
    by how much, in KiB, the process's peak of resident memory had passed that of before the first file.
    Raises RuntimeError if it does not come to the end.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, folder, *map(str, (MAX_FRAMES, max_pixels, MEGABYTES))],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    if (done.returncode, [one["name"] for one in found]) != (0, names):
        raise RuntimeError(f"ended with {done.returncode} after {len(found)} of {len(names)}: {done.stderr[-2000:]}")
    return found
