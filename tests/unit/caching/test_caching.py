import dataclasses
import shutil

import numpy as np
import pytest
import torch

from frostline import caching, digests, files
from frostline.caching import cutting, encoding, filling, wanted
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.errors import Refused, WrongUse
from frostline.manifest import Columns, Row
from frostline.store.layout import MANIFEST
from frostline.store.reading import Latents
from frostline.tiling import WHOLE, Tiling
from tests import tiny
from tests.unit.caching.rows import pixels, prompt, row

SETTINGS = tiny.cache_params()
ROWS = [*(row(n, caption=("one", "two")[n % 2]) for n in range(5)), row(5, frames=5, caption="three moving left")]


@pytest.fixture(scope="module")
def codec(tiny_base):
    return Codec(tiny_base)


def write(rows, codec, folder, pixels=pixels, source="tiny", settings=SETTINGS):
    """Make the cache of rows below a folder, with the pool there."""
    pool = Pool(folder / "pool", codec.latent_space)
    return caching.write_source(source, Columns.of(Row, rows), pixels, codec, settings, pool, folder / source)


@pytest.fixture(scope="module")
def whole(codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write(ROWS, codec, folder)
    return folder / "tiny"


def text(latents, number):
    """The tokens of a text, unpadded."""
    return torch.from_numpy(latents.texts.read(number).view(np.float32))


def counting(asked):
    """Pixels, noting of whom they were asked."""

    def counted(given):
        asked.append(given.item)
        return pixels(given)

    return counted


def test_every_row_is_stored_as_the_vae_s_mean_in_a_padded_batch(codec, whole):
    latents = Latents(whole)
    assert len(latents) == len(ROWS)
    assert latents.space == codec.latent_space
    last = [fact["item"] for fact in latents.facts("item")].index("item-4")
    alone = torch.from_numpy(pixels(ROWS[4]))[None]
    expected = codec.encode(alone.expand(2, -1, -1, -1, -1))[:1].bfloat16().float()
    assert torch.equal(latents.raw([last]), expected)


def test_large_frames_go_in_windows_and_small_ones_stay_what_they_were(codec, tmp_path):
    large = row(0, height=120, width=152, crop=(0, 0, 152, 120))
    shown = np.random.default_rng(0).integers(0, 256, (1, 120, 152, 3), dtype=np.uint8)
    asked = []

    class Noting(Codec):
        def encode(self, pixels, tiled=WHOLE):
            asked.append((tuple(pixels.shape[2:4]), tiled))
            return super().encode(pixels, tiled)

    noting = Noting(codec.base)
    settings = tiny.cache_params(most_pixels=104 * 104, stored_dtype="float32")
    rows = [large, row(1)]
    write(rows, noting, tmp_path, lambda one: shown if one.height == 120 else pixels(one), settings=settings)
    assert set(asked) == {((120, 152), Tiling(tile=104)), ((16, 16), WHOLE)}
    latents = Latents(tmp_path / "tiny")
    ids = {fact["item"]: fact["latent_id"] for fact in latents.facts("item", "latent_id")}
    plain = {one.item: wanted.latent_id(one, codec.latent_space, SETTINGS, "cpu") for one in rows}
    assert ids["item-0"] != plain["item-0"]
    assert ids["item-1"] == plain["item-1"]


def test_every_distinct_caption_is_stored_once_and_found_again(codec, whole):
    latents = Latents(whole)
    tokens = sum(part["rows"] for part in latents.manifest["parts"] if part["name"].startswith("text/"))
    texts = codec.encode_text(["", "one", "three moving left", "two", "zero"])
    assert tokens == sum(map(len, texts))
    for number, fact in enumerate(latents.facts("captions")):
        expected = codec.encode_text([fact["captions"][0]])[0]
        torch.testing.assert_close(text(latents, latents.text_number(number)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(text(latents, 0), texts[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(text(latents, latents.previews["zero"]), texts[4], atol=1e-5, rtol=0)


def test_what_guidance_steers_away_from_is_stored_beside_the_captions_and_else_unsaid(codec, whole, tmp_path):
    assert "negative" not in files.read_json(whole / MANIFEST)
    assert Latents(whole).negative == {}
    asked = []
    settings = tiny.cache_params(negative_prompt="eight nine")
    shutil.copytree(whole.parent / "pool", tmp_path / "pool")
    write(ROWS, codec, tmp_path, counting(asked), settings=settings)
    assert asked == []
    latents = Latents(tmp_path / "tiny")
    [(prompt_, number)] = latents.negative.items()
    assert (prompt_, latents.previews.keys()) == ("eight nine", {"zero"})
    torch.testing.assert_close(text(latents, number), codec.encode_text(["eight nine"])[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(text(latents, 0), codec.encode_text([""])[0], atol=1e-5, rtol=0)


def test_a_bfloat16_text_encoder_loses_nothing_in_half_the_bytes(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    path = base / "text_encoder" / "config.json"
    files.write_json(path, {**files.read_json(path), "dtype": "bfloat16"})
    half = Codec(base)
    write([prompt(0, "two moving left")], half, tmp_path)
    latents = Latents(tmp_path / "tiny")
    stored = latents.texts.read(latents.prompt_number(0))
    (expected, *_) = half.encode_text(["two moving left"] * 4)  # a batch is padded with its last
    assert torch.equal(torch.from_numpy(stored).view(torch.bfloat16).float(), expected)


def test_all_captions_of_a_row_are_stored_with_their_weights(codec, tmp_path):
    several = row(0, captions=("two", "one", "two  two"), weights=(1.0, 0.5, 3.0))
    write([several, row(1)], codec, tmp_path)
    latents = Latents(tmp_path / "tiny")
    first, second = latents.facts("captions", "text_ids")
    assert first["captions"] == list(several.captions)
    assert latents.weights(0).tolist() == [1.0, 0.5, 3.0]
    assert first["text_ids"] == [
        wanted.text_id(caption, latents.space, SETTINGS, "cpu") for caption in several.captions
    ]
    assert second["captions"] == ["one"]
    assert latents.text_number(1) == latents.text_number(0, caption=1)
    for caption, expected in enumerate(codec.encode_text(several.captions)):
        found = text(latents, latents.text_number(0, caption))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_prompts_without_media_are_stored_as_text_alone(codec, tmp_path):
    rows = [prompt(0, "one"), prompt(1, "two moving left", "validation"), prompt(2, "one")]
    facts = write(rows, codec, tmp_path)
    latents = Latents(tmp_path / "tiny")
    assert facts["rows"] == {"prompts/train": 2, "prompts/validation": 1}
    assert len(latents) == 0
    assert {part["name"].split("/")[0] for part in facts["parts"]} == {"captions", "prompts", "text"}
    stored = [(item.id, item.caption, item.split) for item in latents.prompt_items]
    assert stored == [("row-0", "one", "train"), ("row-1", "two moving left", "validation"), ("row-2", "one", "train")]
    for number, row_ in enumerate(rows):
        expected = codec.encode_text(row_.captions)[0]
        found = text(latents, latents.prompt_number(number))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert latents.previews.keys() == {"zero"}


def test_the_manifest_counts_rows_and_frozen_parameters(codec, whole):
    manifest = files.read_json(whole / MANIFEST)
    assert manifest["rows"] == {"1x16x16/train": 5, "5x16x16/train": 1}
    assert manifest["frozen_parameters"]["vae"] == sum(p.numel() for p in codec.vae.parameters())


def test_the_order_of_the_rows_changes_nothing(codec, whole, tmp_path):
    write(ROWS[::-1], codec, tmp_path)
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(whole)


def test_rows_of_equal_pixels_are_encoded_once(codec, tmp_path):
    asked = []
    twin = dataclasses.replace(row(0), id="twin", item="item-9", content="content-0", captions=("other",))
    write([row(0), twin], codec, tmp_path, counting(asked))
    assert asked == ["item-0"]
    latents = Latents(tmp_path / "tiny")
    assert torch.equal(latents.raw([0]), latents.raw([1]))


def test_rows_of_equal_pixels_are_encoded_once_however_far_apart(codec, tmp_path, small):
    asked = []
    rows = [row(n, id=f"id-{n:02d}", item=f"item-{n:02d}", content=f"content-{n % 9}") for n in range(40)]
    write(rows, codec, tmp_path, counting(asked))
    assert len(asked) == 9
    latents = Latents(tmp_path / "tiny")
    assert len([part for part in latents.manifest["parts"] if part["name"].startswith("items/")]) > 4
    assert all(torch.equal(latents.raw([n]), latents.raw([n % 9])) for n in range(40))


@pytest.fixture
def small(monkeypatch):
    """Units of one batch, windows and parts of a few rows."""
    monkeypatch.setattr(filling, "WINDOW", 2)
    monkeypatch.setattr(encoding, "UNIT_BATCHES", 1)
    monkeypatch.setattr(encoding, "UNIT_BYTES", 1)
    monkeypatch.setattr(cutting, "SMALLEST", 4 * 16 * 4 * 2)  # two images


def test_a_killed_run_goes_on_after_its_last_unit_to_the_same_bytes(codec, tmp_path, small):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    write(ROWS, codec, straight)

    def power_cut(given):
        if given.item == "item-4":
            raise KeyboardInterrupt
        return pixels(given)

    with pytest.raises(KeyboardInterrupt):
        write(ROWS, codec, broken, power_cut)
    assert not (broken / "tiny").exists()
    asked = []
    write(ROWS, codec, broken, counting(asked))
    assert asked[-2:] == ["item-4", "item-5"]
    assert "item-0" not in asked
    assert digests.of_folder(broken / "tiny") == digests.of_folder(straight / "tiny")


def test_only_what_is_new_is_encoded_and_the_bytes_are_those_of_a_run_from_nothing(codec, tmp_path, small):
    more = [*ROWS, *(row(n, caption="new") for n in (10, 11))]
    asked = []
    write(ROWS, codec, tmp_path / "grown")
    write(more, codec, tmp_path / "grown", counting(asked))
    assert sorted(asked) == ["item-10", "item-11"]
    write(more, codec, tmp_path / "fresh")
    assert digests.of_folder(tmp_path / "grown" / "tiny") == digests.of_folder(tmp_path / "fresh" / "tiny")


def test_what_was_taken_away_and_comes_back_is_not_encoded_again(codec, tmp_path, small):
    asked = []
    write(ROWS, codec, tmp_path)
    before = digests.of_folder(tmp_path / "tiny")
    write(ROWS[2:], codec, tmp_path, counting(asked))
    assert len(Latents(tmp_path / "tiny")) == 4
    write(ROWS, codec, tmp_path, counting(asked))
    assert asked == []
    assert digests.of_folder(tmp_path / "tiny") == before


def test_another_source_takes_what_is_there(codec, tmp_path):
    asked = []
    write(ROWS, codec, tmp_path)
    write(ROWS, codec, tmp_path, counting(asked), source="other")
    assert asked == []
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(tmp_path / "other")


def test_another_caption_leaves_the_latents_as_they_are(codec, tmp_path):
    asked = []
    write(ROWS, codec, tmp_path)
    said = [dataclasses.replace(one, captions=("said anew",)) for one in ROWS]
    write(said, codec, tmp_path, counting(asked))
    assert asked == []
    latents = Latents(tmp_path / "tiny")
    torch.testing.assert_close(
        text(latents, latents.text_number(0)), codec.encode_text(["said anew"])[0], atol=1e-5, rtol=0
    )


def test_parts_that_nothing_has_any_more_go_and_what_is_fresh_with_them(codec, tmp_path, small):
    pool = tmp_path / "pool"
    write(ROWS, codec, tmp_path)
    write([*ROWS, row(10), row(11)], codec, tmp_path)
    assert not list((pool / "fresh").rglob("*.parquet"))
    listed = {part["name"] for part in files.read_json(tmp_path / "tiny" / MANIFEST)["parts"]}
    kept = {path.relative_to(pool).as_posix() for path in pool.rglob("*.parquet")}
    assert kept == listed


def test_a_part_that_was_written_into_is_made_again(codec, tmp_path):
    write(ROWS, codec, tmp_path)
    before = digests.of_folder(tmp_path / "tiny")
    (part,) = (tmp_path / "tiny" / "items" / "1x16x16").iterdir()
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    asked = []
    write(ROWS, codec, tmp_path, counting(asked))
    assert sorted(asked) == [f"item-{n}" for n in range(5)]
    assert digests.of_folder(tmp_path / "tiny") == before


def test_without_its_pool_a_cache_is_made_from_nothing(codec, whole, tmp_path):
    write(ROWS, codec, tmp_path)
    shutil.rmtree(tmp_path / "pool")
    write(ROWS, codec, tmp_path)
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(whole)


def test_an_empty_manifest_is_wrong_use(codec, tmp_path):
    with pytest.raises(WrongUse, match="no rows"):
        write([], codec, tmp_path)


def test_a_vae_that_gives_no_numbers_is_named_with_the_rows(tiny_base, tmp_path):
    broken = Codec(tiny_base)
    next(iter(broken.vae.parameters())).data.fill_(float("nan"))
    named = [dataclasses.replace(one, locator=one.item) for one in ROWS]
    with pytest.raises(Refused, match=r"vae.*not finite.*item-0"):
        write(named, broken, tmp_path)
