"""More than one process for a stage: torch's elastic launcher, which is torchrun, starts the stage's own command.

On several nodes the same stage is started on each of them, and they meet at ``rendezvous``.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from frostline import processes, workspace
from frostline.errors import FrostlineError, Preempted
from frostline.params.trainings import LaunchParams

SAVING = 3600  # seconds that a process has to save its progress in after SIGTERM


def together(
    params: LaunchParams,
    module: str,
    work: Callable[[processes.Team], None],
    *,
    output: Path | None = None,
    sharded: bool = False,
) -> None:
    """Have work done by as many processes as are asked for; the one that leads locks the output, if one is named.

    With more than one, this process starts them as ``python -m module``, with its own arguments, and waits: see
    ``launch``. Raises Refused if another process makes the same output, and what ``work`` raises.
    """
    if processes.STARTED not in os.environ and params.nodes * params.gpus_per_node > 1:
        launch(params, module, sys.argv[1:])
        return
    with (
        processes.joined(params, sharded=sharded) as team,
        workspace.lock(output) if output and team.leads else nullcontext(),
    ):
        work(team)


def launch(params: LaunchParams, module: str, arguments: Sequence[str]) -> None:
    """Run ``python -m module arguments`` as many times at once, and wait for them.

    Raises Preempted if they were stopped by SIGTERM and have saved, FrostlineError if one of them failed.
    """
    config = LaunchConfig(
        min_nodes=params.nodes,
        max_nodes=params.nodes,
        nproc_per_node=params.gpus_per_node,
        run_id=module,
        rdzv_backend="c10d",
        rdzv_endpoint=params.rendezvous or "localhost:0",
        max_restarts=0,
        shutdown_timeout=SAVING,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except SignalException as stopped:
        raise Preempted(f"{module}: stopped by signal {stopped.sigval}; run the same command again to go on") from None
    except ChildFailedError as failed:
        codes = sorted({failure.exitcode for failure in failed.failures.values()})
        if Preempted.exit_code in codes:
            raise Preempted(f"{module}: its processes were stopped and have saved: run it again") from None
        raise FrostlineError(f"{module}: its processes ended with {codes}; what was wrong stands above") from None
