"""A team of one process with a group: what is true of many, without starting them."""

import dataclasses
import signal
import weakref
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from frostline import digests, engine, models, sharding
from frostline.errors import Preempted, WrongUse
from frostline.params.trainings import ComputeParams
from frostline.processes import ALONE, Team
from tests import tiny
from tests.unit.test_engine import stopped_at

COMPUTE: dict[str, Any] = {"dtype": "float32", "accumulate": 1, "recompute": False, "compile": False}


@pytest.fixture(scope="module")
def team():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    aside: Any = distributed.new_group(backend="gloo")
    yield Team(mesh=mesh, aside=aside)
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("sharding"))


@pytest.fixture(scope="module")
def alone(rows, tmp_path_factory):
    """The training of one process, as the default is."""
    return engine.run(tiny.job(tmp_path_factory.mktemp("alone"), rows)).network.state_dict()


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def sharded(folder, rows, team, **changed):
    return dataclasses.replace(tiny.job(folder, rows, **changed), team=team)


def weights(outcome):
    return sharding.gathered(outcome.network, leads=True)


def distance(one, other):
    """Relative L2 distance of two sets of weights."""
    apart = sum((tensor - other[name]).double().square().sum() for name, tensor in one.items())
    whole = sum(float(tensor.double().square().sum()) for tensor in one.values())
    return (float(apart) / whole) ** 0.5


def test_a_sharded_training_comes_to_the_weights_of_one_process(rows, team, alone, tmp_path):
    outcome = engine.run(sharded(tmp_path, rows, team))
    assert all(isinstance(p, DTensor) for p in outcome.network.parameters())
    assert distance(alone, weights(outcome)) < 1e-6


def test_looking_at_a_sharded_training_does_not_change_it(rows, team, tmp_path):
    straight = weights(engine.run(sharded(tmp_path / "one", rows, team)))
    looked_at = weights(engine.run(sharded(tmp_path / "two", rows, team, validate_every={"steps": 1})))
    assert all(torch.equal(tensor, looked_at[name]) for name, tensor in straight.items())


def test_a_sharded_training_that_was_stopped_goes_on_to_the_same_bits(rows, team, tmp_path):
    straight = weights(engine.run(sharded(tmp_path / "one", rows, team)))
    with pytest.raises(Preempted):
        engine.run(stopped_at(sharded(tmp_path / "two", rows, team), 3))
    again = weights(engine.run(sharded(tmp_path / "two", rows, team)))
    assert all(torch.equal(tensor, again[name]) for name, tensor in straight.items())


def test_a_checkpoint_of_shards_is_read_by_one_process(rows, team, alone, tmp_path):
    with pytest.raises(Preempted):
        engine.run(stopped_at(sharded(tmp_path, rows, team), 3))
    again = engine.run(tiny.job(tmp_path, rows)).network.state_dict()
    assert distance(alone, again) < 1e-6


def test_a_checkpoint_holds_what_was_there_when_it_was_asked_for(rows, team, tmp_path):
    """It is written while steps go on: they may not show in it."""
    straight = weights(engine.run(sharded(tmp_path / "one", rows, team, checkpoint_every=1, keep=KEEP)))
    for old in sorted((tmp_path / "one").glob("step-*"))[3:]:
        old.rename(tmp_path / old.name)
    again = weights(engine.run(sharded(tmp_path / "one", rows, team)))
    assert all(torch.equal(tensor, again[name]) for name, tensor in straight.items())


KEEP = {"last": 9, "best": 0, "milestones": None}


def test_bfloat16_computes_coarsely_on_fine_weights(rows, team, alone, tmp_path):
    outcome = engine.run(sharded(tmp_path, rows, team, compute={**COMPUTE, "dtype": "bfloat16"}))
    found = weights(outcome)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert 1e-5 < distance(alone, found) < 0.1


def test_timesteps_are_embedded_in_float32_where_blocks_compute_in_bfloat16(team):
    network = sharding.place(tiny.network(), ComputeParams(**dict[str, Any](COMPUTE, dtype="bfloat16")), team)
    seen = {}
    for name in ("condition_embedder.time_proj", "blocks.0.attn1.to_q", "proj_out"):
        watched = network.get_submodule(name)

        def see(_module: object, _given: object, out: torch.Tensor, name: str = name) -> None:
            seen[name] = out.dtype

        watched.register_forward_hook(see)
    network(torch.zeros(1, 4, 1, 2, 2), torch.tensor([999.4]), torch.zeros(1, 6, 8))
    assert seen["condition_embedder.time_proj"] == torch.float32
    assert (seen["blocks.0.attn1.to_q"], seen["proj_out"]) == (torch.bfloat16, torch.bfloat16)


def test_a_teacher_that_waits_on_the_host_says_the_same(team, monkeypatch):
    """On a CPU host and device are one: that every part is gathered from the host is seen, not what that saves."""
    policies: list[object] = []

    def seen(module, *, offload_policy, **others):
        policies.append(offload_policy)
        return fully_shard(module, offload_policy=offload_policy, **others)

    given = (torch.ones(1, 4, 1, 2, 2), torch.tensor([999.4]), torch.ones(1, 6, 8))
    compute = ComputeParams(**COMPUTE)
    there = sharding.place(tiny.network().requires_grad_(False), compute, team)
    monkeypatch.setattr(sharding, "fully_shard", seen)
    waits = sharding.place(tiny.network().requires_grad_(False), compute, team, offload=True)
    with torch.no_grad():
        assert torch.equal(there(*given)[0], waits(*given)[0])
    assert len(policies) > len(waits.blocks)
    assert all(isinstance(policy, CPUOffloadPolicy) for policy in policies)


def test_bfloat16_in_one_process_on_a_cpu_is_refused():
    with pytest.raises(WrongUse, match=r"compute\.dtype is bfloat16"):
        sharding.place(tiny.network(), ComputeParams(**dict[str, Any](COMPUTE, dtype="bfloat16")), ALONE)


def test_sharded_weights_are_written_one_at_a_time_to_the_bytes_of_one_process(tmp_path, rows, team, monkeypatch):
    network = sharding.place(tiny.network(), ComputeParams(**COMPUTE), team)
    whole, alive, most = DTensor.full_tensor, weakref.WeakSet[Any](), []

    def watched(tensor: DTensor, **named: Any) -> torch.Tensor:
        found = whole(tensor, **named).clone()
        storage = found.untyped_storage()
        most.append(sum(1 for one in alive if one.data_ptr() != storage.data_ptr()))
        alive.add(storage)
        return found

    monkeypatch.setattr(DTensor, "full_tensor", watched)
    meaning = tiny.job(tmp_path / "work", rows).contract
    models.write_weights(tmp_path / "sharded.safetensors", network.state_dict(), meaning)
    models.write_weights(tmp_path / "alone.safetensors", tiny.network().state_dict(), meaning)
    assert len(most) == len(network.state_dict())
    assert max(most) <= 1  # the one before, until the next takes its place
    assert digests.of_file(tmp_path / "sharded.safetensors") == digests.of_file(tmp_path / "alone.safetensors")


@pytest.mark.parametrize("objective", ["consistency_and_distribution", "flow_map"])
def test_a_sharded_student_and_what_moves_beside_it_come_to_the_same(rows, team, tmp_path, objective):
    """The teacher, the critic and the target are sharded as the student is."""
    teacher_folder, found = tiny.model(tmp_path / "teacher"), []
    for name, of in (("alone", ALONE), ("sharded", team)):
        student = tiny.mapping_params() if objective == "flow_map" else tiny.jumping_params(objective)
        (tmp_path / name).mkdir()
        job = tiny.distillation(tmp_path / name, rows, models.load(teacher_folder), student, team=of)
        found.append(sharding.gathered(engine.run(job).network, leads=True))
    assert distance(*found) < 1e-5
