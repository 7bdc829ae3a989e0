import collections

import pytest
import torch

from frostline import latents, records
from frostline.batches import WHOLE, Batches, Share
from frostline.errors import WrongUse
from frostline.params.trainings import BucketShare
from tests import tiny


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("batches"))


def batches(rows, *, images=4, clips=2, share=0.5, steps=120, dropout=0.5, seed=0):
    buckets = {
        tiny.IMAGES: records.parse(BucketShare, {"share": share, "batch": images}, origin="x"),
        tiny.CLIPS: records.parse(BucketShare, {"share": 1 - share, "batch": clips}, origin="x"),
    }
    return Batches(rows, buckets=buckets, steps=steps, dropout=dropout, seed=seed)


def test_a_step_s_rows_depend_on_the_step_alone(rows):
    forward, backward = batches(rows), batches(rows)
    straight = [forward.draws(step) for step in range(60)]
    assert [backward.draws(step) for step in reversed(range(60))] == straight[::-1]
    assert [batches(rows, seed=1).draws(step) for step in range(60)] != straight


def test_every_row_is_seen_once_in_an_epoch_and_orders_differ(rows):
    made = batches(rows)
    seen = collections.defaultdict(list)
    for step in range(60):
        for draw in made.draws(step):
            seen[made.bucket(step), draw.epoch].append(draw.row)
    images, later = seen[tiny.IMAGES, 0], seen[tiny.IMAGES, 1]
    assert sorted(images) == sorted(later) == rows.rows(tiny.IMAGES, "train").tolist()
    assert images != later
    assert sorted(seen[tiny.CLIPS, 3]) == rows.rows(tiny.CLIPS, "train").tolist()


def test_no_batch_is_short_and_each_is_of_one_bucket(rows):
    made = batches(rows, images=3)
    for step in range(40):
        draws = made.draws(step)
        bucket = made.bucket(step)
        assert len(draws) == {tiny.IMAGES: 3, tiny.CLIPS: 2}[bucket]
        assert {rows.bucket(draw.row) for draw in draws} == {bucket}


def test_a_batch_may_be_larger_than_the_data(rows):
    draws = batches(rows, clips=12).draws(1)
    assert sorted({draw.epoch for draw in draws}) == [0, 1, 2]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_shares_of_a_step_are_all_of_its_rows_each_once(rows, world):
    made = batches(rows, images=8, clips=8)
    for step in range(20):
        shares = [made.draws(step, Share(rank=rank, world=world)) for rank in range(world)]
        assert [draw for place in zip(*shares, strict=True) for draw in place] == made.draws(step)


def test_a_batch_takes_no_more_bytes_than_is_said(rows):
    made, share = batches(rows, images=7, clips=5), Share(rank=1, world=3)
    for given in (WHOLE, share):
        sizes = {len(made.read(step, given).data) for step in range(60)}
        assert max(sizes) <= made.most(given)
    assert made.most(share) < made.most()


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_buckets_take_turns_by_their_shares_evenly(rows, share):
    made = batches(rows, share=share)
    for end in range(1, 121):
        images = sum(made.bucket(step) == tiny.IMAGES for step in range(end))
        assert abs(images - share * end) <= 1


def test_captions_are_dropped_as_often_as_asked_and_anew_in_each_epoch(rows):
    made = batches(rows, dropout=0.3)
    dropped = collections.defaultdict(dict)
    for step in range(120):
        batch = made.at(step)
        for draw, gone in zip(made.draws(step), batch.dropped.tolist(), strict=True):
            dropped[draw.epoch][draw.row] = gone
    everything = [gone for epoch in dropped.values() for gone in epoch.values()]
    assert abs(sum(everything) / len(everything) - 0.3) < 0.08
    assert {row: dropped[0][row] for row in dropped[1]} != dropped[1]


def _shown(made, rows, steps=120):
    """Which caption each row was shown with, by (epoch, row)."""
    texts = [latents.pad([text], 6)[0] for text in tiny.texts(tiny.space())]
    captions = [fact["captions"] for source in rows.sources for fact in source.facts("captions")]
    shown = {}
    for step in range(steps):
        for draw, text in zip(made.draws(step), made.at(step).text, strict=True):
            caption = next(tiny.CAPTIONS[n] for n, one in enumerate(texts) if torch.equal(one, text))
            shown[draw.epoch, draw.row] = captions[draw.row].index(caption)
    return shown


def test_captions_are_chosen_by_weight_anew_in_each_epoch_and_by_the_key_alone(tmp_path):
    rows = tiny.data(tmp_path, several=2)
    shown = _shown(batches(rows, dropout=0.0), rows)
    assert abs(list(shown.values()).count(0) / len(shown) - 2 / 3) < 0.08
    assert len({tuple(shown[epoch, row] for epoch in range(8)) for row in rows.rows(tiny.IMAGES, "train")}) > 5
    assert _shown(batches(rows, dropout=0.0, images=7), rows, 20).items() <= shown.items()
    assert _shown(batches(rows, dropout=0.0, seed=1), rows) != shown


def test_dropped_captions_do_not_depend_on_how_many_there_are(rows, tmp_path):
    several = batches(tiny.data(tmp_path, several=2), dropout=0.5)
    for step in range(20):
        assert torch.equal(several.at(step).dropped, batches(rows, dropout=0.5).at(step).dropped)


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, {False}), (1.0, {True})])
def test_no_dropout_and_nothing_but(rows, dropout, expected):
    assert set(batches(rows, dropout=dropout).at(0).dropped.tolist()) == expected


def test_an_epoch_is_as_many_steps_as_the_rows_need(rows):
    assert batches(rows).steps_per_epoch == 5  # 15 rows, 3 rows a step on average


def test_a_bucket_without_rows_is_wrong_use(rows):
    share = records.parse(BucketShare, {"share": 1.0, "batch": 1}, origin="x")
    for buckets, says in (({"9x16x16": share}, "9x16x16"), ({}, "buckets is empty")):
        with pytest.raises(WrongUse, match=says):
            Batches(rows, buckets=buckets, steps=1, dropout=0.0, seed=0)
