import dataclasses

import pytest

from frostline.caching import wanted
from frostline.manifest import Columns, Row
from tests import tiny
from tests.unit.caching.rows import prompt, row


def latent_id(row, space, device="cpu", **changed):
    return wanted.latent_id(row, space, tiny.cache_params(**changed), device)


def text_id(caption, space, device="cpu", **changed):
    return wanted.text_id(caption, space, tiny.cache_params(**changed), device)


@pytest.mark.parametrize(
    "changed",
    [{"content": "other"}, {"start": 4}, {"crop": (0, 0, 8, 8)}, {"frames": 5}, {"height": 24}, {"width": 24}],
)
def test_another_picture_is_another_latent(changed):
    space = tiny.space()
    assert latent_id(row(0, **changed), space) != latent_id(row(0), space)


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
    assert latent_id(row(0), tiny.space(**changed)) != latent_id(row(0), tiny.space())


@pytest.mark.parametrize("changed", [{"encode_batch": 3}, {"threads": 2}])
def test_what_moves_the_last_bits_is_another_latent(changed):
    assert latent_id(row(0), tiny.space(), **changed) != latent_id(row(0), tiny.space())
    assert latent_id(row(0), tiny.space(), text_batch=5) == latent_id(row(0), tiny.space())


@pytest.mark.parametrize("changed", [{"text_batch": 3}, {"threads": 2}])
def test_what_moves_the_last_bits_is_another_text(changed):
    assert text_id("a", tiny.space(), **changed) != text_id("a", tiny.space())
    assert text_id("a", tiny.space(), encode_batch=5) == text_id("a", tiny.space())


def test_another_kind_of_device_is_another_latent_and_another_text():
    one, space = row(0), tiny.space()
    assert latent_id(one, space, "cuda") != latent_id(one, space, "cpu")
    assert latent_id(one, space, "cuda", threads=2) == latent_id(one, space, "cuda")  # it does not ask the CPU's
    assert text_id("a", space, "cuda") != text_id("a", space, "cpu")
    both = wanted.latent_ids(one, space, tiny.cache_params())
    assert both == [latent_id(one, space, "cpu"), latent_id(one, space, "cuda")]
    assert wanted.text_ids("a", space, tiny.cache_params()) == [text_id("a", space, kind) for kind in ("cpu", "cuda")]


def test_windows_are_of_the_bucket_and_its_latents_alone():
    small, large, space = row(0), row(0, height=128, width=256, crop=(0, 0, 256, 128)), tiny.space()
    whole = {one.width: latent_id(one, space) for one in (small, large)}
    assert latent_id(small, space, most_pixels=128 * 128) == whole[16]
    assert latent_id(large, space, most_pixels=128 * 256) == whole[256]
    cut = [latent_id(large, space, most_pixels=side**2) for side in (120, 128)]
    assert len({*cut, whole[256]}) == 3
    assert wanted.tiled(128, 256, space, tiny.cache_params(most_pixels=128**2 + 5)).tile == 128


def test_another_preprocessing_is_another_latent(monkeypatch):
    before = latent_id(row(0), tiny.space())
    monkeypatch.setattr(wanted, "PREPROCESSING", wanted.PREPROCESSING + 1)
    assert latent_id(row(0), tiny.space()) != before


@pytest.mark.parametrize(
    "changed",
    [
        {"latents_mean": (0.0,) * 4},
        {"latents_std": (1.0,) * 4},
        {"text_encoder_digest": "c" * 32},
        {"text_length": 9},
        {"text_stored_dtype": "bfloat16"},
        {"null_prompt": "blurred"},
    ],
)
def test_what_does_not_change_a_latent_does_not_change_its_id(changed):
    assert latent_id(row(0), tiny.space(**changed)) == latent_id(row(0), tiny.space())
    other = dataclasses.replace(
        row(0), captions=("other", "more"), weights=(1.0, 2.0), item="other", split="test", locator="elsewhere"
    )
    assert latent_id(other, tiny.space()) == latent_id(row(0), tiny.space())


def test_frames_that_follow_each_other_are_the_plain_latent_however_they_are_named():
    plain, space = row(0, frames=5), tiny.space()
    shown = dataclasses.replace(plain, shown=(0, 1, 2, 3, 4), pts=(0, 1, 2, 3, 4), time_base=(1, 16))
    assert latent_id(shown, space) == latent_id(plain, space)


@pytest.mark.parametrize("changed", [{"shown": (0, 2, 4, 6, 8)}, {"flip": True}])
def test_another_choice_of_frames_and_a_mirrored_row_are_other_latents(changed):
    plain, space = row(0, frames=5), tiny.space()
    assert latent_id(dataclasses.replace(plain, **changed), space) != latent_id(plain, space)


def test_a_text_id_is_of_the_cleaned_caption_and_its_encoder():
    space = tiny.space()
    first = text_id("a  b ", space)
    assert first == text_id("a b", space)
    for other in ({"text_encoder_digest": "c" * 32}, {"text_length": 9}, {"text_stored_dtype": "bfloat16"}):
        assert text_id("a b", tiny.space(**other)) != first
    assert text_id("a c", space) != first


def _of(*rows: Row) -> wanted.Wanted:
    return wanted.of(Columns.of(Row, list(rows)), tiny.space(), tiny.cache_params(preview_prompts=["preview"]), "cpu")


def test_items_are_ordered_by_bucket_item_and_id():
    rows = [row(2), row(1, frames=5), row(1), row(0, id="z", item="item-1"), prompt(0, "one")]
    shown = _of(*rows).shown.records()
    assert [(one.frames, one.item, one.id) for one in shown] == [
        (1, "item-1", "row-1"),
        (1, "item-1", "z"),
        (1, "item-2", "row-2"),
        (5, "item-1", "row-1"),
    ]


def test_texts_come_once_the_null_prompt_first_then_previews_then_by_the_first_item_that_has_them():
    what = _of(row(5, caption="late"), row(1, caption="shared"), row(3, caption="shared "), row(2, caption="early"))
    assert what.captions["caption"].to_pylist() == ["", "preview", "shared", "early", "late"]
    assert what.previews == {"preview": text_id("preview", tiny.space())}


def test_a_caption_that_is_an_item_s_as_well_as_a_preview_stands_with_the_previews():
    assert _of(row(1, caption="preview")).captions["caption"].to_pylist() == ["", "preview"]


def test_items_get_the_ids_and_lengths_of_all_their_captions():
    what = _of(row(0, captions=("b", "a", "b "), weights=(1.0, 2.0, 3.0)))
    tokens = what.captions.append_column("tokens", [[n + 1 for n in range(len(what.captions))]])
    (item,) = wanted.items(what, tokens.select(["text_id", "tokens"])).to_pylist()
    ids = {name: text_id(name, tiny.space()) for name in "ab"}
    assert item["text_ids"] == [ids["b"], ids["a"], ids["b"]]
    place = what.captions["text_id"].to_pylist().index
    assert item["text_lengths"] == [place(ids[name]) + 1 for name in "bab"]
