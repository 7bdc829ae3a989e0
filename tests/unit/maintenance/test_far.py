"""Caches in a store: the same looks, and repair that sends again what the pool has."""

import pyarrow.parquet as pq
import pytest

from frostline import files, storage
from frostline.maintenance import caches, superseded
from frostline.store import locations
from frostline.store.layout import MANIFEST
from tests.object_store import ask, keys
from tests.unit.caching.rows import row
from tests.unit.maintenance.project import IMAGES, ROWS, Project
from tests.waiting import impatient

pytest_plugins = ["tests.servers"]


@pytest.fixture
def project(codec, tmp_path, bucket):
    made = opened(tmp_path, codec, f"s3://{bucket}/caches/tiny")
    made.encode()
    return made


def opened(folder, codec, address):
    """As another process sees it."""
    made = Project(folder, codec)
    made.address = address
    return made


def bucket_of(project):
    return project.address.split("/")[2]


def parts(project):
    """Names of the parts, and what they are called in the bucket."""
    listed = files.read_json(project.latents / "tiny" / MANIFEST)["parts"]
    return {part["name"]: f"caches/tiny/{locations.key(part['name'], part['digest'])}" for part in listed}


def first(project, kind):
    """Name and key of the first part of a kind."""
    return next((name, key) for name, key in sorted(parts(project).items()) if name.startswith(kind))


def flip(project, key):
    """Change a bit of an object, among its rows."""
    found = storage.blob(f"s3://{bucket_of(project)}", key)
    data = bytearray(found.read(found.size))
    data[len(data) // 8] ^= 1
    ask("put_object", Bucket=bucket_of(project), Key=key, Body=bytes(data))


def test_what_is_whole_is_found_whole(project):
    assert project.look().found == []
    assert project.look(deep=True).found == []
    assert project.repair().done == []


def test_what_the_pool_has_is_sent_again(project):
    name, key = first(project, "items")
    text, text_key = first(project, "text")
    flip(project, key)
    ask("delete_object", Bucket=bucket_of(project), Key=text_key)
    [line] = project.lines()
    assert line.startswith(f"latents/tiny/{text}: missing at {project.address}; ")
    assert any(line.startswith(f"latents/tiny/{name}: its digest is ") for line in project.lines(deep=True))
    repaired = project.repair()
    assert repaired.whole
    assert sum(f"sent again from the pool to {project.address}" in line for line in repaired.done) == 2
    assert project.look(deep=True).found == []


def test_what_nobody_has_any_more_is_encoded_again_and_nothing_else(project):
    name, key = first(project, f"items/{IMAGES}")
    project.pool.remove(project.pool.path(name))
    ask("delete_object", Bucket=bucket_of(project), Key=key)
    repaired = project.repair()
    assert not repaired.whole
    assert repaired.following(project.latents) == ["dvc repro --force --single-item cache@tiny", "dvc repro"]
    assert len(project.encode()) == 6
    assert project.look(deep=True).found == []


def test_a_damaged_part_that_the_pool_lacks_gives_its_whole_rows(project, codec):
    name, key = first(project, f"items/{IMAGES}")
    found = storage.blob(f"s3://{bucket_of(project)}", key)
    data = bytearray(found.read(found.size))
    part = project.pool.path(name)
    data[bytes(data).find(pq.read_table(part)["latent"][2].as_py())] ^= 1
    item = pq.read_table(part)["item"][2].as_py()
    project.pool.remove(part)
    ask("put_object", Bucket=bucket_of(project), Key=key, Body=bytes(data))
    repaired = project.repair()
    assert any(f"taken away from {project.address}; 5 row(s) of it saved" in line for line in repaired.done)
    assert key not in keys(bucket_of(project))
    assert opened(project.folder, codec, project.address).encode() == [item]
    assert project.look(deep=True).found == []


def test_a_pool_that_is_empty_gets_all_parts_and_nothing_is_encoded_again(project, codec, tmp_path):
    fresh = opened(tmp_path / "fresh", codec, project.address)
    fresh.latents.parent.mkdir()
    (project.latents).rename(fresh.latents)
    assert fresh.repair().whole
    assert fresh.encode(rows=[*ROWS, row(9, caption="two")]) == ["item-9"]


def test_a_store_that_is_away_is_not_taken_for_damage(project, relay):
    relay.allowed = 0
    before = keys(bucket_of(project))
    for deep in (False, True):
        with impatient(), pytest.raises(storage.Unreachable):
            project.look(deep=deep)
    assert keys(bucket_of(project)) == before


def test_parts_that_no_manifest_lists_go_by_their_age(project, monkeypatch):
    before = set(keys(bucket_of(project)))
    ask("put_object", Bucket=bucket_of(project), Key="caches/tiny/mine.parquet", Body=b"x")
    project.encode(rows=[*ROWS, row(9, caption="two")])
    listed = {*parts(project).values(), f"caches/tiny/{MANIFEST}"}
    assert before - listed
    cache = caches.read("tiny", project.latents / "tiny")
    assert superseded.find(cache, 1).objects == ()
    monkeypatch.setattr(superseded, "DAY", -10.0)  # all of it is old
    [found] = superseded.all_of(["tiny", "absent"], project.latents, 1)
    assert {one.path.removeprefix(f"s3://{bucket_of(project)}/") for one in found.objects} == before - listed
    superseded.remove([found])
    assert set(keys(bucket_of(project))) == {*listed, "caches/tiny/mine.parquet"}
    assert project.look(deep=True).found == []


def test_what_the_manifest_in_the_store_lists_stays_whatever_is_here(project, codec, tmp_path, monkeypatch):
    other = opened(tmp_path / "other", codec, project.address)
    other.encode(rows=[*ROWS, row(9, caption="two")])
    monkeypatch.setattr(superseded, "DAY", -10.0)
    [found] = superseded.all_of(["tiny"], project.latents, 1)
    assert found.objects == ()


def test_of_a_cache_in_a_folder_nothing_is_superseded(made):
    assert superseded.all_of(["tiny"], made.latents, 1)[0].objects == ()
