import dataclasses

import pytest

from frostline.caching import wanted
from tests import tiny
from tests.unit.caching.rows import row


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
