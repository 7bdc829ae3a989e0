"""Media for which there is not enough memory: that is said, with what to lower, and not kept of the file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import media
from frostline.media import keeping
from frostline.media.keeping import Failure

PROGRAM = """
import resource, sys
from frostline import storage
from frostline.media import Limits, workers
from frostline.media.workers import Task

def told(path):
    blob = storage.blob(str(path.rpartition("/")[0]), path.rpartition("/")[2])
    return workers.do(Task("probe", (blob,), None), Limits(max_pixels=1 << 26, max_frames=100), None)

small, large = sys.argv[1:]
told(small)  # all that is needed for it is loaded
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20),) * 2)
print(told(large))
"""


def image(path: Path, side: int) -> None:
    Image.new("L", (side, side)).save(path)


def clip(path: Path, side: int) -> None:
    media.write_mp4(path, np.zeros((2, side, side, 3), np.uint8), 8)


@pytest.mark.parametrize(("write", "ending"), [(image, ".png"), (clip, ".mp4")])
def test_what_to_lower_is_said_and_nothing_is_kept_of_the_file(tmp_path, write, ending):
    small, large = (tmp_path / f"{name}{ending}" for name in ("small", "large"))
    write(small, 64)
    write(large, 4096)
    command = [sys.executable, "-c", PROGRAM, str(small), str(large)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    found = keeping.read(said, str(large))
    assert isinstance(found, Failure), json.loads(said)
    assert (found.reason, found.content) == ("out_of_memory", None)
    for word in (str(large), "memory ran out", "--processes", "encode_batch", "max_pixels"):
        assert word in found.message
