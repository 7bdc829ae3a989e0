import random
import shutil

import pyarrow.parquet as pq
import pytest

from frostline import files
from frostline.store.layout import MANIFEST
from frostline.store.reading import Latents
from tests.unit.caching.rows import row
from tests.unit.maintenance.project import CLIPS, IMAGES, ROWS, apart, find, flip, sealed, written_anew


def cell(part, column, number):
    return pq.read_table(part)[column][number].as_py()


def mended(project, made, lost, following=("dvc repro",)):
    """Repair, and make the cache again: exactly these items are encoded, and it is what it was."""
    repaired = project.repair()
    assert repaired.following(project.latents) == list(following)
    assert repaired.whole == (not following)
    assert project.encode() == lost
    assert project.digest() == made.digest()
    assert project.look(deep=True).found == []
    return repaired


def test_nothing_is_done_to_what_is_whole(project, made):
    before = {path: path.stat().st_ino for path in project.folder.rglob("*") if path.is_file()}
    assert mended(project, made, [], following=()).done == []
    assert {path.stat().st_ino for path in project.pool.folder.rglob("*.parquet")} <= set(before.values())


@pytest.mark.parametrize("number", [0, 3, 5])
def test_of_a_part_with_a_flipped_bit_one_row_is_encoded_again(project, made, number):
    part = project.part(f"items/{IMAGES}")
    item = cell(part, "item", number)
    flip(part, find(part, cell(part, "latent", number)))
    repaired = mended(project, made, [item])
    assert any("taken away; 5 row(s) of it saved" in line for line in repaired.done)
    assert project.fresh("latents") == []


def test_what_is_whole_in_the_pool_is_put_back_and_nothing_is_encoded(project, made):
    part = project.part(f"items/{IMAGES}")
    apart(part)
    flip(part, find(part, cell(part, "latent", 0)))
    text = project.part("text")
    text.unlink()
    repaired = project.repair()
    assert repaired.whole
    assert repaired.following(project.latents) == []
    assert sum("put back from the pool" in line for line in repaired.done) == 2
    assert project.digest() == made.digest()
    Latents(project.latents / "tiny")


def test_what_is_whole_in_the_cache_goes_into_a_pool_that_has_it_damaged_or_not_at_all(project, made):
    part = project.part(f"items/{IMAGES}")
    apart(part)
    flip(project.pooled(part), 100)
    for kind in ("captions", f"items/{CLIPS}"):
        project.pooled(project.part(kind)).unlink()
    assert project.repair().whole
    shutil.rmtree(project.latents / "tiny")  # as DVC does before it runs a stage
    assert project.encode() == []
    assert project.digest() == made.digest()


def test_a_cache_without_a_pool_fills_it(project, made):
    shutil.rmtree(project.pool.folder)
    mended(project, made, [], following=())
    project.encode(rows=[*ROWS, row(10)])
    listed = {part["name"] for part in files.read_json(project.latents / "tiny" / MANIFEST)["parts"]}
    assert {
        path.relative_to(project.pool.folder).as_posix() for path in project.pool.folder.rglob("*.parquet")
    } == listed


def test_rows_are_saved_from_either_copy(project, made):
    part = project.part(f"items/{IMAGES}")
    apart(part)
    flip(part, find(part, cell(part, "latent", 0)))
    flip(project.pooled(part), find(project.pooled(part), cell(part, "latent", 4)))
    mended(project, made, [])


@pytest.mark.parametrize("damage", ["cut", "footer", "missing"])
def test_of_a_part_that_cannot_be_read_all_rows_are_encoded_again(project, made, damage):
    part = project.part(f"items/{IMAGES}")
    data = part.read_bytes()
    if damage == "missing":
        project.pooled(part).unlink()
        part.unlink()
    else:
        part.write_bytes(data[:-200] if damage == "cut" else data[:-8] + b"\0" + data[-7:])
    mended(project, made, [f"item-{n}" for n in range(6)])


def test_of_texts_only_the_damaged_one_is_encoded_again(project, made, monkeypatch):
    part = project.part("text")
    captions = pq.read_table(part.parent.with_name("captions") / part.name).to_pylist()
    flip(part, find(part, cell(part, "embedding", captions[0]["tokens"])))
    asked = []
    plain = type(project.codec).encode_text
    monkeypatch.setattr(
        type(project.codec), "encode_text", lambda self, texts: asked.extend(texts) or plain(self, texts)
    )
    mended(project, made, [])
    assert set(asked) == {captions[1]["caption"]}


def test_damaged_captions_take_their_text_from_the_pool_and_come_back(project, made):
    part = project.part("captions")
    apart(part)
    flip(part, part.stat().st_size // 3)
    flip(project.pooled(part), part.stat().st_size // 3)
    mended(project, made, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_row_that_was_wrong_from_the_beginning_is_forced_through_dvc(project, made, value):
    part = project.part(f"items/{IMAGES}")
    written_anew(project, part, lambda values: values[2].fill_(value))
    again = ("dvc repro --force --single-item cache@tiny", "dvc repro")
    mended(project, made, [cell(part, "item", 2)], following=again)


def test_a_part_of_another_latent_space_saves_nothing(project, made):
    part, other = project.part(f"items/{IMAGES}"), "c" * 32
    table = pq.read_table(part)
    metadata = {
        key: value.replace(project.codec.latent_space.vae_digest.encode(), other.encode())
        for key, value in table.schema.metadata.items()
    }
    pooled = project.pooled(part)
    part.unlink()
    pq.write_table(table.replace_schema_metadata(metadata), pooled, compression="none", use_dictionary=False)
    part.hardlink_to(pooled)
    project.pool.keep(part.relative_to(project.latents / "tiny").as_posix())
    sealed(project.latents / "tiny", part)
    again = ("dvc repro --force --single-item cache@tiny", "dvc repro")
    mended(project, made, [f"item-{n}" for n in range(6)], following=again)


def test_stray_files_go_and_the_cache_stays_as_it_is(project, made):
    stray = project.latents / "tiny" / "items" / "foreign.parquet"
    pq.write_table(pq.read_table(project.part("captions")), stray)
    (project.latents / ".tiny.abc").mkdir()
    repaired = project.repair()
    assert repaired.whole
    assert not stray.exists()
    assert not (project.latents / ".tiny.abc").exists()
    assert project.digest() == made.digest()


def test_a_manifest_that_cannot_be_read_costs_no_row_even_without_a_pool(project, made):
    (project.latents / "tiny" / MANIFEST).write_text("{")
    shutil.rmtree(project.pool.folder)
    mended(project, made, [])


def test_a_manifest_that_disagrees_with_its_parts_is_made_anew(project, made):
    path = project.latents / "tiny" / MANIFEST
    values = files.read_json(path)
    files.write_json(path, {**values, "rows": {f"{IMAGES}/train": 7}})
    mended(project, made, [], following=("dvc repro --force --single-item cache@tiny", "dvc repro"))


def test_units_of_a_killed_run_keep_their_whole_rows(project, small):
    rows = [row(n) for n in range(10, 16)]
    with pytest.raises(KeyboardInterrupt):
        project.encode("other", rows, stop="item-14")
    units = project.fresh("latents")
    stored = sorted(one for unit in units for one in pq.read_table(unit)["latent"].to_pylist())
    flip(units[0], find(units[0], cell(units[0], "latent", 1)))
    left = units[0].with_name(f".{units[0].name}.x.parquet")
    left.write_bytes(b"half")
    orphan = project.pool.folder / "fresh" / "text" / "0.parquet"
    shutil.copy(project.part("text"), orphan)
    project.sources = ["tiny"]
    assert project.repair().whole
    assert not units[0].exists()
    assert not left.exists()
    assert not orphan.exists()
    kept = sorted(one for unit in project.fresh("latents") for one in pq.read_table(unit)["latent"].to_pylist())
    assert len(kept) == len(stored) - 1
    assert set(kept) < set(stored)
    assert len(project.encode("other", rows)) == 6 - len(kept)


def test_a_unit_with_a_flipped_bit_in_an_id_does_not_count_as_done(project, small):
    rows = [row(n) for n in range(10, 16)]
    with pytest.raises(KeyboardInterrupt):
        project.encode("other", rows, stop="item-14")
    unit = project.fresh("latents")[0]
    written = cell(unit, "latent_id", 1)
    flip(unit, find(unit, b"\x20\0\0\0" + written.encode()) + 4)  # after its length: statistics have it as well
    assert cell(unit, "latent_id", 1) != written
    project.repair()
    kept = {one for path in project.fresh("latents") for one in pq.read_table(path)["latent_id"].to_pylist()}
    assert len(project.encode("other", rows)) == 6 - (len(kept) - 1)
    assert project.look("other", deep=True).found == []


def test_claims_of_the_dead_and_digests_of_what_is_gone_are_swept(project):
    claim = project.pool.folder / "claims" / "unit"
    claim.parent.mkdir(exist_ok=True)
    claim.write_text("")
    record = project.pool.folder / "digests" / "text" / "gone.parquet.txt"
    record.write_text("0 0 0")
    project.repair()
    assert not claim.exists()
    assert not record.exists()


@pytest.mark.parametrize("text", ["{", "{}"])
def test_what_the_pool_keeps_in_mind_of_a_source_is_written_anew(project, made, text):
    record = project.pool.folder / "sources" / "tiny.json"
    before = record.read_bytes()
    record.write_text(text)
    assert any("sources/tiny.json" in line for line in project.lines())
    mended(project, made, [], following=())
    assert record.read_bytes() == before


def test_a_part_that_two_sources_share_is_mended_from_the_one_that_has_it(project, made):
    project.sources = ["tiny", "twin"]
    project.encode("twin")
    part = project.part(f"items/{IMAGES}")
    apart(part)
    for path in (part, project.pooled(part)):
        if path.stat().st_ino != project.part(f"items/{IMAGES}", "twin").stat().st_ino:
            flip(path, find(path, cell(path, "latent", 0)))
    project.pooled(part).unlink()
    repaired = project.repair()
    assert repaired.whole
    assert project.digest() == project.digest("twin") == made.digest()


def test_a_damaged_file_that_dvc_keeps_as_well_is_writable_when_it_goes(project):
    part = project.part(f"items/{IMAGES}")
    kept = project.folder / "dvc-object"
    kept.hardlink_to(part)
    flip(part, find(part, cell(part, "latent", 0)))
    kept.chmod(0o444)
    project.repair()
    assert kept.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("seed", range(16))
def test_whatever_happens_to_some_files_the_cache_comes_back_as_it_was(project, made, seed):
    drawn = random.Random(seed)  # noqa: S311 - no secret
    damaged = sorted(path for path in project.folder.rglob("*") if path.is_file() and "manifest" not in path.parts[-3:])
    for path in drawn.sample(damaged, 3):
        data = path.read_bytes()
        if data and drawn.random() < 0.7:
            flip(path, drawn.randrange(len(data)))
        elif data:
            path.write_bytes(data[: drawn.randrange(len(data))])
    project.repair()
    project.encode()
    assert project.digest() == made.digest()
    assert project.look(deep=True).found == []
