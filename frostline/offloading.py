"""Weights that wait on the host: those of a block come to the device for its pass, the next one's while it computes.

This is diffusers' group offloading, for networks that are asked and never trained; what is trained has FSDP2's own
(``sharding``). What does not lie in blocks comes for the whole call. Numbers are those of weights that stay.
"""

import torch
from diffusers.hooks.group_offloading import apply_group_offloading
from torch import nn

HOST = torch.device("cpu")


def spread(network: nn.Module, device: torch.device) -> None:
    """Have the blocks of a network come to a device when it is their turn; once is enough for a network.

    On a GPU the host's copy is in memory that cannot be moved, so that it is copied while the GPU computes.
    """
    apply_group_offloading(
        network,
        onload_device=device,
        offload_device=HOST,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
    )
