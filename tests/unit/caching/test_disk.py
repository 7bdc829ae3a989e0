"""A disk that is full, and a folder that may not be written."""

import contextlib
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from frostline import caching, digests
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.errors import Refused
from frostline.manifest import Columns, Row
from tests import tiny
from tests.unit.caching.rows import pixels, row

SETTINGS = tiny.cache_params(stored_dtype="float32")
ROWS = [row(n, caption=f"number {n}") for n in range(300)]
NOBODY = 65534


@pytest.fixture
def codec(tiny_base):
    """Loaded, so that it is not read under another name."""
    found = Codec(tiny_base)
    assert None not in (found.vae, found.text_encoder, found.tokenizer)
    return found


@contextlib.contextmanager
def files_of_at_most(size):
    """As on a full disk: files grow to so many bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def as_nobody():
    """As somebody who may write nothing of ours; root may write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def make(codec, folder):
    pool, asked = Pool(folder / "pool", codec.latent_space), []

    def counted(given):
        asked.append(given.item)
        return pixels(given)

    caching.write_source("tiny", Columns.of(Row, ROWS), counted, codec, SETTINGS, pool, folder / "tiny")
    return asked


@pytest.mark.parametrize(
    ("size", "named"),
    [
        (1 << 10, "pool"),  # what puts rows in order
        (120_000, r"text/\w+.parquet"),  # a part
    ],
)
def test_a_full_disk_is_told_by_the_file_and_the_next_run_goes_on(codec, tmp_path, size, named):
    with files_of_at_most(size), pytest.raises(Refused, match=f"({named}).*: cannot be written: File too large; make"):
        make(codec, tmp_path / "full")
    assert not (tmp_path / "full" / "tiny").exists()
    assert not list((tmp_path / "full").rglob(".*.parquet"))
    assert len(make(codec, tmp_path / "full")) == len(ROWS)
    make(codec, tmp_path / "straight")
    assert digests.of_folder(tmp_path / "full" / "tiny") == digests.of_folder(tmp_path / "straight" / "tiny")


def test_a_folder_that_may_not_be_written_is_named(codec):
    folder = Path(tempfile.mkdtemp())  # of pytest's own folders nobody else may read anything
    folder.chmod(0o555)
    try:
        with as_nobody(), pytest.raises(Refused, match=f"{folder}/pool.*: cannot be written: Permission denied; make"):
            make(codec, folder)
        folder.chmod(0o755)
        make(codec, folder)
        assert (folder / "tiny").is_dir()
    finally:
        shutil.rmtree(folder)
