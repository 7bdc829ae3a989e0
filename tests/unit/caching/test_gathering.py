import contextlib

import numpy as np
import pyarrow as pa
import pytest

from frostline import manifest
from frostline.caching import building, gathering, sorting, wanted
from frostline.caching.lengths import Lengths
from frostline.manifest import Columns, Row, columns
from frostline.store import keys
from tests import tiny
from tests.unit.caching.rows import prompt, row

PARAMS = tiny.cache_params(preview_prompts=["preview"])


@pytest.fixture
def gathered(tmp_path):
    """What the cache of rows is to hold."""
    with contextlib.ExitStack() as stack:

        def of(*rows):
            one = Columns.of(Row, rows)
            return stack.enter_context(gathering.gathered(one, tiny.space(), PARAMS, "cpu", tmp_path))

        yield of


@pytest.fixture
def few(monkeypatch):
    """Everything is done with a handful of rows at a time."""
    for module, name in ((sorting, "TOGETHER"), (sorting, "STRETCH"), (gathering, "EVERY"), (columns, "AT_ONCE")):
        monkeypatch.setattr(module, name, 3)


def text_id(caption):
    return wanted.text_id(caption, tiny.space(), PARAMS, "cpu")


def whole(sorter):
    return pa.concat_tables(sorter.tables())


def test_items_are_ordered_by_bucket_item_and_id(gathered):
    rows = [row(2), row(1, frames=5), row(1), row(0, id="z", item="item-1"), prompt(0, "one")]
    what = gathered(*rows)
    found = whole(what.shown).select(["frames", "item", "id"]).to_pylist()
    assert [tuple(one.values()) for one in found] == [
        (1, "item-1", "row-1"),
        (1, "item-1", "z"),
        (1, "item-2", "row-2"),
        (5, "item-1", "row-1"),
    ]
    assert whole(what.prompts)["id"].to_pylist() == ["row-0"]
    assert what.buckets == {(1, 16, 16): 3, (5, 16, 16): 1}
    assert what.counts == {"1x16x16/train": 3, "5x16x16/train": 1, "prompts/train": 1}


def test_texts_come_once_the_null_prompt_first_then_previews_then_by_the_first_item_that_has_them(gathered):
    rows = row(5, caption="late"), row(1, caption="shared"), row(3, caption="shared "), row(2, caption="early")
    what = gathered(*rows)
    assert whole(what.texts)["caption"].to_pylist() == ["", "preview", "shared", "early", "late"]
    assert what.previews == {"preview": text_id("preview")}


def test_what_guidance_steers_away_from_stands_with_the_previews(tmp_path):
    params = tiny.cache_params(preview_prompts=["preview"], negative_prompt="blurred")
    rows = Columns.of(Row, [row(1, caption="early")])
    with gathering.gathered(rows, tiny.space(), params, "cpu", tmp_path) as what:
        captions = whole(what.texts)["caption"].to_pylist()
        assert (captions[0], sorted(captions[1:3]), captions[3:]) == ("", ["blurred", "preview"], ["early"])
        assert what.negative == {"blurred": text_id("blurred")}
    ids = [one for part in gathering.text_ids(rows, tiny.space(), params, "cpu") for one in part.to_pylist()]
    assert set(ids) == {text_id(caption) for caption in captions}


def test_a_caption_that_is_an_item_s_as_well_as_a_preview_stands_with_the_previews(gathered):
    assert whole(gathered(row(1, caption="preview")).texts)["caption"].to_pylist() == ["", "preview"]


def test_many_rows_are_in_the_same_order_as_few(gathered, few):
    dice = np.random.default_rng(0)
    numbers = dice.permutation(500).tolist()
    rows = [row(n, frames=(1, 5, 9)[n % 3], caption=f"number {n % 190}", item=f"item-{n // 4:03d}") for n in numbers]
    what = gathered(*rows)
    found = [tuple(one.values()) for one in whole(what.shown).select(gathering.ORDER).to_pylist()]
    assert found == sorted((one.frames, 16, 16, one.item, one.id) for one in rows)
    firsts = {
        text_id(f"number {n}"): min(one.item for one in rows if one.captions == (f"number {n}",)) for n in range(190)
    }
    texts = whole(what.texts)
    assert texts["caption"].to_pylist()[:2] == ["", "preview"]
    assert [*zip(texts["item"].to_pylist()[2:], texts["text_id"].to_pylist()[2:], strict=True)] == sorted(
        (item, text) for text, item in firsts.items()
    )
    assert what.caption_bytes == gathering.caption_sizes(texts, tiny.space()).sum()


def test_latents_that_several_rows_share_are_noted_and_no_others(gathered, few):
    twins = [row(n, id=f"twin-{n}", content=f"content-{n}") for n in (3, 7)]
    what = gathered(*(row(n) for n in range(20)), *twins)
    shared = wanted.of_rows(Columns.of(Row, twins), tiny.space(), PARAMS, "cpu")
    assert what.repeated.tolist() == sorted(keys.of(shared)[:, 0].tolist())


def test_a_manifest_gives_the_same_from_its_file_as_from_memory(gathered, tmp_path, few):
    rows = [row(n, caption=f"number {n}") for n in range(20)]
    manifest.write(tmp_path / "manifest", rows, [])
    with gathering.gathered(manifest.stored(tmp_path / "manifest"), tiny.space(), PARAMS, "cpu", tmp_path) as stored:
        assert whole(stored.shown) == whole(gathered(*rows).shown)


def test_items_get_the_ids_and_lengths_of_all_their_captions(gathered):
    what = gathered(row(0, captions=("b", "a", "b "), weights=(1.0, 2.0, 3.0)))
    ids = {name: text_id(name) for name in "ab"}
    lengths = Lengths(2)
    lengths.add(keys.of_texts(ids.values()), np.array([4, 9]))
    lengths.sort()
    (item,) = building.items(whole(what.shown), lengths).select(["text_ids", "text_lengths"]).to_pylist()
    assert item == {"text_ids": [ids["b"], ids["a"], ids["b"]], "text_lengths": [9, 4, 9]}
