import dataclasses
from pathlib import Path

import pytest
import torch

from frostline import failing
from frostline.errors import FrostlineError
from tests import tiny

GPU = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.25 GiB is free."
    " Process 1 has 77.85 GiB memory in use."
)
SYSTEM = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you asked for 9 bytes"


@pytest.fixture
def job(tmp_path):
    return tiny.job(tmp_path / "work", tiny.data(tmp_path))


def said(job, error):
    with pytest.raises(FrostlineError) as caught, failing.memory_explained(job):
        raise error
    return str(caught.value)


def test_memory_that_does_not_suffice_says_by_how_much_and_what_to_lower(job):
    message = said(job, torch.OutOfMemoryError(GPU))
    assert "out of memory by 1.25 GiB (2.50 GiB asked for, 1.25 GiB free)" in message
    assert "compute.recompute: true" in message
    assert "raise compute.accumulate (now 1)" in message
    assert "lower buckets.5x16x16.batch (now 2)" in message  # ten times the pixels of four images


def test_what_is_already_done_is_not_advised(job):
    compute = job.params.compute.model_copy(update={"recompute": True, "accumulate": 2})
    job = dataclasses.replace(job, params=job.params.model_copy(update={"compute": compute}))
    message = said(job, torch.OutOfMemoryError(GPU))
    assert "recompute" not in message
    assert "accumulate" not in message
    assert "lower buckets" in message


ADAPTER = {"rank": 1, "alpha": 1.0, "targets": ["to_q"]}
BITS = {**tiny.train_params().optimizer.model_dump(), "state_bits": 8}


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [
        ("adapter.offload: true", {"adapter": ADAPTER}, {"adapter": {**ADAPTER, "offload": True}}),
        ("adapter.frozen_dtype", {"adapter": ADAPTER}, {"adapter": {**ADAPTER, "frozen_dtype": "float8_e4m3fn"}}),
        ("optimizer.state_bits: 8", {}, {"optimizer": BITS}),
    ],
)
def test_memory_can_be_saved_where_it_is_not_yet(job, asked, before, after):
    for changed, advised in ((before, True), (after, False)):
        run = tiny.tuned_params(Path("models/start"), **changed)
        assert (asked in said(dataclasses.replace(job, params=run), torch.OutOfMemoryError(GPU))) == advised


def test_a_teacher_may_wait_on_the_host(job):
    for waits in (False, True):
        student = dataclasses.replace(job, params=tiny.student_params(offload_teacher=waits))
        assert ("offload_teacher: true" in said(student, torch.OutOfMemoryError(GPU))) != waits
    assert "teacher" not in said(job, torch.OutOfMemoryError(GPU))


def test_the_system_s_memory_is_explained_as_well(job):
    assert "lower buckets" in said(job, RuntimeError(SYSTEM))


def test_other_errors_stay_what_they_are(job):
    with pytest.raises(RuntimeError, match="shapes"), failing.memory_explained(job):
        raise RuntimeError("shapes cannot be multiplied")


def test_only_the_rows_that_are_wrong_are_named(job):
    ids = job.dataset.ids("id")
    losses = torch.tensor([1.0, float("inf")])
    message = failing.not_finite(job, 7, [3, 4], losses, torch.tensor(float("nan")), Path("step-5"))
    assert f"loss of step 7 is inf; its rows are ['{ids[4]}']" in message
    assert "last good checkpoint is step-5" in message


def test_a_gradient_that_is_no_number_is_said_with_all_rows(job):
    message = failing.not_finite(job, 7, [3, 4], torch.ones(2), torch.tensor(float("nan")), None)
    assert "gradient of step 7 has the norm nan where the loss is 1" in message
    assert all(job.dataset.ids("id")[row] in message for row in (3, 4))
    assert "there was none yet" in message
