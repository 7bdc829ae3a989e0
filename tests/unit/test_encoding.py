import dataclasses

import numpy as np
import pytest
import torch

from frostline import digests, encoding, params, records, store
from frostline.codec import Codec
from frostline.errors import Refused, WrongUse
from frostline.manifest import Row
from tests import tiny as tiny_cache

SETTINGS = records.parse(
    params.CacheParams,
    {"encode_batch": 2, "text_batch": 4, "threads": 1, "stored_dtype": "bfloat16", "preview_prompts": ["zero"]},
    origin="x",
)


def row(number, frames=1, caption="one", **changed):
    return dataclasses.replace(_row(number, frames, caption), **changed)


def prompt(number, caption, split="train"):
    return row(number, frames=0, caption=caption, medium="prompt", split=split)


def _row(number, frames, caption):
    return Row(
        id=f"row-{number}",
        source="tiny",
        item=f"item-{number}",
        split="train",
        locator="",
        medium="drawn",
        file="",
        offset=0,
        size=0,
        content=f"content-{number}",
        start=0,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=frames,
        height=16,
        width=16,
        source_width=16,
        source_height=16,
        source_frames=frames,
        source_fps=0.0,
        crop=(0, 0, 16, 16),
        captions=(caption,),
        weights=(1.0,),
        attributes="{}",
    )


ROWS = [*(row(n, caption=("one", "two")[n % 2]) for n in range(5)), row(5, frames=5, caption="three moving left")]


def pixels(given):
    drawn = np.random.default_rng(int(given.item.split("-")[1]))
    return drawn.integers(0, 256, (given.frames, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def codec(tiny_base):
    return Codec(tiny_base)


@pytest.fixture(scope="module")
def whole(codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    encoding.write_source(ROWS, pixels, codec, SETTINGS, folder)
    return folder


def test_every_row_is_stored_as_the_vae_s_mean_in_a_padded_batch(codec, whole):
    latents = store.Latents(whole)
    assert len(latents) == len(ROWS)
    assert latents.space == codec.latent_space
    last = next(n for n, item in enumerate(latents.items) if item.item == "item-4")
    alone = torch.from_numpy(pixels(ROWS[4]))[None]
    expected = codec.encode(alone.expand(2, -1, -1, -1, -1))[:1].bfloat16().float()
    assert torch.equal(latents.raw([last]), expected)


def test_every_distinct_caption_is_stored_once_and_found_again(codec, whole):
    latents = store.Latents(whole)
    manifest = latents.manifest
    tokens = sum(part["rows"] for part in manifest["parts"] if part["name"].startswith("text/"))
    texts = codec.encode_text(["", "one", "three moving left", "two", "zero"])
    assert tokens == sum(map(len, texts))
    for number, item in enumerate(latents.items):
        expected = codec.encode_text([item.captions[0]])[0]
        torch.testing.assert_close(latents.text(number), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.null(), texts[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.prompts()["zero"], texts[4], atol=1e-5, rtol=0)


def test_all_captions_of_a_row_are_stored_with_their_weights(codec, tmp_path):
    several = row(0, captions=("two", "one", "two  two"), weights=(1.0, 0.5, 3.0))
    encoding.write_source([several, row(1)], pixels, codec, SETTINGS, tmp_path)
    latents = store.Latents(tmp_path)
    first, second = latents.items
    assert (first.captions, first.weights) == (several.captions, several.weights)
    assert first.text_ids == tuple(encoding.text_id(caption, latents.space) for caption in first.captions)
    assert (second.captions, second.text_offsets) == (("one",), (first.text_offsets[1],))
    for caption, text in enumerate(codec.encode_text(first.captions)):
        torch.testing.assert_close(latents.text(0, caption), text, atol=1e-5, rtol=0)


def test_prompts_without_media_are_stored_as_text_alone(codec, tmp_path):
    rows = [prompt(0, "one"), prompt(1, "two moving left", "validation"), prompt(2, "one")]
    facts = encoding.write_source(rows, pixels, codec, SETTINGS, tmp_path)
    latents = store.Latents(tmp_path)
    assert facts["rows"] == {"prompts/train": 2, "prompts/validation": 1}
    assert len(latents) == 0
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*.parquet")} == {"prompts", "text"}
    stored = [(item.id, item.caption, item.split) for item in latents.prompt_items]
    assert stored == [("row-0", "one", "train"), ("row-1", "two moving left", "validation"), ("row-2", "one", "train")]
    for number, row_ in enumerate(rows):
        expected = codec.encode_text(row_.captions)[0]
        torch.testing.assert_close(latents.prompt_text(number), expected, atol=1e-5, rtol=0)
    assert latents.prompts().keys() == {"zero"}


def test_the_manifest_counts_rows_and_frozen_parameters(codec, whole):
    manifest = store.Latents(whole).manifest
    assert manifest["rows"] == {"1x16x16/train": 5, "5x16x16/train": 1}
    assert manifest["frozen_parameters"]["vae"] == sum(p.numel() for p in codec.vae.parameters())


def test_the_order_of_the_rows_changes_nothing(codec, whole, tmp_path):
    encoding.write_source(ROWS[::-1], pixels, codec, SETTINGS, tmp_path)
    assert digests.of_folder(tmp_path) == digests.of_folder(whole)


def test_a_killed_run_goes_on_after_its_last_part_to_the_same_bytes(codec, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PART_BYTES", 2 * 16 * 4 * 2)  # two images
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    encoding.write_source(ROWS, pixels, codec, SETTINGS, straight)
    asked = []

    def power_cut(given):
        asked.append(given.item)
        if given.item == "item-4":
            raise KeyboardInterrupt
        return pixels(given)

    def counted(given):
        asked.append(given.item)
        return pixels(given)

    with pytest.raises(KeyboardInterrupt):
        encoding.write_source(ROWS, power_cut, codec, SETTINGS, broken)
    assert asked == ["item-0", "item-1", "item-2", "item-3", "item-4"]
    asked.clear()
    encoding.write_source(ROWS, counted, codec, SETTINGS, broken)
    assert asked == ["item-4", "item-5"]
    assert digests.of_folder(broken) == digests.of_folder(straight)


@pytest.mark.parametrize(
    "changed",
    [{"content": "other"}, {"start": 4}, {"crop": (0, 0, 8, 8)}, {"frames": 5}, {"height": 24}, {"width": 24}],
)
def test_another_picture_is_another_latent(changed):
    space = tiny_cache.space()
    assert encoding.latent_id(row(0, **changed), space) != encoding.latent_id(row(0), space)


@pytest.mark.parametrize(
    "changed",
    [
        {"vae_digest": "c" * 32},
        {"encode_dtype": "bfloat16"},
        {"stored_dtype": "bfloat16"},
        {"input_range": (0.0, 1.0)},
        {"spatial_stride": 16},
        {"temporal_stride": 8},
    ],
)
def test_another_way_of_encoding_is_another_latent(changed):
    assert encoding.latent_id(row(0), tiny_cache.space(**changed)) != encoding.latent_id(row(0), tiny_cache.space())


def test_another_preprocessing_is_another_latent(monkeypatch):
    before = encoding.latent_id(row(0), tiny_cache.space())
    monkeypatch.setattr(encoding, "PREPROCESSING", encoding.PREPROCESSING + 1)
    assert encoding.latent_id(row(0), tiny_cache.space()) != before


@pytest.mark.parametrize(
    "changed",
    [
        {"latents_mean": (0.0,) * 4},
        {"latents_std": (1.0,) * 4},
        {"text_encoder_digest": "c" * 32},
        {"text_length": 9},
        {"null_prompt": "blurred"},
    ],
)
def test_what_does_not_change_a_latent_does_not_change_its_id(changed):
    assert encoding.latent_id(row(0), tiny_cache.space(**changed)) == encoding.latent_id(row(0), tiny_cache.space())
    other = dataclasses.replace(
        row(0), captions=("other", "more"), weights=(1.0, 2.0), item="other", split="test", locator="elsewhere"
    )
    assert encoding.latent_id(other, tiny_cache.space()) == encoding.latent_id(row(0), tiny_cache.space())


def test_the_id_of_a_plain_row_stays_what_it_is():
    """Latents that were made before clips were resampled and mirrored are found again."""
    plain, space = row(0, frames=5), tiny_cache.space()
    assert encoding.latent_id(row(0), space) == "060ff1929d0130c458bb1137b69062b9"
    shown = dataclasses.replace(plain, shown=(0, 1, 2, 3, 4), pts=(0, 1, 2, 3, 4), time_base=(1, 16))
    assert encoding.latent_id(shown, space) == encoding.latent_id(plain, space)


@pytest.mark.parametrize("changed", [{"shown": (0, 2, 4, 6, 8)}, {"flip": True}])
def test_another_choice_of_frames_and_a_mirrored_row_are_other_latents(changed):
    plain, space = row(0, frames=5), tiny_cache.space()
    assert encoding.latent_id(dataclasses.replace(plain, **changed), space) != encoding.latent_id(plain, space)


def test_a_text_id_is_of_the_cleaned_caption_and_its_encoder():
    space = tiny_cache.space()
    first = encoding.text_id("a  b ", space)
    assert first == encoding.text_id("a b", space)
    for other in ({"text_encoder_digest": "c" * 32}, {"text_length": 9}):
        assert encoding.text_id("a b", tiny_cache.space(**other)) != first
    assert encoding.text_id("a c", space) != first


def test_an_empty_manifest_is_wrong_use(codec, tmp_path):
    with pytest.raises(WrongUse, match="no rows"):
        encoding.write_source([], pixels, codec, SETTINGS, tmp_path)


def test_a_vae_that_gives_no_numbers_is_named_with_the_rows(tiny_base, tmp_path):
    broken = Codec(tiny_base)
    next(iter(broken.vae.parameters())).data.fill_(float("nan"))
    with pytest.raises(Refused, match=r"vae.*not finite.*row-0"):
        encoding.write_source(ROWS, pixels, broken, SETTINGS, tmp_path)
