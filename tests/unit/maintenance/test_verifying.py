import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frostline import digests, files, records
from frostline.contract import LatentSpace
from frostline.maintenance import contents
from frostline.store import writing
from frostline.store.layout import MANIFEST
from tests.unit.caching.rows import row
from tests.unit.maintenance.project import CLIPS, IMAGES, apart, find, flip, sealed, written_anew


def latent(part, row=1):
    """The bytes of a latent."""
    return pq.read_table(part)["latent"][row].as_py()


def token(part, row=1):
    return pq.read_table(part)["embedding"][row].as_py()


def changed(cache, change):
    """Write a manifest anew with something else in it."""
    manifest = files.read_json(cache / MANIFEST)
    change(manifest)
    files.write_json(cache / MANIFEST, manifest)


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_cache_gives_no_line(made, deep):
    assert made.look(deep=deep).found == []
    (cache,) = made.look().caches
    assert cache.rows == 9


def test_a_part_cut_short(project):
    part = project.part(f"items/{IMAGES}")
    data = part.read_bytes()
    part.write_bytes(data[:-100])
    name = part.relative_to(project.latents / "tiny")
    cache, pool = project.lines()
    assert f"latents/tiny/{name}: has {len(data) - 100} bytes where the manifest says {len(data)}" in cache
    assert "frostline cache verify --repair" in cache
    assert f"pool/{name}: has {len(data) - 100} bytes where {len(data)} were written" in pool


def test_a_flipped_bit_of_a_latent_is_found_by_reading_every_row(project):
    part = project.part(f"items/{IMAGES}")
    facts = pq.read_table(part, columns=["item", "id"]).to_pylist()[1]
    flip(part, find(part, latent(part)))
    assert project.lines() == []
    digest, row, *pool = project.lines(deep=True)
    assert f"{part.name}: its digest is" in digest
    named = f"item {facts['item']}, id {facts['id']}"
    assert f"{part.name}, row 1 ({named}): its latent is not what its digest says" in row
    assert [line.split("/")[0] for line in pool] == ["pool", "pool"]


def test_a_flipped_bit_of_a_text_names_the_caption(project):
    part = project.part("text")
    captions = part.parent.with_name("captions") / part.name
    flip(part, find(part, token(part)))
    found = project.lines("tiny", deep=True)
    second = pq.read_table(captions).to_pylist()[1]
    assert len(found) == 4
    assert f'row 1 (text "{second["caption"]}", {second["text_id"]}): its tokens are not' in found[1]


@pytest.mark.parametrize("kind", [f"items/{IMAGES}", "captions", "text"])
def test_a_flipped_bit_of_a_footer(project, kind):
    part = project.part(kind)
    size = part.stat().st_size
    for place in range(size - 1500, size, 19):
        flip(part, place)
        found = project.lines("tiny", deep=True)
        assert found
        assert all(part.name in line for line in found), found
        flip(part, place)
    assert project.lines(deep=True) == []


def test_a_part_whose_end_is_gone_is_no_parquet_file(project):
    part = project.part(f"items/{CLIPS}")
    data = part.read_bytes()
    part.write_bytes(data[:-8] + b"\0" * 8)
    assert "not a parquet file, or cut short (Parquet magic bytes not found" in project.lines()[0]


def test_missing_parts_and_stray_files(project):
    part = project.part("text")
    part.unlink()
    shutil.copy(project.part("captions"), project.latents / "tiny" / "notes.parquet")
    stray, missing = project.lines()
    assert f"{part.name}: missing" in missing
    assert "tiny/notes.parquet: a file that the manifest does not list" in stray


def test_a_foreign_parquet_file(project):
    part = project.part(f"items/{IMAGES}")
    apart(part)
    pq.write_table(pa.table({"latent": [1.0]}), part)
    sealed(project.latents / "tiny", part)
    (line,) = project.lines()
    assert "lacks ['attributes', 'captions'" in line


def test_a_part_of_another_latent_space_names_the_field(project):
    part, space = project.part(f"items/{IMAGES}"), project.codec.latent_space
    other = records.parse(LatentSpace, {**space.model_dump(mode="json"), "vae_digest": "c" * 32}, origin="x")
    table = pq.read_table(part)
    data = np.frombuffer(b"".join(table["latent"].to_pylist()), np.uint8).reshape(len(table), -1)
    part.unlink()
    writing.write_items(part, other, (1, 16, 16), table, data, writing.row_digests(data))
    sealed(project.latents / "tiny", part)
    (line,) = project.lines()
    assert "vae_digest" in line
    assert "c" * 32 in line
    assert "\n" not in line


def test_a_cache_of_another_base_and_one_that_was_not_indexed(project):
    space = project.codec.latent_space
    other = records.parse(LatentSpace, {**space.model_dump(mode="json"), "text_dim": 7}, origin="x")
    (base,) = project.lines(base=other)
    assert "of another latent space than the base: text_dim differ" in base
    manifest = digests.of_file(project.latents / "tiny" / MANIFEST)
    assert project.lines(index={"sources": {"tiny": {"manifest": manifest}}}) == []
    for sources in ({"tiny": {"manifest": "0" * 32}}, {}):
        (line,) = project.lines(index={"sources": sources})
        assert "not the manifest that was indexed; run `dvc repro index`" in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["rows"].update({f"{IMAGES}/train": 5}), f"says 5 rows of {IMAGES}/train, its parts have 6"),
        (lambda m: m["parts"].pop(), "a file that the manifest does not list"),
        (lambda m: m["parts"][0].update(rows=3), "rows where the manifest says 3"),
        (lambda m: m["prompts"].update(more="0" * 32), "1 preview prompts have no text: " + "0" * 32),
        (lambda m: m.update(negative={"more": "0" * 32}), "1 negative prompts have no text: " + "0" * 32),
        (lambda m: m.pop("rows"), "missing key 'rows'"),
        (lambda m: m["parts"][0].update(name="items/x.parquet"), "no name of a part"),
    ],
)
def test_a_manifest_that_says_other_things(project, change, says):
    changed(project.latents / "tiny", change)
    assert any(says in line for line in project.lines()), project.lines()


def test_a_manifest_that_is_no_json(project):
    (project.latents / "tiny" / MANIFEST).write_text("{")
    (line,) = project.lines()
    assert "tiny/manifest.json: not a JSON file" in line


def test_a_source_without_a_cache_and_a_folder_of_no_source(project):
    project.sources = ["cats"]
    absent, unknown = project.lines()
    assert "latents/cats: no cache of this source; make it with `dvc repro`" in absent
    assert "latents/tiny: a cache of no source in params.yaml" in unknown


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "has 3 of 64 values that are not finite"),
        (float("inf"), "has 3 of 64 values that are not finite"),
    ],
)
def test_a_row_that_is_not_finite_is_named_though_its_digests_are_right(project, value, says):
    part = project.part(f"items/{IMAGES}")
    written_anew(project, part, lambda values: values[2, :3].fill_(value))
    (line,) = [line for line in project.lines("tiny", deep=True) if line.startswith("latents")]
    facts = pq.read_table(part, columns=["item", "id"]).to_pylist()[2]
    assert f"row 2 (item {facts['item']}, id {facts['id']}): {says}" in line


@pytest.mark.parametrize(("value", "says"), [(0.0, "is all zeros"), (0.5, "is 0.5 everywhere")])
def test_a_row_of_one_value_is_named_though_its_digests_are_right(project, value, says):
    part = project.part(f"items/{CLIPS}")
    written_anew(project, part, lambda values: values[0].fill_(value))
    (line,) = [line for line in project.lines("tiny", deep=True) if line.startswith("latents")]
    assert f"row 0 (item item-6, id row-6): {says}" in line


@pytest.mark.parametrize(
    ("value", "says"),
    [(float("nan"), "token 1 has 32 of 32 values that are not finite"), (0.0, "token 1 is all zeros")],
)
def test_a_token_that_no_encoder_gives_is_named_though_its_digests_are_right(project, value, says):
    part = project.part("text")
    captions, space = part.parent.with_name("captions") / part.name, project.codec.latent_space
    facts = pq.read_table(captions).to_pylist()
    number = next(number for number, fact in enumerate(facts) if fact["tokens"] > 1)
    data = np.frombuffer(b"".join(pq.read_table(part)["embedding"].to_pylist()), np.float32).reshape(-1, 32).copy()
    start = sum(fact["tokens"] for fact in facts[:number])
    data[start + 1] = value
    facts[number]["text_digest"] = digests.of_bytes(data[start : start + facts[number]["tokens"]].tobytes())
    table = pa.Table.from_pylist(facts, pq.read_schema(captions))
    for path in (part, captions):
        path.unlink()
    writing.write_text(part, space, table, data.view(np.uint8))
    writing.write_captions(captions, space, table)
    for path in (part, captions):
        sealed(project.latents / "tiny", path)
    (line,) = [line for line in project.lines("tiny", deep=True) if line.startswith("latents")]
    assert f'row {number} (text "{facts[number]["caption"]}", {facts[number]["text_id"]}): {says}' in line


def test_equal_rows_are_noted_and_are_no_failure(project):
    project.encode(rows=[row(0), row(0, id="twin", item="item-9"), row(1)])
    found = project.look(deep=True).found
    assert [(one.verdict, one.what) for one in found] == [("note", "1 of 3 rows have the latent of an earlier row")]


def test_captions_that_are_not_those_of_their_text(project):
    part = project.part("captions")
    apart(part)
    table = pq.read_table(part)
    writing.write_captions(part, project.codec.latent_space, table.slice(0, len(table) - 1))
    sealed(project.latents / "tiny", part)
    lines = project.lines("tiny")
    assert any("tokens, their text has" in line for line in lines)
    assert any("names 1 texts that no part of the cache holds" in line for line in lines)


def test_units_of_the_pool_that_are_damaged_and_what_killed_writers_left(project, small):
    with pytest.raises(KeyboardInterrupt):
        project.encode("other", [row(n) for n in range(10, 14)], stop="item-13")
    (unit,) = project.fresh("latents")
    assert project.lines() == []
    flip(unit, find(unit, latent(unit)))
    left = unit.with_name(f".{unit.name}.abc.parquet")
    left.write_bytes(b"half")
    lines = project.lines(deep=True)
    assert any(f"fresh/latents/{left.name}: left by a killed writer" in line for line in lines)
    assert any(f"fresh/latents/{unit.name}, row 1" in line for line in lines)


def test_each_file_is_read_once_under_all_its_names(project, monkeypatch):
    read = []
    plain = contents.latents
    monkeypatch.setattr(contents, "latents", lambda path: [read.append(path), plain(path)][1])
    project.look(deep=True)
    assert len(read) == len(list((project.latents / "tiny" / "items").rglob("*.parquet")))
