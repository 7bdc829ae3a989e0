import errno
import json
import os
import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from frostline import files
from frostline.errors import Refused, WrongUse
from frostline.store import layout, parts, payloads, writing
from frostline.store.layout import DTYPES, LATENT, MANIFEST
from frostline.store.reading import Latents
from tests import tiny

PART = f"items/{tiny.CLIPS}/{tiny.PART}"


@pytest.fixture
def folder(tmp_path):
    return tiny.cache(tmp_path / "cache")


def text(latents, number):
    """The tokens of a text, unpadded."""
    return torch.from_numpy(latents.texts.read(number).view(np.float32))


def refused(folder, *words):
    with pytest.raises(Refused) as caught:
        Latents(folder)
    for word in words:
        assert word in str(caught.value)


def sealed_anew(folder):
    """List what is there now, as somebody would who trusts digests alone."""
    tiny.seal(folder, tiny.space(), files.read_json(folder / MANIFEST)["rows"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_was_written_is_what_is_read(tmp_path, dtype):
    space = tiny.space(stored_dtype=dtype)
    latents = Latents(tiny.cache(tmp_path / "cache", latent_space=space))
    expected = tiny.raw(0, tiny.CLIPS, 7, space).to(DTYPES[dtype]).float()
    clips = np.concatenate([latents.rows(tiny.CLIPS, split) for split in ("train", "validation")])
    assert {latents.bucket(row) for row in clips} == {tiny.CLIPS}
    assert torch.equal(latents.raw(clips), expected)
    assert torch.equal(latents.raw([clips[4], clips[1]]), expected[[4, 1]])
    assert len(latents) == 20
    assert latents.space == space


def test_texts_are_read_unpadded_and_the_null_prompt_first(folder):
    latents, texts = Latents(folder), tiny.texts(tiny.space())
    assert torch.equal(text(latents, 0), texts[0])
    assert [fact["captions"] for fact in latents.facts("captions")[:3]] == [["one"], ["two"], ["three"]]
    for row in range(3):
        assert torch.equal(text(latents, latents.text_number(row)), texts[row + 1])
    assert torch.equal(text(latents, latents.previews["two"]), texts[2])


def test_tokens_of_another_dtype_than_the_contract_s_are_refused(folder):
    path = folder / "text" / tiny.PART
    table = pq.read_table(path)
    metadata = {**table.schema.metadata, b"frostline.tensor": json.dumps({"shape": [16], "dtype": "bfloat16"}).encode()}
    dictionary: Any = ["text_id"]  # the stubs know no lists
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="none", use_dictionary=dictionary)
    sealed_anew(folder)
    refused(folder, f"text/{tiny.PART}", "shape=(16,)", "shape=(8,)")


def test_every_caption_of_an_item_has_its_text(tmp_path):
    latents, texts = Latents(tiny.cache(tmp_path / "cache", several=2)), tiny.texts(tiny.space())
    assert latents.facts("captions")[2]["captions"] == ["three", "one"]
    assert latents.weights(2).tolist() == [2.0, 1.0]
    assert torch.equal(text(latents, latents.text_number(2)), texts[3])
    assert torch.equal(text(latents, latents.text_number(2, caption=1)), texts[1])


def test_no_column_of_a_part_and_no_element_of_a_list_may_be_null(folder):
    for field in pq.read_schema(folder / PART):
        assert not field.nullable
        assert not pa.types.is_list(field.type) or not field.type.value_field.nullable


def test_a_source_without_media_holds_prompts_and_their_texts(tmp_path):
    latents, texts = Latents(tiny.prompts_cache(tmp_path / "cache")), tiny.texts(tiny.space())
    assert (len(latents), latents.facts("id"), latents.buckets) == (0, [], [])
    assert latents.prompt_items == [*tiny.prompts("train"), *tiny.prompts("validation")]
    assert torch.equal(text(latents, latents.prompt_number(1)), texts[2])
    assert torch.equal(text(latents, 0), texts[0])
    assert torch.equal(text(latents, latents.previews["two"]), texts[2])


def test_a_changed_prompt_is_refused(tmp_path):
    part = tiny.prompts_cache(tmp_path / "cache") / "prompts" / tiny.PART
    data = part.read_bytes()
    part.write_bytes(data.replace(b"three", b"seven"))
    refused(tmp_path / "cache", f"prompts/{tiny.PART}", "digest")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_direct_reads_are_those_of_pyarrow_over_several_row_groups(tmp_path, monkeypatch, dtype):
    space = tiny.space(stored_dtype=dtype)
    rows = tiny.raw(3, tiny.IMAGES, 11, space)
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 4 * rows[0].nbytes)
    path = tmp_path / "part.parquet"
    tiny.write_items(path, space, tiny.IMAGES, tiny.items(tiny.IMAGES, {"train": 11}), rows)
    assert pq.ParquetFile(path).num_row_groups > 1
    column = pq.read_table(path)[LATENT].to_pylist()
    part = payloads.open_payload(path, LATENT, space)
    assert isinstance(part, payloads.Direct)
    assert part.rows == 11
    for start, count in ((0, 11), (3, 2), (7, 4), (10, 1)):
        assert payloads.read(part, start, count).tobytes() == b"".join(column[start : start + count])


def test_each_row_has_its_own_digest(folder):
    from frostline import digests

    table = pq.read_table(folder / PART).to_pylist()
    assert [digests.of_bytes(row["latent"]) for row in table] == [row["latent_digest"] for row in table]
    assert {row["vae_digest"] for row in table} == {tiny.space().vae_digest}


def test_the_same_rows_are_the_same_bytes(tmp_path):
    one, two = (tiny.cache(tmp_path / name) for name in ("one", "two"))
    assert (one / PART).read_bytes() == (two / PART).read_bytes()
    assert (one / MANIFEST).read_bytes() == (two / MANIFEST).read_bytes()


def test_a_part_cut_short_is_refused(folder):
    data = (folder / PART).read_bytes()
    (folder / PART).write_bytes(data[:-1])
    refused(folder, PART, "digest", "dvc repro")


def test_a_part_cut_short_after_opening_is_refused(folder):
    latents = Latents(folder)
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
    older = table.drop_columns(["text_ids"])
    pq.write_table(older, folder / PART, compression="none", use_dictionary=False, write_statistics=False)
    sealed_anew(folder)
    refused(folder, PART, "text_ids", "another version", "dvc repro")


def test_a_part_of_another_latent_space_is_refused_naming_the_field(folder):
    other = tiny.space(vae_digest="c" * 32)
    two = tiny.items(tiny.CLIPS, {"train": 2})
    tiny.write_items(folder / PART, other, tiny.CLIPS, two, tiny.raw(0, tiny.CLIPS, 2, other))
    sealed_anew(folder)
    refused(folder, PART, "vae_digest", "c" * 32)


def test_a_part_that_another_tool_compressed_is_read_all_the_same(folder):
    before = Latents(folder)
    rows = np.concatenate([before.rows(bucket, "train") for bucket in (tiny.CLIPS,)])
    expected = before.raw(rows)
    table = pq.read_table(folder / PART)
    pq.write_table(table, folder / PART, compression="zstd", row_group_size=2)
    assert isinstance(payloads.open_payload(folder / PART, LATENT, tiny.space()), payloads.Slow)
    sealed_anew(folder)
    assert torch.equal(Latents(folder).raw(rows), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"data_page_size": 200, "write_batch_size": 1},  # so few pages that their headers could be one long header
        {"use_dictionary": ["split"], "column_encoding": {LATENT: "BYTE_STREAM_SPLIT"}},
        {"use_dictionary": True},
    ],
)
def test_a_part_that_only_looks_plain_is_read_all_the_same(folder, options):
    rows = Latents(folder).rows(tiny.CLIPS, "train")
    expected, table = Latents(folder).raw(rows), pq.read_table(folder / PART)
    how: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False, **options}
    pq.write_table(table, folder / PART, **how)
    sealed_anew(folder)
    assert isinstance(payloads.open_payload(folder / PART, LATENT, tiny.space()), payloads.Slow)
    assert torch.equal(Latents(folder).raw(rows), expected)


def test_a_part_whose_rows_may_be_null_is_read_all_the_same(folder):
    rows = Latents(folder).rows(tiny.CLIPS, "train")
    expected, table = Latents(folder).raw(rows), pq.read_table(folder / PART)
    fields = [field.with_nullable(True) for field in table.schema]
    optional = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    pq.write_table(optional, folder / PART, compression="none", use_dictionary=False)
    sealed_anew(folder)
    assert isinstance(payloads.open_payload(folder / PART, LATENT, tiny.space()), payloads.Slow)
    assert torch.equal(Latents(folder).raw(rows), expected)


def test_texts_in_several_row_groups_of_another_tool_are_read_all_the_same(folder):
    part = folder / "text" / tiny.PART
    pq.write_table(pq.read_table(part), part, compression="zstd", row_group_size=3)
    sealed_anew(folder)
    latents = Latents(folder)
    for number, expected in enumerate(tiny.texts(tiny.space())):
        assert torch.equal(text(latents, number), expected)


def test_a_text_that_is_not_what_its_digest_says_is_refused_when_opened(folder):
    part = folder / "text" / tiny.PART
    data, bits = bytearray(part.read_bytes()), tiny.texts(tiny.space())[0].numpy().tobytes()
    data[data.index(bits)] ^= 1
    part.write_bytes(data)
    sealed_anew(folder)
    refused(folder, f"text/{tiny.PART}", "row 0 is not what its digest says")


def test_a_text_longer_than_the_contract_s_is_refused(tmp_path):
    tiny.cache(tmp_path / "cache", latent_space=tiny.space(text_length=3))
    refused(tmp_path / "cache", "captions", "4 tokens", "contract's 3")


@pytest.fixture
def kernel(monkeypatch):
    """What the kernel answers to a read of what is in memory; None lets it answer itself."""
    answers, read = {"error": None}, os.preadv

    def preadv(file, buffers, place, flags=0):
        if flags and answers["error"]:
            raise OSError(answers["error"], "as the kernel says it")
        return read(file, [buffers[0][:20]], place, flags)  # and a read may be short

    monkeypatch.setattr(os, "preadv", preadv)
    return answers


@pytest.mark.parametrize("error", [None, errno.EAGAIN, errno.EOPNOTSUPP])
def test_rows_are_whole_however_the_kernel_answers(folder, kernel, error):
    latents, reader = Latents(folder), parts.Reader()
    kernel["error"] = error
    expected = tiny.raw(0, tiny.IMAGES, 13, tiny.space())
    data = bytearray(expected.nbytes)
    assert reader.fill(memoryview(data), [latents.stretch(row) for row in range(13)]) == 13
    assert data == expected.numpy().tobytes()


def test_what_is_in_memory_is_not_waited_for(folder):
    latents, reader = Latents(folder), parts.Reader()
    data = memoryview(bytearray(4 * 4 * 2 * 2))
    reader.fill(data, [latents.stretch(0)])
    assert reader.fill(data, [latents.stretch(0)]) == 0


def test_a_row_that_is_not_what_its_digest_says_is_refused_when_opened(folder):
    table = pq.read_table(folder / PART)
    wrong = pa.array(["0" * 32] * len(table), pa.string())
    number = table.schema.get_field_index("latent_digest")
    swapped = table.set_column(number, table.schema.field("latent_digest"), wrong)
    pq.write_table(swapped, folder / PART, compression="none", use_dictionary=False)
    sealed_anew(folder)
    refused(folder, PART, "row 0 is not what its digest says")


def test_rows_are_compared_with_their_digests_now_and_then_while_read(folder, monkeypatch):
    latents = Latents(folder)
    first = int(latents.rows(tiny.CLIPS, "train")[0])
    data = (folder / PART).read_bytes()
    bits = tiny.raw(0, tiny.CLIPS, 7, tiny.space())[0].numpy().tobytes()
    place = data.index(bits)
    with (folder / PART).open("r+b") as file:
        file.seek(place)
        file.write(bytes([bits[0] ^ 1]))
    latents.raw([first])
    monkeypatch.setattr(parts, "SAMPLED", 1)
    with pytest.raises(Refused, match="row 0 is not what its digest says"):
        latents.raw([first])


def test_texts_are_compared_with_their_digests_now_and_then_while_read(folder, monkeypatch):
    latents, part = Latents(folder), folder / "text" / tiny.PART
    bits = tiny.texts(tiny.space())[2].numpy().tobytes()
    with part.open("r+b") as file:
        file.seek(part.read_bytes().index(bits))
        file.write(bytes([bits[0] ^ 1]))
    text(latents, 2)
    monkeypatch.setattr(parts, "SAMPLED", 1)
    with pytest.raises(Refused, match=r"text/.*row 3 is not what its digest says"):
        text(latents, 2)


def test_captions_and_their_texts_belong_together(folder):
    (folder / "captions" / tiny.PART).unlink()
    other = tiny.cache(folder.parent / "other")
    table = pq.read_table(other / "captions" / tiny.PART)
    pq.write_table(table.slice(1), folder / "captions" / tiny.PART)
    sealed_anew(folder)
    refused(folder, "captions", "digests of 9", "10 rows")


def test_a_folder_that_is_no_cache_is_wrong_use(tmp_path):
    with pytest.raises(WrongUse, match="no such file"):
        Latents(tmp_path)


def test_the_manifest_lists_rows_bytes_and_digests(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    parts = {part["name"]: part for part in manifest["parts"]}
    assert parts[PART]["rows"] == 7
    assert parts[PART]["bytes"] == (folder / PART).stat().st_size


def test_names_of_buckets():
    assert layout.bucket_name((5, 32, 48)) == "5x32x48"
    assert layout.bucket_of("5x32x48") == (5, 32, 48)
    for wrong in ("5x32", "axbxc", "5x-3x2", ""):
        with pytest.raises(WrongUse, match="frames x height x width"):
            layout.bucket_of(wrong)
