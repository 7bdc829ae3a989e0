"""One of two processes that train one model, as a program: `python -m tests.apart FOLDER whole|apart`, by torchrun.

Of those apart, one has in its network what differs from process to process. Each writes what became of it.
"""

import sys
from pathlib import Path

from frostline import workspace

workspace.settle()

import dataclasses  # noqa: E402 - instruction set first

import torch  # noqa: E402

from frostline import engine, processes  # noqa: E402
from frostline.errors import FrostlineError  # noqa: E402
from frostline.params.trainings import LaunchParams  # noqa: E402
from tests import tiny  # noqa: E402

LAUNCH = LaunchParams(device="cpu", nodes=1, gpus_per_node=2, rendezvous=None)


def _apart(_: torch.nn.Module, __: object, said: torch.Tensor) -> torch.Tensor:
    return said + torch.linspace(0, 1, said.shape[-1])


def main() -> None:
    """Train two steps."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    with processes.joined(LAUNCH) as team:
        rows = tiny.data(folder / f"data-{team.rank}")
        compute = {"dtype": "float32", "accumulate": 1, "recompute": False, "compile": False}
        job = dataclasses.replace(tiny.job(folder / "work", rows, steps=2, compute=compute), team=team)
        if kind == "apart" and not team.leads:
            job.network.proj_out.register_forward_hook(_apart)
        try:
            said = str(engine.run(job).progress.checks["D24"])
        except FrostlineError as error:
            said = str(error)
        (folder / f"said-{team.rank}").write_text(said)


if __name__ == "__main__":
    main()
