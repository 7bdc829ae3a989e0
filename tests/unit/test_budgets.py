import dataclasses
from typing import Any

import pytest

from frostline import budgets, engine, records
from frostline.errors import Refused, WrongUse
from frostline.params.trainings import LoopParams, TrainParams
from tests import tiny

PATCH = (1, 1, 1)
EACH = {tiny.IMAGES: 4, tiny.CLIPS: 8}  # tokens of a row


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("budgets"))


def shares(**said: Any) -> dict[str, Any]:
    """Both buckets, the images as they are said."""
    return {tiny.IMAGES: {"share": 0.5, **said}, tiny.CLIPS: {"share": 0.5, "batch": 2}}


def resolved(tokens, parts=1, patch=PATCH):
    loop = tiny.train_params(buckets={name: {"share": 0.5, "tokens": tokens} for name in EACH})
    found = budgets.resolved(loop.buckets, tiny.space(), patch, parts)
    return {name: share.batch for name, share in found.items()}


def test_a_row_has_as_many_tokens_as_its_latent_has_patches():
    assert {name: budgets.row_tokens(name, tiny.space(), PATCH) for name in EACH} == EACH
    assert budgets.row_tokens(tiny.CLIPS, tiny.space(), (2, 2, 1)) == 2


def test_tokens_make_rows_and_what_is_left_over_is_left():
    assert resolved(24) == {tiny.IMAGES: 6, tiny.CLIPS: 3}
    assert resolved(27) == {tiny.IMAGES: 6, tiny.CLIPS: 3}
    assert resolved(28) == {tiny.IMAGES: 7, tiny.CLIPS: 3}


def test_rows_are_as_many_as_parts_divide():
    assert resolved(24, parts=2) == {tiny.IMAGES: 6, tiny.CLIPS: 2}
    assert resolved(24, parts=3) == {tiny.IMAGES: 6, tiny.CLIPS: 3}


def test_said_rows_stay_what_they_are():
    loop = tiny.train_params()
    assert budgets.resolved(loop.buckets, tiny.space(), PATCH, 1) == loop.buckets


@pytest.mark.parametrize(("parts", "least"), [(1, "one row: give 8"), (4, r"4 rows, .*: give 32")])
def test_tokens_that_make_no_row_are_refused_with_the_least_that_does(parts, least):
    loop = tiny.train_params(buckets={tiny.CLIPS: {"share": 1.0, "tokens": 7}})
    with pytest.raises(WrongUse, match=rf"buckets.5x16x16.tokens is 7: a row has 8 tokens.* {least} or more"):
        budgets.resolved(loop.buckets, tiny.space(), PATCH, parts)


def test_latents_smaller_than_a_patch_have_no_tokens_to_count():
    with pytest.raises(WrongUse, match=r"smaller than a patch of \(1, 4, 4\)"):
        resolved(24, patch=(1, 4, 4))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({}, "missing key 'buckets.1x16x16.batch'"),
        ({"batch": 4, "tokens": 8}, "unknown key 'buckets.1x16x16.batch'"),
        ({"tokens": 0}, "key 'buckets.1x16x16.tokens' has the value 0"),
        ({"batch": 0}, "key 'buckets.1x16x16.batch' has the value 0"),
    ],
)
def test_a_bucket_says_rows_or_tokens(said, names):
    with pytest.raises(WrongUse, match=names):
        tiny.train_params(buckets=shares(**said))


def test_a_budget_comes_back_as_it_was_said():
    loop = tiny.train_params(buckets=shares(tokens=16))
    assert records.parse(TrainParams, loop.model_dump(mode="json", exclude={"validate_every": {"epochs"}}), origin="x")
    assert loop.model_dump()["buckets"][tiny.IMAGES] == {"share": 0.5, "tokens": 16}
    assert isinstance(loop, LoopParams)


def test_a_training_by_tokens_is_the_one_of_as_many_rows(rows, tmp_path):
    counted = engine.run(tiny.job(tmp_path / "tokens", rows, buckets=shares(tokens=17)))
    said = engine.run(tiny.job(tmp_path / "rows", rows, buckets=shares(batch=4)))
    assert counted.progress == said.progress
    for ours, theirs in zip(counted.network.parameters(), said.network.parameters(), strict=True):
        assert ours.equal(theirs)


def test_a_checkpoint_of_other_rows_is_refused_with_both(rows, tmp_path):
    job = tiny.job(tmp_path, rows, buckets=shares(tokens=28), checkpoint_every=2)
    engine.run(job)
    compute = job.params.compute.model_copy(update={"accumulate": 2})
    with pytest.raises(Refused, match=r"rows: \{'1x16x16': 6\} \(ours\) against \{'1x16x16': 7\} \(theirs\)"):
        engine.run(dataclasses.replace(job, params=job.params.model_copy(update={"compute": compute})))


def test_said_rows_leave_what_a_checkpoint_belongs_to_as_it_was(rows, tmp_path):
    assert tiny.job(tmp_path, rows).belongs_to.keys() == {"contract", "dataset"}
