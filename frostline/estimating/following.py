"""What it takes to see a teacher make its trajectories: operations, time, money, and bytes on the disk.

At each step of the solver a teacher is asked twice, with the text and without; of two experts one is asked.
"""

import math

from frostline import budgets, speed
from frostline.estimating import work
from frostline.estimating.bases import Base
from frostline.estimating.figures import Figure, Stage
from frostline.estimating.machines import Machine
from frostline.estimating.networks import Network
from frostline.params.trajectories import TrajectoriesParams
from frostline.store import layout


def stage(name: str, params: TrajectoriesParams, teacher: Network, machine: Machine, base: Base) -> Stage:
    """The trajectories of one teacher, which one process makes on one device."""
    dtype = "float32" if machine.device == "cpu" else "bfloat16"
    steps, kept = params.points * params.substeps, params.points + 1
    asked, written, parts, sizes = 0.0, 0, [], []
    for bucket, learned in params.rows.items():
        latent = base.space.shape(layout.bucket_of(bucket))
        rows = learned + params.validation
        forward = speed.forward_flops(
            teacher.config, budgets.tokens(latent, teacher.config["patch_size"]), base.space.text_length
        )
        size = math.prod(latent) * layout.DTYPES[base.space.stored_dtype].itemsize
        asked += rows * steps * 2 * forward
        written += rows * kept * size
        parts.append(f"{rows:,} rows of {bucket} × {steps} steps × 2 × {forward:.4g}")
        sizes.append(f"{rows:,} × {kept} points × {size:,}")
    return Stage(
        name=f"trajectories@{name}",
        what=f"{steps} steps of the solver, {kept} points kept",
        figures=(
            Figure(name="all steps", value=asked, unit="FLOP", formula=" + ".join(parts)),
            Figure(name="bytes written", value=written, unit="bytes", formula=" + ".join(sizes)),
            *work.time(asked, dtype, machine),
        ),
        notes=("one process makes them, on one device",),
    )
