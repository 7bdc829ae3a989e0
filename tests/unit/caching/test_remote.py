"""A cache that goes into a store: nothing is encoded or sent twice, and nobody finds half of it."""

import pytest
import torch

from frostline import caching, digests, errors, files
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.storage import Unreachable
from frostline.store import locations
from frostline.store.layout import MANIFEST
from frostline.store.reading import Latents
from tests import tiny
from tests.object_store import keys
from tests.relay import FOREVER
from tests.unit.caching.rows import pixels, row
from tests.waiting import impatient

pytest_plugins = ["tests.servers"]

ROWS = [row(n, caption=("one", "two")[n % 2]) for n in range(5)]


@pytest.fixture(scope="module")
def codec(tiny_base):
    return Codec(tiny_base)


def write(rows, codec, folder, address=None):
    """Make the cache of rows; gives the items that were encoded."""
    asked = []

    def counted(given):
        asked.append(given.item)
        return pixels(given)

    pool = Pool(folder / "pool", codec.latent_space)
    settings = tiny.cache_params()
    caching.write_source("tiny", Columns.of(Row, rows), counted, codec, settings, pool, folder / "tiny", address)
    return asked


def test_parts_go_to_the_store_and_the_output_says_where(codec, tmp_path, bucket, relay):
    address = f"s3://{bucket}/caches/tiny"
    write(ROWS, codec, tmp_path / "near")
    assert len(write(ROWS, codec, tmp_path, address)) == 5
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {MANIFEST, locations.STORE}
    same = [digests.of_file(folder / "tiny" / MANIFEST) for folder in (tmp_path, tmp_path / "near")]
    assert same[0] == same[1]  # what a cache holds is the same wherever it is
    near, far = Latents(tmp_path / "near" / "tiny"), Latents(tmp_path / "tiny")
    assert torch.equal(near.raw(range(5)), far.raw(range(5)))
    made = digests.of_folder(tmp_path / "tiny")
    relay.requests.clear()
    assert write(ROWS, codec, tmp_path, address) == []
    assert relay.said("PUT", "POST", "DELETE") == []
    assert digests.of_folder(tmp_path / "tiny") == made
    write(ROWS, codec, tmp_path)  # and back
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(tmp_path / "near" / "tiny")


def test_what_was_opened_before_a_row_came_goes_on(codec, tmp_path, bucket):
    address = f"s3://{bucket}/caches/tiny"
    write(ROWS, codec, tmp_path, address)
    before = Latents(tmp_path / "tiny")
    assert write([*ROWS, row(5, caption="three")], codec, tmp_path, address) == ["item-5"]
    assert len(Latents(tmp_path / "tiny")) == 6
    assert torch.isfinite(before.raw(range(5))).all()


def test_a_store_that_fails_meanwhile_loses_nothing_and_the_next_run_goes_on(codec, tmp_path, bucket, relay):
    address = f"s3://{bucket}/caches/tiny"
    write(ROWS, codec, tmp_path, address)
    before = digests.of_folder(tmp_path / "tiny")
    more, items = [*ROWS, row(5, caption="three")], []
    for allowed in (0, 3, 5):
        relay.allowed = allowed
        with (
            impatient(),
            pytest.raises(Unreachable, match=f"^{address}.*no good answer for 1 s .*run the same command again"),
        ):
            items += write(more, codec, tmp_path, address)
        relay.allowed = FOREVER
        assert digests.of_folder(tmp_path / "tiny") == before
        assert len(Latents(tmp_path / "tiny")) == 5
    assert write(more, codec, tmp_path, address) == items == []  # what was encoded is in the pool
    assert len(Latents(tmp_path / "tiny")) == 6


def test_a_bucket_that_is_not_there_or_not_ours_is_named(codec, tmp_path, bucket, monkeypatch):
    with pytest.raises(errors.WrongUse, match=r"^s3://no-such-bucket-here/a/tiny: no such bucket"):
        write(ROWS, codec, tmp_path, "s3://no-such-bucket-here/a/tiny")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    with pytest.raises(errors.WrongUse, match=f"^s3://{bucket}/a/tiny: refused .*check the AWS_"):
        write(ROWS, codec, tmp_path, f"s3://{bucket}/a/tiny")
    assert not (tmp_path / "tiny").exists()


def test_the_list_in_the_store_names_all_that_is_there(codec, tmp_path, bucket):
    write(ROWS, codec, tmp_path, f"s3://{bucket}/caches/tiny")
    parts = files.read_json(tmp_path / "tiny" / MANIFEST)["parts"]
    names = [locations.key(part["name"], part["digest"]) for part in parts]
    assert keys(bucket) == sorted(f"caches/tiny/{name}" for name in (*names, MANIFEST))
