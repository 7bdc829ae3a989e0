"""Parts of memory against a step of the engine's own parts, in which every tensor's bytes are counted."""

import copy
import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frostline import averages, eight_bit, schedule, sharding, speed, starts
from frostline.averages import OfPart
from frostline.ema import Average
from frostline.estimating import machines, memory, networks, work
from frostline.estimating.memory import Bucket, Learning
from frostline.estimating.walking import Held
from frostline.muon import orthogonal
from frostline.objectives import critic as of_critic
from frostline.objectives import distribution_matching, teaching, times
from frostline.objectives.times import Simulated
from frostline.optimizer import Optimizer
from frostline.params.trainings import AdapterParams, LaunchParams
from frostline.processes import Team
from frostline.wan import loading
from tests import tiny
from tests.unit.estimating import measuring

ROWS = 4
ADAMW = {**tiny.train_params().optimizer.model_dump(), "muon_rate": None}
COMPUTE = {"dtype": "float32", "accumulate": 1, "recompute": False, "compile": False}
EIGHT_BITS = {**ADAMW, "state_bits": 8}
FLOAT8 = "float8_e4m3fn"
ADAPTER = AdapterParams(rank=2, alpha=2.0, targets=("to_q", "to_k", "to_v", "to_out.0"))


def machine(**launch: Any) -> machines.Machine:
    facts: dict[str, Any] = {"device": "auto", "nodes": 1, "gpus_per_node": 1, "rendezvous": None, **launch}
    device = "cuda" if facts["device"] == "cuda" else "cpu"
    return machines.of_params(LaunchParams(**facts), device, bfloat16=None, float32=None, utilisation=None, price=None)


def learning(network: networks.Network, **changed: Any) -> Learning:
    params = tiny.train_params(optimizer=changed.pop("optimizer", tiny.train_params().optimizer.model_dump()))
    facts: dict[str, Any] = {
        "network": network,
        "teacher": None,
        "moved": networks.moved(network, params.optimizer),
        "buckets": [Bucket(name="9x64x64", share=1.0, batch=ROWS, row=measuring.row(network))],
        "dtype": "float32",
        "accumulate": 1,
        "recompute": False,
    }
    return Learning(**{**facts, **changed})


def values(of: Learning, on: machines.Machine) -> dict[str, float]:
    return {figure.name: figure.value for figure in memory.figures(of, on)}


class Step:
    """One step after a first one, and the most that was held while it learned and while the optimiser moved."""

    def __init__(self, network: networks.Network, optimizer: Any, *, accumulate: int, recompute: bool) -> None:
        self.held = Held()
        shared = [eight_bit.levels(torch.device("cpu"), signed=signed) for signed in (True, False)]
        angles = 2 * sum(buffer.nbytes for buffer in network.module.buffers())  # the average's are a copy
        with self.held:
            self.take(network.module)
            average = Average(network.module, 0.9)
            for tensor in shared if "state_bits" in optimizer.model_fields_set else []:
                angles += tensor.nbytes
                self.held.take(tensor)
            if recompute:
                network.module.enable_gradient_checkpointing()
            moving = Optimizer(network.module, optimizer, 10)
            for number in range(2):
                self.held.most = self.held.now
                for _ in range(accumulate):
                    (measuring.loss(network.module, measuring.batch(ROWS // accumulate)) / accumulate).backward()
                self.learned, self.held.most = self.held.most - angles, self.held.now
                moving.clip()
                moving.step(number)
                average.follow(network.module, number)
                self.moved, self.between = self.held.most - angles, self.held.now - angles

    def take(self, module: Any) -> None:
        for tensor in [*module.parameters(), *module.buffers()]:
            self.held.take(tensor)


@pytest.mark.parametrize(
    "optimizer", [tiny.train_params().optimizer.model_dump(), ADAMW, EIGHT_BITS], ids=["muon", "adamw", "8bit"]
)
@pytest.mark.parametrize(("accumulate", "recompute"), [(1, False), (2, False), (1, True)])
def test_the_most_that_a_step_holds(optimizer, accumulate, recompute):
    network = measuring.network(layers=4)
    params = tiny.train_params(optimizer=optimizer)
    of = learning(network, optimizer=optimizer, accumulate=accumulate, recompute=recompute)
    expected = values(of, machine())
    step = Step(network, params.optimizer, accumulate=accumulate, recompute=recompute)
    between = expected["weights"] + expected["optimiser state"] + expected["average"]
    assert step.between == pytest.approx(between, rel=0.001)
    assert step.moved == pytest.approx(expected["while the optimiser moves"], rel=0.01)
    assert (0.93 if recompute else 0.97) < step.learned / expected["while it learns"] < 1.01


@pytest.fixture
def team():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield Team(mesh=init_device_mesh("cpu", (1,)))
    distributed.destroy_process_group()


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes of this process's part."""
    return sum(t.to_local().nbytes if isinstance(t, DTensor) else t.nbytes for t in tensors)


@pytest.mark.parametrize(
    "optimizer", [tiny.train_params().optimizer.model_dump(), ADAMW, EIGHT_BITS], ids=["muon", "adamw", "8bit"]
)
@pytest.mark.parametrize(
    ("width", "held_in"), [(4, None), (2, None), (2, FLOAT8)], ids=["float32", "bfloat16", "float8"]
)
def test_beside_frozen_weights_only_an_adapter_has_gradients_means_and_an_average(optimizer, width, held_in, team):
    adapter = ADAPTER.model_copy(update={"frozen_dtype": held_in})
    network = dataclasses.replace(networks.with_adapter(measuring.network(), adapter), width_of_weight=width)
    module = network.module
    for name, weight in module.named_parameters():
        if width == 2 and not weight.requires_grad:
            narrow = starts.FLOAT8 if held_in and starts.in_float8(name) else torch.bfloat16
            weight.data = weight.detach().to(loading.held_in(module, name, narrow, sharding.PRECISE))
    expected = values(learning(network, optimizer=optimizer), machine())
    params = tiny.train_params(optimizer=optimizer, compute={**COMPUTE, "recompute": True})
    sharding.place(module, params.compute, team)
    average, moving = OfPart(module, 0.9), Optimizer(module, params.optimizer, 10)
    measuring.loss(module, measuring.batch(ROWS)).backward()
    gradients = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    assert gradients.keys() == averages.moving(module).keys()
    assert held(gradients.values()) == expected["gradients"]
    moving.clip()
    moving.step(0)
    assert not any(weight.grad is not None for weight in module.parameters())
    assert held(weight for weight in module.parameters() if not weight.requires_grad) == expected["frozen weights"]
    assert held(averages.moving(module).values()) == expected["weights"] == expected["average"]
    assert held(average.tensors().values()) == expected["average"]
    assert held(moving.tensors().values()) == pytest.approx(expected["optimiser state"], rel=0.01)


def test_a_frozen_base_takes_a_tenth_of_a_trained_one():
    whole = values(learning(measuring.network(layers=4), optimizer=ADAMW), machine(device="cuda"))
    base = dataclasses.replace(measuring.network(layers=4), width_of_weight=2)
    network = networks.with_adapter(base, ADAPTER)
    beside = values(learning(network, optimizer=ADAMW, dtype="bfloat16"), machine(device="cuda"))
    parts = ("frozen weights", "weights", "gradients", "optimiser state", "average")
    shares = [sum(found.get(part, 0.0) for part in parts) for found in (beside, whole)]
    assert shares[0] < 0.3 * shares[1]
    assert beside["memory per device"] < whole["memory per device"]


@pytest.mark.parametrize("recompute", [False, True])
def test_frozen_weights_need_no_operations_for_gradients(recompute):
    network = networks.with_adapter(measuring.network(layers=8), ADAPTER)
    if recompute:
        network.module.enable_gradient_checkpointing()
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):  # a CPU's own kernel is not counted
        measuring.loss(network.module, measuring.batch(ROWS)).backward()
    of = learning(network, recompute=recompute)
    found = {figure.name: figure.value for figure in work.figures(of, machine(), 1)}
    assert counted.get_total_flops() == pytest.approx(found["a step 9x64x64"], rel=0.08)


def test_processes_share_what_is_of_every_parameter_and_nothing_that_is_whole():
    network = measuring.network(layers=4)
    one, four = (values(learning(network), machine(device="cuda", gpus_per_node=count)) for count in (1, 4))
    for part in ("weights", "gradients", "optimiser state", "average"):
        assert four[part] == one[part] / 4
    assert four["whole blocks"] == one["whole blocks"] == (3 * 4 + 4) * network.block
    assert four["host memory of a node, at the start"] == 4 * one["host memory of a node, at the start"]
    assert "whole blocks" not in values(learning(network), machine())


def test_a_teacher_of_two_experts_is_held_twice_in_the_dtype_of_its_files():
    network = measuring.network(layers=4)
    teacher = dataclasses.replace(network, experts=2, width_of_weight=2)
    found = values(learning(network, teacher=teacher), machine())
    assert found["teacher"] == 2 * 2 * network.parameters
    alone = values(learning(network), machine())
    assert found["memory per device"] == alone["memory per device"] + found["teacher"]


def test_a_teacher_that_waits_on_the_host_takes_nothing_of_a_gpu():
    network = measuring.network(layers=4)
    facts: dict[str, Any] = {"teacher": dataclasses.replace(network, experts=2, width_of_weight=2)}
    on = machine(device="cuda")
    there, waits = (values(learning(network, teacher_waits=waits, **facts), on) for waits in (False, True))
    assert waits["teacher"] == 0
    assert there["memory per device"] - waits["memory per device"] == there["teacher"] > 0
    assert waits["whole blocks"] == there["whole blocks"]
    here = (values(learning(network, teacher_waits=waits, **facts), machine()) for waits in (False, True))
    assert next(here) == next(here)


def test_muon_s_operations_are_those_that_torch_counts():
    of = learning(measuring.network()).moved
    with FlopCounterMode(display=False) as counted:
        for shape, count in of.kernels.items():
            orthogonal(torch.ones(count, *shape))
    assert of.flops == counted.get_total_flops()
    assert of.matrices + of.rest == measuring.network().parameters


@pytest.mark.parametrize("jumps", [1, 3])
def test_a_student_that_learns_on_what_it_makes_beside_a_critic(jumps):
    """Operations of a step against those torch counts, on the mean of all its jumps; and what moves is held."""
    network, teacher = measuring.network(layers=4), measuring.network(layers=6)
    critic = memory.Critic(
        network=teacher, moved=networks.moved(teacher, tiny.train_params().optimizer), updates=2, jumps=jumps
    )
    of = learning(network, teacher=teacher, critic=critic, target=True)
    step = {figure.name: figure.value for figure in work.figures(of, machine(), 1)}["a step 9x64x64"]
    found = values(of, machine())
    assert found["critic"] == 4 * teacher.parameters
    assert found["target"] == 4 * network.parameters
    assert found["gradients"] == 4 * teacher.parameters  # the larger of the two that learn
    plain = values(learning(network, teacher=teacher), machine())
    assert found["memory per device"] > plain["memory per device"] + found["critic"] + found["target"]

    both = (teacher.module, copy.deepcopy(teacher.module))
    sigmas = schedule.grid(jumps, 3.0)[:-1].tolist()
    taught = teaching.guided(
        measuring.PROCESS, teacher=both[0], null=torch.zeros(1, 12, 40), scale=2.0, interval=(0, 1)
    )
    learned = distribution_matching.objective(measuring.PROCESS, taught=taught, critic=both[1], sigmas=sigmas)
    beside = of_critic.objective(measuring.PROCESS, student=network.module, sigmas=sigmas)
    given = measuring.batch(ROWS)
    counted = 0
    for jump in range(jumps):
        drawn = Simulated(steps=jumps, shift=3.0).spread(ROWS)
        drawn[:, times.STEP] = jump
        asked = (given, torch.randn_like(given.clean), drawn)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            for _ in range(critic.updates):
                beside(both[1], *asked).mean().backward()
            learned(network.module, *asked).mean().backward()
        counted += counter.get_total_flops() / jumps
    row = measuring.row(network)
    target = speed.forward_flops(network.config, row.tokens, row.text) * ROWS
    assert counted == pytest.approx(step - target, rel=0.08)
