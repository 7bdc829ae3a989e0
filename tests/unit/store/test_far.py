"""A cache whose parts are in a store gives what it gives on a disk, and says which part is not as it should be."""

import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from s3fs import S3FileSystem

from frostline import dataset, files, loading, storage
from frostline.batches import Batches
from frostline.caching import remote
from frostline.dataset import Dataset
from frostline.errors import Refused, WrongUse
from frostline.params.stores import StoreParams
from frostline.params.trainings import BucketShare
from frostline.storage import Unreachable, ahead, blocks
from frostline.store import locations
from frostline.store.far import Remote
from frostline.store.layout import MANIFEST
from tests import tiny
from tests.object_store import Put, ask, keys
from tests.relay import FOREVER, Relay
from tests.waiting import impatient, until

pytest_plugins = ["tests.servers"]

ITEMS = f"items/{tiny.CLIPS}/{tiny.PART}"


@pytest.fixture
def near(tmp_path: Path) -> Dataset:
    return tiny.data(tmp_path / "near")


@pytest.fixture
def root(near: Dataset, tmp_path: Path, bucket: str) -> Path:
    """The same rows, their parts in a bucket."""
    return moved(tmp_path / "near", tmp_path / "far", f"s3://{bucket}/caches/tiny")


def moved(near: Path, root: Path, address: str) -> Path:
    """A copy of a project's only cache, with its parts at an address."""
    shutil.copytree(near, root)
    cache = root / "latents" / "tiny"
    remote.send(cache, files.read_json(cache / MANIFEST)["parts"], cache, address)
    for kind in ("items", "text", "captions"):
        shutil.rmtree(cache / kind)
    assert {path.name for path in cache.iterdir()} == {MANIFEST, locations.STORE}
    return root


def opened(root: Path, gigabytes: int | None = 1) -> Dataset:
    store = StoreParams(address=None, blocks=str(root / "blocks"), gigabytes=gigabytes) if gigabytes else None
    return Dataset(root / "latents.json", root / "latents", store)


def key(root: Path, name: str) -> str:
    """What an object is called in its bucket."""
    parts = files.read_json(root / "latents" / "tiny" / MANIFEST)["parts"]
    [digest] = [part["digest"] for part in parts if part["name"] == name]
    return f"caches/tiny/{locations.key(name, digest)}"


def body(bucket: str, name: str) -> bytes:
    found = storage.blob(f"s3://{bucket}", name)
    return found.read(found.size)


@pytest.mark.parametrize("gigabytes", [None, 1], ids=["not kept", "kept"])
def test_rows_are_those_of_the_local_cache(root: Path, near: Dataset, gigabytes: int | None):
    there = opened(root, gigabytes)
    assert there.digest == near.digest
    assert there.buckets == near.buckets
    assert there.ids("id") == near.ids("id")
    for bucket in near.buckets:
        rows = near.rows(bucket, "train").tolist()
        dropped = [number % 3 == 0 for number in rows]
        for mine, theirs in zip(
            vars(there.batch(rows, dropped)).values(), vars(near.batch(rows, dropped)).values(), strict=True
        ):
            assert torch.equal(torch.as_tensor(mine), torch.as_tensor(theirs))
        assert torch.equal(there.raw(rows), near.raw(rows))
    assert torch.equal(there.null(), near.null())
    assert (root / "blocks").exists() == (gigabytes is not None)


def test_what_was_read_once_comes_from_the_disk(root: Path, relay: Relay):
    rows = list(range(15))
    first = opened(root)
    expected = [first.batch([row]).clean for row in rows]
    again = opened(root)
    relay.requests.clear()
    assert all(torch.equal(again.batch([row]).clean, clean) for row, clean in zip(rows, expected, strict=True))
    assert relay.requests == []


def test_opening_reads_no_rows(root: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch):
    parts = files.read_json(root / "latents" / "tiny" / MANIFEST)["parts"]
    opened(root)
    [listing, *others] = relay.requests
    assert "list-type=2" in listing
    assert len(others) == len(parts)  # small parts come as a whole with their footer
    assert not list((root / "blocks").glob("*"))


def test_a_batch_comes_at_once(root: Path, relay: Relay):
    there = opened(root, None)
    relay.requests.clear()
    relay.most_waiting = 0
    rows = there.rows(tiny.IMAGES, "train").tolist()
    with ThreadPoolExecutor(1) as beside, relay.holding():
        reading = beside.submit(there.read, rows)
        until(lambda: relay.most_waiting == len(rows) + 3)  # latents, and the three texts they share
    stored = reading.result()
    assert len(relay.requests) == len(rows) + 3
    assert stored.waited == 2 * len(rows)


def test_what_comes_is_said_once_a_batch(root: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[tuple[int, int]] = []
    monkeypatch.setattr(Remote, "expect", lambda _, start, count: said.append((start, count)))
    there = opened(root)
    rows = there.rows(tiny.IMAGES, "train").tolist()
    for _ in range(2):
        said.clear()
        there.read(rows)
        assert len(said) == 2 * len(rows)  # of each the latent and the text, whether they lie on the disk or not


def test_caches_larger_than_the_bound_are_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "SIZE", 1)
    monkeypatch.setattr(StoreParams, "bound", 2)
    there = opened(root)
    there.batch([0])
    assert not (root / "blocks").exists()


def test_a_reader_in_another_process_reads_ahead(root: Path, near: Dataset):
    there = opened(root)
    shares = {tiny.IMAGES: BucketShare(share=0.5, batch=4), tiny.CLIPS: BucketShare(share=0.5, batch=2)}
    batches = {
        name: Batches(rows, buckets=shares, steps=12, dropout=0.3, seed=0)
        for name, rows in (("near", near), ("far", there))
    }
    expected = [batches["near"].at(step).clean for step in range(12)]
    for readers in (0, 1):
        found = [batch.clean for batch in loading.read(batches["far"], 0, 12, readers=readers)]
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def test_a_part_that_is_not_there_or_cut_short_is_named_when_the_cache_is_opened(root: Path, bucket: str, put: Put):
    name = key(root, ITEMS)
    data = body(bucket, name)
    put(name, data[:-1])
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: has {len(data) - 1} bytes where .*--repair` sends it"):
        opened(root)
    ask("delete_object", Bucket=bucket, Key=name)
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: missing; .*--repair` sends it again"):
        opened(root)
    put(name, data)
    opened(root)


@pytest.mark.parametrize("gigabytes", [None, 1], ids=["not kept", "kept"])
def test_a_part_that_vanishes_or_is_replaced_while_it_is_read_is_named(
    root: Path, bucket: str, put: Put, gigabytes: int | None
):
    there, name = opened(root, gigabytes), key(root, ITEMS)
    row = there.rows(tiny.CLIPS, "train").tolist()[0]
    data = body(bucket, name)
    ask("delete_object", Bucket=bucket, Key=name)
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: no such object; .*--repair` sends it again"):
        there.read([row])
    put(name, data[:-9] + bytes(9))
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: another object than when it was listed; .*--repair`"):
        there.read([row])
    put(name, data)
    assert there.read([row]).outline.rows == (row,)


@pytest.mark.parametrize("gigabytes", [None, 1], ids=["not kept", "kept"])
def test_a_flipped_bit_of_a_row_is_found_whenever_it_is_read(root: Path, bucket: str, put: Put, gigabytes: int | None):
    name = key(root, ITEMS)
    data = bytearray(body(bucket, name))
    there = opened(root, gigabytes)
    row = there.rows(tiny.CLIPS, "train").tolist()[2]
    place = data.find(there.read([row]).data[-there.sources[0].tensors(row).width :].tobytes())
    assert place > 0
    data[place] ^= 1
    put(name, bytes(data))
    again = opened(root, gigabytes)
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: row 2 is not what its digest says; .*--repair`"):
        again.read([row])
    assert again.read([row + 1]).outline.rows == (row + 1,)


@pytest.mark.parametrize("column", ["split", "weights", "text_ids", "latent_digest"])
def test_a_flipped_bit_beside_the_rows_is_found_when_the_cache_is_opened(
    root: Path, bucket: str, put: Put, column: str
):
    name = key(root, ITEMS)
    data = bytearray(body(bucket, name))
    group = pq.read_metadata(io.BytesIO(bytes(data))).row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    [chunk] = [one for one in chunks if one.path_in_schema.split(".")[0] == column]
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    put(name, bytes(data))
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: .*--repair`"):
        opened(root)


def test_a_damaged_block_is_fetched_again(root: Path, near: Dataset):
    there = opened(root)
    rows = near.rows(tiny.CLIPS, "train").tolist()
    there.read(rows)
    for block in (root / "blocks").glob("*.block"):
        data = bytearray(block.read_bytes())
        for place in range(0, len(data), 64):
            data[place] ^= 1
        block.write_bytes(bytes(data))
    assert torch.equal(there.batch(rows).clean, near.batch(rows).clean)
    assert torch.equal(there.batch(rows).text, near.batch(rows).text)


def test_a_store_that_is_away_refuses_or_fails_is_said_and_the_next_run_goes_on(
    root: Path, bucket: str, relay: Relay, monkeypatch: pytest.MonkeyPatch
):
    there = opened(root, None)
    relay.allowed = 0
    with (
        impatient(),
        pytest.raises(Unreachable, match=f"^s3://{bucket}/caches/tiny/.*for 1 s .*run the same"),
    ):
        there.read([0])
    with impatient(), pytest.raises(Unreachable, match=f"^s3://{bucket}/caches/tiny: no good answer for 1 s"):
        opened(root)
    relay.allowed = FOREVER
    assert there.read([0]).outline.rows == (0,)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(WrongUse, match=f"^s3://{bucket}/caches/tiny: refused .*check the AWS_"):
        opened(root)


def test_a_part_of_another_tool_is_read_all_the_same(near: Dataset, tmp_path: Path, bucket: str):
    part = tmp_path / "near" / "latents" / "tiny" / ITEMS
    numbers = near.rows(tiny.CLIPS, "train").tolist()
    expected = near.raw(numbers)
    pq.write_table(pq.read_table(part), part, compression="zstd")
    rows = {f"{name}/{split}": n for name, counts in tiny.COUNTS.items() for split, n in counts.items()}
    tiny.seal(tmp_path / "near" / "latents" / "tiny", tiny.space(), rows)
    files.write_json(tmp_path / "near" / "latents.json", dataset.index(tmp_path / "near" / "latents", ["tiny"]))
    there = opened(moved(tmp_path / "near", tmp_path / "far", f"s3://{bucket}/caches/tiny"))
    assert torch.equal(there.raw(numbers), expected)


def test_a_foreign_object_is_refused(root: Path, bucket: str, put: Put):
    name = key(root, ITEMS)
    put(name, os.urandom(len(body(bucket, name))))
    with pytest.raises(Refused, match=f"^s3://{bucket}/{name}: not a parquet file, or cut short .*--repair`"):
        opened(root)


def test_memory_of_what_comes_before_it_is_wanted_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch):
    there = opened(root, None)
    rows = there.rows(tiny.IMAGES, "train").tolist()
    width = there.sources[0].tensors(rows[0]).width
    monkeypatch.setattr(ahead, "BOUND", 3 * width)
    expected = there.raw(rows)
    there.expect(rows, [0] * len(rows))
    assert ahead.held() <= 3 * width
    assert torch.equal(there.raw(rows), expected)


def test_parts_are_told_apart_by_their_digests():
    assert locations.key("items/1x2x3/ab.parquet", "d" * 32) == f"items/1x2x3/ab-{'d' * 32}.parquet"


def test_publishing_again_sends_nothing_and_keeps_what_older_manifests_name(
    root: Path, near: Dataset, tmp_path: Path, bucket: str
):
    before = keys(bucket)
    moved(tmp_path / "near", tmp_path / "again", f"s3://{bucket}/caches/tiny")
    assert keys(bucket) == before
    tiny.data(tmp_path / "other", seed=1)
    moved(tmp_path / "other", tmp_path / "third", f"s3://{bucket}/caches/tiny")
    assert set(before) < set(keys(bucket))
    opened(root)
    assert np.isfinite(opened(tmp_path / "third").raw([0]).numpy()).all()
