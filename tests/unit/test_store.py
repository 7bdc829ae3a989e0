import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from frostline import files, store
from frostline.errors import Refused, WrongUse
from tests import tiny

PART = f"items/{tiny.CLIPS}/part-00000.parquet"


@pytest.fixture
def folder(tmp_path):
    return tiny.cache(tmp_path / "cache")


def refused(folder, *words):
    with pytest.raises(Refused) as caught:
        store.Latents(folder)
    for word in words:
        assert word in str(caught.value)


def sealed_anew(folder):
    """List what is there now, as somebody would who trusts digests alone."""
    manifest = files.read_json(folder / store.MANIFEST)
    facts = {name: manifest[name] for name in ("rows", "prompts", "frozen_parameters")}
    store.seal(folder, tiny.space(), facts)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_was_written_is_what_is_read(tmp_path, dtype):
    space = tiny.space(stored_dtype=dtype)
    latents = store.Latents(tiny.cache(tmp_path / "cache", latent_space=space))
    expected = tiny.raw(0, tiny.CLIPS, 7, space).to(store.DTYPES[dtype]).float()
    clips = [row for row, bucket in enumerate(latents.buckets) if bucket == tiny.CLIPS]
    assert torch.equal(latents.raw(clips), expected)
    assert torch.equal(latents.raw([clips[4], clips[1]]), expected[[4, 1]])
    assert len(latents) == 20
    assert latents.space == space


def test_texts_are_read_unpadded_and_the_null_prompt_first(folder):
    latents, texts = store.Latents(folder), tiny.texts(tiny.space())
    assert torch.equal(latents.null(), texts[0])
    assert [item.captions for item in latents.items[:3]] == [("one",), ("two",), ("three",)]
    for row in range(3):
        assert torch.equal(latents.text(row), texts[row + 1])
    assert torch.equal(latents.prompts()["two"], texts[2])


def test_every_caption_of_an_item_has_its_text(tmp_path):
    latents, texts = store.Latents(tiny.cache(tmp_path / "cache", several=2)), tiny.texts(tiny.space())
    assert latents.items[2].captions == ("three", "one")
    assert latents.items[2].weights == (2.0, 1.0)
    assert torch.equal(latents.text(2), texts[3])
    assert torch.equal(latents.text(2, caption=1), texts[1])


def test_no_column_of_a_part_and_no_element_of_a_list_may_be_null(folder):
    for field in pq.read_schema(folder / PART):
        assert not field.nullable
        assert not pa.types.is_list(field.type) or not field.type.value_field.nullable


def test_a_source_without_media_holds_prompts_and_their_texts(tmp_path):
    latents, texts = store.Latents(tiny.prompts_cache(tmp_path / "cache")), tiny.texts(tiny.space())
    assert (len(latents), latents.items, latents.buckets) == (0, [], [])
    assert latents.prompt_items == [*tiny.prompts("train"), *tiny.prompts("validation")]
    assert torch.equal(latents.prompt_text(1), texts[2])
    assert torch.equal(latents.null(), texts[0])
    assert torch.equal(latents.prompts()["two"], texts[2])


def test_a_changed_prompt_is_refused(tmp_path):
    part = tiny.prompts_cache(tmp_path / "cache") / "prompts" / "part-00000.parquet"
    data = part.read_bytes()
    part.write_bytes(data.replace(b"three", b"seven"))
    refused(tmp_path / "cache", "prompts/part-00000.parquet", "digest")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_direct_reads_are_those_of_pyarrow_over_several_row_groups(tmp_path, monkeypatch, dtype):
    space = tiny.space(stored_dtype=dtype)
    rows = tiny.raw(3, tiny.IMAGES, 11, space)
    monkeypatch.setattr(store, "ROW_GROUP_BYTES", 4 * rows[0].nbytes)
    path = tmp_path / "part.parquet"
    store.write_items(path, space, tiny.items(tiny.IMAGES, {"train": 11}), rows)
    assert pq.ParquetFile(path).num_row_groups > 1
    column = pq.read_table(path)[store.LATENT].to_pylist()
    part = store.payload(path, store.LATENT, space)
    assert part.rows == 11
    for start, count in ((0, 11), (3, 2), (7, 4), (10, 1)):
        read = part.read(start, count)
        assert read.contiguous().view(torch.uint8).numpy().tobytes() == b"".join(column[start : start + count])


def test_each_row_has_its_own_digest(folder):
    from frostline import digests

    table = pq.read_table(folder / PART).to_pylist()
    assert [digests.of_bytes(row["latent"]) for row in table] == [row["latent_digest"] for row in table]
    assert {row["vae_digest"] for row in table} == {tiny.space().vae_digest}


def test_the_same_rows_are_the_same_bytes(tmp_path):
    one, two = (tiny.cache(tmp_path / name) for name in ("one", "two"))
    assert (one / PART).read_bytes() == (two / PART).read_bytes()
    assert (one / store.MANIFEST).read_bytes() == (two / store.MANIFEST).read_bytes()


def test_a_part_cut_short_is_refused(folder):
    data = (folder / PART).read_bytes()
    (folder / PART).write_bytes(data[:-1])
    refused(folder, PART, "digest", "dvc repro")


def test_a_part_cut_short_after_opening_is_refused(folder):
    latents = store.Latents(folder)
    with (folder / PART).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(Refused, match="bytes too early"):
        latents.raw([len(latents) - 1])


def test_one_flipped_bit_is_refused(folder):
    data = bytearray((folder / PART).read_bytes())
    data[len(data) // 3] ^= 1
    (folder / PART).write_bytes(data)
    refused(folder, PART, "digest")


def test_a_missing_part_is_named(folder):
    (folder / PART).unlink()
    refused(folder, "missing", PART)


def test_an_unlisted_file_is_named(folder):
    shutil.copy(folder / PART, folder / "items" / "stray.parquet")
    refused(folder, "unlisted", "items/stray.parquet")


def test_a_foreign_parquet_file_is_refused(folder):
    pq.write_table(pa.table({"latent": [1.0]}), folder / PART)
    sealed_anew(folder)
    refused(folder, PART, "not a latent cache of Frostline")


def test_a_part_of_another_version_is_refused_naming_what_it_lacks(folder):
    table = pq.read_table(folder / PART)
    older = table.drop_columns(["captions"])
    pq.write_table(older, folder / PART, compression="none", use_dictionary=False, write_statistics=False)
    sealed_anew(folder)
    refused(folder, PART, "captions", "another version", "dvc repro")


def test_a_part_of_another_latent_space_is_refused_naming_the_field(folder):
    other = tiny.space(vae_digest="c" * 32)
    store.write_items(folder / PART, other, tiny.items(tiny.CLIPS, {"train": 2}), tiny.raw(0, tiny.CLIPS, 2, other))
    sealed_anew(folder)
    refused(folder, PART, "vae_digest", "c" * 32)


def test_a_compressed_part_is_refused(folder):
    table = pq.read_table(folder / PART)
    pq.write_table(table, folder / PART, compression="zstd")
    sealed_anew(folder)
    refused(folder, PART, "plain uncompressed page")


def test_a_folder_that_is_no_cache_is_wrong_use(tmp_path):
    with pytest.raises(WrongUse, match="no such file"):
        store.Latents(tmp_path)


def test_the_manifest_lists_rows_bytes_and_digests(folder):
    manifest = json.loads((folder / store.MANIFEST).read_text())
    parts = {part["name"]: part for part in manifest["parts"]}
    assert parts[PART]["rows"] == 7
    assert parts[PART]["bytes"] == (folder / PART).stat().st_size


def test_names_of_buckets():
    assert store.bucket_name((5, 32, 48)) == "5x32x48"
    assert store.bucket_of("5x32x48") == (5, 32, 48)
    for wrong in ("5x32", "axbxc", "5x-3x2", ""):
        with pytest.raises(WrongUse, match="frames x height x width"):
            store.bucket_of(wrong)
