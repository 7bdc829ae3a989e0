import shutil

import pytest
import torch

from frostline import dataset, files, latents
from frostline.dataset import Dataset
from frostline.errors import Refused, WrongUse
from frostline.store.layout import MANIFEST
from tests import tiny


@pytest.fixture
def root(tmp_path):
    return tmp_path / "latents"


def indexed(root, *names):
    files.write_json(root.parent / "latents.json", dataset.index(root, names))
    return Dataset(root.parent / "latents.json", root)


def test_sources_are_one_set_of_rows_in_the_order_of_their_names(root):
    tiny.cache(root / "b", seed=1)
    tiny.cache(root / "a", seed=0)
    rows = indexed(root, "b", "a")
    assert len(rows) == 40
    first, second = (tiny.raw(seed, tiny.IMAGES, 13, tiny.space()) for seed in (0, 1))
    images = rows.rows(tiny.IMAGES, "train").tolist()
    assert len(images) == 20
    assert torch.equal(rows.raw(images[:1]), first[:1])
    assert torch.equal(rows.raw(images[10:11]), second[:1])


def test_splits_are_kept_apart(root):
    tiny.cache(root / "a")
    rows = indexed(root, "a")
    train, validation = (set(rows.rows(tiny.CLIPS, split)) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (5, 2)
    assert not train & validation
    with pytest.raises(WrongUse, match=rf"test.*{tiny.IMAGES}"):
        rows.rows(tiny.CLIPS, "test")


def test_a_batch_is_normalised_padded_and_loses_the_captions_it_must(root):
    tiny.cache(root / "a")
    rows = indexed(root, "a")
    numbers = rows.rows(tiny.IMAGES, "train")[:2].tolist()
    batch = rows.batch(numbers, [False, True])
    expected = latents.normalise(tiny.raw(0, tiny.IMAGES, 13, tiny.space())[:2], tiny.space())
    texts = tiny.texts(tiny.space())
    assert torch.equal(batch.clean, expected)
    assert torch.equal(batch.text, latents.pad([texts[1], texts[0]], 6))
    assert batch.dropped.tolist() == [False, True]
    assert torch.equal(rows.null(), latents.pad([texts[0]], 6))
    assert torch.equal(rows.prompts()["two"], latents.pad([texts[2]], 6))


def test_guidance_steers_away_from_the_null_prompt_or_from_what_the_caches_name(root):
    tiny.cache(root / "a")
    plain = indexed(root, "a")
    assert plain.negative_prompt is None
    assert torch.equal(plain.negative(), plain.null())
    shutil.rmtree(root)
    tiny.cache(root / "a", negative="three")
    steered = indexed(root, "a")
    assert steered.negative_prompt == "three"
    assert torch.equal(steered.negative(), latents.pad([tiny.texts(tiny.space())[3]], 6))
    assert torch.equal(steered.null(), plain.null())
    assert list(steered.prompts()) == ["two"]


def test_sources_with_other_negative_prompts_are_not_one_dataset(root):
    tiny.cache(root / "a", negative="three")
    tiny.cache(root / "b")
    with pytest.raises(Refused, match=r"cache a and cache b hold other negative prompts, \['three'\] and \[\]"):
        indexed(root, "a", "b")


def test_a_batch_shows_the_captions_it_is_told_to_and_else_the_first(root):
    tiny.cache(root / "a", several=2)
    rows, texts = indexed(root, "a"), tiny.texts(tiny.space())
    numbers = rows.rows(tiny.IMAGES, "train")[:3].tolist()
    assert torch.equal(rows.batch(numbers).text, latents.pad([texts[1], texts[2], texts[3]], 6))
    chosen = rows.batch(numbers, [False, False, True], [1, 0, 1])
    assert torch.equal(chosen.text, latents.pad([texts[2], texts[2], texts[0]], 6))


def test_bytes_are_read_into_the_room_that_is_given_and_finished_apart_from_it(root):
    tiny.cache(root / "a", latent_space=tiny.space(stored_dtype="bfloat16"))
    rows = indexed(root, "a")
    numbers = rows.rows(tiny.IMAGES, "train")[:3].tolist()
    room = bytearray(rows.most(numbers))
    stored = rows.read(numbers, [False, True, False], room=memoryview(room))
    assert stored.data.obj is room
    assert stored.outline.lengths == (2, 1, 4)  # the second lost its caption
    assert len(stored.data) == 3 * 4 * 2 * 2 * 2 + 7 * 8 * 4
    finished, expected = rows.finish(stored), rows.batch(numbers, [False, True, False])
    room[:] = bytes(len(room))
    for mine, theirs in ((finished.clean, expected.clean), (finished.text, expected.text)):
        assert mine.dtype == torch.float32
        assert torch.equal(mine, theirs)
    assert finished.text.data_ptr() % 64 == 0


def test_texts_stored_in_bfloat16_take_half_the_bytes_and_are_read_as_what_they_are(root):
    tiny.cache(root / "a", latent_space=tiny.space(text_stored_dtype="bfloat16"))
    rows = indexed(root, "a")
    numbers = rows.rows(tiny.IMAGES, "train")[:2].tolist()
    stored = rows.read(numbers, [False, True])
    assert len(stored.data) == (2 + 1) * 8 * 2 + 2 * 4 * 2 * 2 * 4
    texts = [text.bfloat16().float() for text in tiny.texts(tiny.space())]
    batch = rows.finish(stored)
    assert batch.text.dtype == torch.float32
    assert torch.equal(batch.text, latents.pad([texts[1], texts[0]], 6))
    assert torch.equal(rows.prompts()["two"], latents.pad([texts[2]], 6))


def test_rows_of_several_buckets_are_no_batch(root):
    tiny.cache(root / "a")
    rows = indexed(root, "a")
    mixed = [int(rows.rows(bucket, "train")[0]) for bucket in (tiny.IMAGES, tiny.CLIPS)]
    for ask in (rows.read, rows.raw):
        with pytest.raises(WrongUse, match="several buckets"):
            ask(mixed)


def test_prompts_without_media_stand_beside_rows(root):
    tiny.prompts_cache(root / "a")
    tiny.cache(root / "b")
    rows, texts = indexed(root, "a", "b"), tiny.texts(tiny.space())
    assert len(rows) == 20
    train = rows.prompt_rows("train")
    assert [rows.prompt_items[row].caption for row in train] == ["one", "two", "three"]
    assert torch.equal(rows.prompt_texts(train[1:]), latents.pad(texts[2:], 6))
    assert [rows.prompt_items[row].split for row in rows.prompt_rows("validation")] == ["validation"] * 3
    with pytest.raises(WrongUse, match=r"test.*kind 'prompts'"):
        rows.prompt_rows("test")


def test_a_project_of_prompts_alone_has_no_rows_to_train_on_and_says_so(root):
    tiny.prompts_cache(root / "a")
    rows = indexed(root, "a")
    assert torch.equal(rows.null(), latents.pad(tiny.texts(tiny.space())[:1], 6))
    with pytest.raises(WrongUse, match="no rows"):
        rows.rows(tiny.IMAGES, "train")


def test_mixed_latent_spaces_are_refused_naming_the_field(root):
    tiny.cache(root / "a")
    tiny.cache(root / "b", latent_space=tiny.space(vae_digest="c" * 32))
    with pytest.raises(Refused, match=r"vae_digest.*cache a.*cache b"):
        dataset.index(root, ["a", "b"])


def test_a_folder_that_no_source_names_is_refused(root):
    tiny.cache(root / "a")
    (root / "older").mkdir()
    (root / ".gitignore").touch()
    with pytest.raises(WrongUse, match="older"):
        dataset.index(root, ["a"])


def test_no_sources_and_a_missing_cache_are_wrong_use(root):
    with pytest.raises(WrongUse, match="no source"):
        dataset.index(root, [])
    root.mkdir()
    with pytest.raises(WrongUse, match="no such file"):
        dataset.index(root, ["a"])


def test_the_index_names_its_data_by_digest(root):
    tiny.cache(root / "a")
    first = dataset.index(root, ["a"])
    assert first == dataset.index(root, ["a"])
    shutil.rmtree(root / "a")
    tiny.cache(root / "a", seed=5)
    assert dataset.index(root, ["a"])["digest"] != first["digest"]


def test_a_cache_that_was_not_indexed_is_refused(root):
    tiny.cache(root / "a")
    indexed(root, "a")
    shutil.rmtree(root / "a")
    tiny.cache(root / "a", seed=5)
    with pytest.raises(Refused, match="not the one that was indexed"):
        Dataset(root.parent / "latents.json", root)


def test_a_cache_of_another_vae_under_the_same_index_is_refused_naming_the_field(root):
    tiny.cache(root / "a")
    indexed(root, "a")
    shutil.rmtree(root / "a")
    tiny.cache(root / "a", latent_space=tiny.space(vae_digest="c" * 32))
    with pytest.raises(Refused, match=r"(?s)vae_digest.*dvc repro"):
        Dataset(root.parent / "latents.json", root)


def test_an_absent_manifest_is_named(root):
    tiny.cache(root / "a")
    indexed(root, "a")
    (root / "a" / MANIFEST).unlink()
    with pytest.raises(WrongUse, match=r"manifest\.json: no such file"):
        Dataset(root.parent / "latents.json", root)
