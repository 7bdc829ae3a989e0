"""Steps of the engine on one accelerator: their share of its matrix rate, what they wait for data, their memory."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks import Frame
from benchmarks.parts import latent_rows, random_models, scratch, small_training
from benchmarks.parts.synthetic_cache import Kind
from frostline import budgets, engine, loading, processes, speed
from frostline.dataset import Batch, Dataset
from frostline.job import Job
from frostline.params.trainings import AdapterParams, LaunchParams

WAN_SMALL = {"layers": 30, "heads": 12, "head_dim": 128, "ffn_dim": 8960, "patch_size": [1, 2, 2]}  # 1.3B
WAN_LARGE = {"layers": 40, "heads": 40, "head_dim": 128, "ffn_dim": 13824, "patch_size": [1, 2, 2]}  # 14B
ADAPTER = AdapterParams(rank=8, alpha=8.0, targets=("to_q", "to_k", "to_v", "to_out.0"))
SIDE, PRODUCTS = 8192, 40  # of the matrices whose products give the card's rate, and how many
WARM, STEPS, ROWS = 4, 16, 200
NO_GPU = "no GPU here"


class Shape(NamedTuple):
    """What a step is made of."""

    kind: Kind
    model: dict[str, Any]
    batch: int
    recompute: bool
    mfu: float  # asked for


SHAPES = {
    "images": Shape(Kind(bucket=(1, 1024, 1024), tokens=60, text_dim=4096, text_length=512), WAN_SMALL, 8, False, 0.55),
    "clips": Shape(Kind(bucket=(81, 480, 832), tokens=60, text_dim=4096, text_length=512), WAN_SMALL, 1, True, 0.55),
    "adapters": Shape(Kind(bucket=(1, 1024, 1024), tokens=60, text_dim=4096, text_length=512), WAN_LARGE, 4, True, 0.6),
}
QUICK = Shape(latent_rows.SMALL, small_training.TINY, 2, True, 0.55)


def measure(frame: Frame, name: str) -> None:
    """Measure and record one shape: share of the rate, wait for data, peak memory."""
    adapted = name == "adapters"
    figures = [
        (f"{name}_mfu", SHAPES[name].mfu, ">="),
        (f"{name}_data_wait", 0.01, "<="),
        (f"{name}_memory", 140.0, "<="),
    ]
    units = ["of the card's matrix rate", "of a step", "GiB"]
    if not frame.quick and not torch.cuda.is_available():
        for (figure, target, op), unit in zip(figures, units, strict=True):
            frame.not_run(figure, target, op, unit=unit, reason=NO_GPU)
        return
    shape, steps = (QUICK, 2) if frame.quick else (SHAPES[name], STEPS)
    launch = LaunchParams(device="cpu" if frame.quick else "cuda", nodes=1, gpus_per_node=1, rendezvous=None)
    with processes.joined(launch, sharded=adapted) as team, scratch.folder(frame) as folder:
        rate = matrix_rate(team.device, *((64, 2) if frame.quick else (SIDE, PRODUCTS)))
        dataset = Dataset(*small_training.data(folder, shape.kind, 100 if frame.quick else ROWS))
        compute = {"dtype": "auto", "accumulate": 1, "recompute": shape.recompute, "compile": not frame.quick}
        values = small_training.params(
            shape.kind, batch=shape.batch, steps=WARM + steps + 1, model=shape.model, compute=compute
        )
        with team.device:  # 14B are drawn there in seconds
            job = dataclasses.replace(small_training.job(folder / "work", dataset, values), team=team)
        nn.Module.to(job.network, "cpu")
        if adapted:
            random_models.adapted(random_models.beside(ADAPTER)(job.network), ADAPTER)
        step, waited = timed(job, steps)
        flops = (2 if adapted else 3) * _forward(job, shape)
        memory = torch.cuda.max_memory_allocated() / 2**30 if team.device.type == "cuda" else 0.0
    note = f"{flops / 1e12:.3g} TFLOP a step of {shape.batch} rows in {step * 1e3:.0f} ms; the card does "
    note += f"{rate / 1e12:.3g} TFLOP/s in bfloat16 matrix products; weights random"
    for (figure, target, op), unit, value in zip(figures, units, [flops / step / rate, waited, memory], strict=True):
        frame.record(figure, value, target, op, unit=unit, n=steps, spread="", note=note)


def matrix_rate(device: torch.device, side: int, products: int) -> float:
    """Operations a second of bfloat16 matrix products, the best of three runs."""
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    best = min(_timed(lambda: [one @ other for _ in range(products)], device) for _ in range(3))
    return 2 * side**3 * products / best


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _settled(device)
    started = time.perf_counter()
    work()
    _settled(device)
    return time.perf_counter() - started


def _settled(device: torch.device) -> None:
    """What was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(job: Job, steps: int) -> tuple[float, float]:
    """Seconds of a step, and the share of it that data were waited for.

    The job plans ``WARM`` steps before these, and one after.
    """
    moments: list[float] = []
    waits: list[float] = []
    reading = loading.read

    def read(*given: Any, **named: Any) -> Iterator[Batch]:
        batches = reading(*given, **named)
        try:
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                waits.append(time.perf_counter() - asked)
                if batch is None:
                    return
                yield batch
        finally:
            batches.close()

    def objective(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
        if network.training and torch.is_grad_enabled():  # a step, not who looks at the training
            _settled(job.team.device)
            moments.append(time.perf_counter())
        return job.objective(network, batch, noise, sigma)

    with mock.patch.object(loading, "read", read):
        engine.run(dataclasses.replace(job, objective=objective))
    took = moments[WARM + steps] - moments[WARM]
    return took / steps, sum(waits[WARM + 1 : WARM + 1 + steps]) / took


def _forward(job: Job, shape: Shape) -> float:
    latent = job.dataset.space.shape(shape.kind.bucket)
    tokens = budgets.tokens(latent, tuple(shape.model["patch_size"]))
    return shape.batch * speed.forward_flops(job.network.config, tokens, shape.kind.text_length)
