"""The processes that train one model together: who this one is, and what they tell one another.

One process on a CPU is a team of one: it starts no group and asks nobody, unless it is to shard. More are started by
torchrun (see ``launching``), one for each GPU, or as many as are asked for on the CPU, where they talk by gloo.

Names:  rank    number of a process; 0 leads: it alone prints, and writes what is not sharded
        world   how many there are
        places  of a step's rows: process r has the rows at places r, r + world, ...
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from frostline.errors import FrostlineError, WrongUse
from frostline.params.trainings import LaunchParams

STARTED = "RANK"  # the variable by which torchrun tells a process its number
CPU = torch.device("cpu")
PATIENCE = timedelta(minutes=30)  # of processes that wait for one another: a large model takes long to load


@dataclass(frozen=True, kw_only=True)
class Team:
    """The processes that train one model, as one of them sees them."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU
    mesh: DeviceMesh | None = None  # None: one process on a CPU, nothing is sharded
    aside: distributed.ProcessGroup | None = None  # for checkpoints, which are written while steps go on

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0

    def agreed(self, losses: Tensor, asked: bool) -> tuple[Tensor, bool]:
        """The losses of all rows of a step by their places, from this process's own (b,); and was any asked to stop?"""
        if self.mesh is None:
            return losses, asked
        told = torch.cat([losses, losses.new_tensor([float(asked)])])
        heard = [torch.empty_like(told) for _ in range(self.world)]
        distributed.all_gather(heard, told)
        table = torch.stack(heard)
        return table[:, :-1].T.reshape(-1), bool(table[:, -1].any())

    def any(self, first: bool, second: bool) -> tuple[bool, bool]:
        """For each of two questions, whether any process says yes."""
        if self.mesh is None:
            return first, second
        told = torch.tensor([first, second], dtype=torch.int32, device=self.device)
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
        one, other = told.tolist()
        return bool(one), bool(other)

    def wait(self) -> None:
        """Go on when all are here."""
        if self.mesh is not None:
            distributed.barrier(group=self.aside)

    def first(self, work: Callable[[], object]) -> None:
        """The leading process does a piece of work, then all go on."""
        if self.leads:
            work()
        self.wait()


ALONE = Team()


@contextlib.contextmanager
def joined(launch: LaunchParams, *, sharded: bool = False) -> Iterator[Team]:
    """The team that this process belongs to, until the end of the block.

    ``sharded``: one process on a CPU shards too, as it is where weights are computed with in another dtype than held.
    Raises WrongUse if GPUs are asked for and there are none, or fewer than processes.
    """
    device = _device(launch)
    if STARTED not in os.environ and device.type == "cpu" and not sharded:
        yield ALONE
        return
    _meet(device)
    rank, world = distributed.get_rank(), distributed.get_world_size()
    mesh, aside = init_device_mesh(device.type, (world,)), distributed.new_group(backend="gloo")
    if not isinstance(aside, distributed.ProcessGroup):
        raise FrostlineError(f"process {rank} of {world} is not part of the group of all")
    try:
        yield Team(rank=rank, world=world, device=device, mesh=mesh, aside=aside)
    finally:
        distributed.destroy_process_group()


def device(asked: Literal["auto", "cpu", "cuda"], key: str) -> str:
    """Where one process computes; auto is a GPU if there is one. Raises WrongUse if ``key`` asks for one in vain."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise WrongUse(
            f"{key}: cuda, but torch finds no GPU here; look at `nvidia-smi` and at which torch is installed, or set "
            "it to cpu (what is made on the one is made again on the other)"
        )
    return "cuda" if there and asked != "cpu" else "cpu"


def _device(launch: LaunchParams) -> torch.device:
    """The device of this process."""
    found = torch.cuda.device_count()
    if launch.device == "cpu" or (launch.device == "auto" and not found):
        return CPU
    if found < launch.gpus_per_node:
        raise WrongUse(
            f"train.launch: device {launch.device}, gpus_per_node {launch.gpus_per_node}, and there are {found} GPUs "
            "here: lower gpus_per_node, or set device: cpu"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _meet(device: torch.device) -> None:
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    if STARTED in os.environ:
        distributed.init_process_group(backend, timeout=PATIENCE)
    else:
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
