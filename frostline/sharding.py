"""Networks over many processes, and what makes a step cheaper: torch's own FSDP2, recomputation and compilation.

Each block is sharded by itself, so one block's weights at a time are whole on each process. Master weights, gradients
that are summed up over processes, and the optimiser are float32; blocks compute in ``dtype``. Timesteps are embedded in
float32 whatever that is: bfloat16 keeps 507 of 1000 apart.

Source: Zhao et al., PyTorch FSDP, arXiv:2304.11277; the per-parameter form is ``torch.distributed.fsdp.fully_shard``.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from frostline import weights
from frostline.errors import WrongUse
from frostline.networks import Transformer
from frostline.params.trainings import ComputeParams
from frostline.processes import Team

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PRECISE = ("time_embedder", "delta_embedder", "time_proj")  # of the condition embedder: what embeds time, and an end


def place(network: Transformer, compute: ComputeParams, team: Team, *, offload: bool = False) -> Transformer:
    """The same network, in this process's part of it, on its device; it is changed in place.

    ``offload`` leaves the part in the host's memory, with gradients and so the optimiser; what is gathered of a block
    comes to the device for its passes.
    Raises WrongUse for bfloat16 in one process on a CPU, which is emulated there.
    """
    computed = dtype(compute, team)
    if compute.recompute:
        network.enable_gradient_checkpointing()
    if compute.compile:
        for block in network.blocks:
            block.compile()
    if team.mesh is not None:
        _shard(network, computed, team, offload=offload)
    return network


def gathered(network: nn.Module, *, leads: bool) -> dict[str, Tensor]:
    """All weights, whole and on the CPU, for the process that leads; the others give theirs and get nothing."""
    return whole(network.state_dict(), leads=leads)


def whole(tensors: Mapping[str, Tensor], *, leads: bool) -> dict[str, Tensor]:
    """The same of some tensors."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        one = weights.full(tensor)
        if leads:
            found[name] = one
    return found


def dtype(compute: ComputeParams, team: Team) -> torch.dtype:
    """What blocks compute in; raises WrongUse for bfloat16 in one process on a CPU that shards nothing."""
    if compute.dtype == "auto":
        return torch.float32 if team.device.type == "cpu" else torch.bfloat16
    if team.mesh is None and compute.dtype == "bfloat16":
        raise WrongUse("compute.dtype is bfloat16 for one process on a CPU: set float32 or auto, it would be slower")
    return DTYPES[compute.dtype]


def _shard(network: Transformer, dtype: torch.dtype, team: Team, *, offload: bool) -> None:
    pinned = team.device.type == "cuda"  # what is copied to a GPU while it computes cannot move meanwhile
    where = CPUOffloadPolicy(pin_memory=pinned) if offload else OffloadPolicy()
    inside = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    at_the_door = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)  # inputs are cast as well
    precise = MixedPrecisionPolicy(param_dtype=torch.float32, reduce_dtype=torch.float32)
    # What a linear layer returns is a view, and nothing here changes one in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    conditions = network.condition_embedder
    for name in PRECISE:
        if not hasattr(conditions, name):  # only a flow map is told its end
            continue
        fully_shard(conditions.get_submodule(name), mesh=team.mesh, offload_policy=where, mp_policy=precise)
    for module in (network.patch_embedding, conditions.text_embedder):
        fully_shard(module, mesh=team.mesh, offload_policy=where, mp_policy=at_the_door)
    for block in network.blocks:
        fully_shard(block, mesh=team.mesh, offload_policy=where, mp_policy=inside)
    # Also what is left goes back to its parts after each pass: the average is moved between passes.
    fully_shard(network, mesh=team.mesh, offload_policy=where, mp_policy=inside, reshard_after_forward=True)
