"""What a training runs on: how many processes, what on, how fast and how dear that is.

Peaks are those of one H100 SXM with dense matrices, by NVIDIA's datasheet of the H100: 989 TFLOP/s in bfloat16 on its
tensor cores, 67 TFLOP/s in float32 (which is not TF32: nothing here is computed in that). No other default is a
measurement either: a share of the peak is what a short training shows as MFU.
"""

from dataclasses import dataclass, replace
from typing import Literal

from frostline import speed
from frostline.errors import WrongUse
from frostline.pages import words
from frostline.params.trainings import ComputeParams, LaunchParams

Device = Literal["cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]
WIDTHS: dict[Dtype, int] = {"float32": 4, "bfloat16": 2}  # bytes of a number
H100_BFLOAT16 = speed.PEAKS["H100"] / 1e12  # TFLOP/s
H100_FLOAT32 = 67.0
UTILISATION = 0.4


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Devices that are alike, one for each process."""

    device: Device
    nodes: int
    per_node: int  # processes
    peaks: dict[Dtype, float]  # FLOP/s of one device; where a dtype is missing, no time is told
    utilisation: float  # share of the peak at which all that is computed is computed
    price: float | None  # of a device's hour

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.nodes * self.per_node

    @property
    def sharded(self) -> bool:
        """Whether weights are spread by FSDP2: not by one process on a CPU."""
        return self.device == "cuda" or self.world > 1

    def dtype(self, compute: ComputeParams) -> Dtype:
        """What a network computes in; raises WrongUse where the training would."""
        if compute.dtype == "auto":
            return "float32" if self.device == "cpu" else "bfloat16"
        if compute.dtype == "bfloat16" and not self.sharded:
            raise WrongUse("compute.dtype is bfloat16 for one process on a CPU: set float32 or auto, or --device cuda")
        return compute.dtype

    def alone(self) -> "Machine":
        """One process of it."""
        return replace(self, nodes=1, per_node=1)

    def hours(self, flops: float, dtype: Dtype) -> float | None:
        """Hours of one device for so many operations; None where its peak is not known."""
        return flops / (self.peaks[dtype] * self.utilisation) / 3600 if dtype in self.peaks else None


def of_params(
    launch: LaunchParams,
    device: Device,
    *,
    bfloat16: float | None,
    float32: float | None,
    utilisation: float | None,
    price: float | None,
) -> Machine:
    """The machine of these params; peaks are in TFLOP/s, those of an H100 on a GPU where they are not given.

    Raises WrongUse for numbers that none of them can be.
    """
    for name, value in (("--peak-tflops", bfloat16), ("--peak-tflops-float32", float32)):
        if value is not None and value <= 0:
            raise WrongUse(f"{name} {value:g}: the operations a second of a device are above 0")
    share = UTILISATION if utilisation is None else utilisation
    if not 0 < share <= 1:
        raise WrongUse(f"--utilisation {share:g}: a share of the peak, above 0 and at most 1")
    if price is not None and price < 0:
        raise WrongUse(f"--price-per-hour {price:g}: below 0")
    stated: dict[Dtype, float | None] = {"bfloat16": bfloat16, "float32": float32}
    if device == "cuda":
        stated = {"bfloat16": bfloat16 or H100_BFLOAT16, "float32": float32 or H100_FLOAT32}
    return Machine(
        device=device,
        nodes=launch.nodes,
        per_node=launch.gpus_per_node,
        peaks={dtype: peak * 1e12 for dtype, peak in stated.items() if peak is not None},
        utilisation=share,
        price=price,
    )


def assumptions(machine: Machine) -> list[str]:
    """What of a machine is not in params."""
    kind = "GPU" if machine.device == "cuda" else "CPU"
    processes, nodes = words.things(machine.world, "process", "processes"), words.things(machine.nodes, "node")
    found = [f"{processes} on {nodes}, a {kind} for each"]
    if not machine.peaks:
        return [*found, "no peak is known of a CPU, so no hours are told: give --peak-tflops-float32"]
    peaks = ", ".join(f"{peak / 1e12:g} TFLOP/s in {dtype}" for dtype, peak in machine.peaks.items())
    source = "; an H100 SXM's are 989 and 67 dense, by NVIDIA's datasheet" if machine.device == "cuda" else ""
    return [
        *found,
        f"peak of a device: {peaks}{source}",
        f"utilisation {machine.utilisation:g} of it, an assumption: the progress bar of a short training shows its MFU",
    ]
