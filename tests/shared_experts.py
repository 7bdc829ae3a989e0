"""One of two processes that share two experts, as a program: `python -m tests.shared_experts FILE`, by torchrun.

One has a row of high noise, the other one of low. Each says how far what it is told is from the whole expert's answer.
"""

import sys
from pathlib import Path

from frostline import workspace

workspace.settle()

import torch  # noqa: E402 - instruction set first

from frostline import processes, sharding, transformer, velocities  # noqa: E402
from frostline.params.trainings import ComputeParams, LaunchParams  # noqa: E402
from frostline.path import VelocityFn  # noqa: E402
from tests import tiny  # noqa: E402

COMPUTE = ComputeParams(dtype="float32", accumulate=1, recompute=False, compile=False)
LAUNCH = LaunchParams(device="cpu", nodes=1, gpus_per_node=2, rendezvous=None)
BOUNDARY, SIGMAS = 0.5, (0.9, 0.1)  # of the process that leads, of the other
NOISED, TEXT = torch.ones(1, 4, 1, 2, 2), torch.ones(1, 6, 8)


def guided(network: torch.nn.Module, _: float) -> VelocityFn:
    """One forward, without guidance."""
    return transformer.velocity_fn(network, TEXT, tiny.process())


@torch.no_grad()
def main() -> None:
    """Ask two experts that are spread over both processes, then this process's own expert alone."""
    with processes.joined(LAUNCH) as team:
        high, low = (sharding.place(tiny.network(seed).requires_grad_(False), COMPUTE, team) for seed in (0, 1))
        other = velocities.Low(network=low, guidance=1.0, boundary=BOUNDARY)
        sigma = torch.tensor([SIGMAS[team.rank]], dtype=torch.float64)
        found = velocities.served(high, 1.0, other, guided, team.any)(NOISED, sigma)
        wanted = guided(tiny.network(team.rank), 1.0)(NOISED, sigma)
        Path(f"{sys.argv[1]}-{team.rank}").write_text(str(float((found - wanted).abs().max())))


if __name__ == "__main__":
    main()
