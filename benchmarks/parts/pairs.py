"""Two faults at once: one of faults.py, and another that is made in its files afterwards."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import diffusers
import safetensors.torch
import torch

from benchmarks.parts import faults, sick
from benchmarks.parts.faults import FLOW_SIGMAS, Plant
from benchmarks.parts.sick import Project
from frostline import files, models


class Altered(NamedTuple):
    """A fault of files: the check that names it, and what makes it."""

    cause: str
    alter: Callable[[Project], None]


class Pair(NamedTuple):
    """Two faults, the first planted first."""

    name: str
    causes: tuple[str, str]
    plant: Plant
    alter: Callable[[Project], None]


def _scheduler(name: str, **config: object) -> Callable[[Project], None]:
    return lambda found: getattr(diffusers, name)(**config).save_pretrained(Path(found.model) / "scheduler")


def _rows_of_zeros(found: Project) -> None:
    tensors = safetensors.torch.load_file(found.latents)
    for name in ("latents", "raw"):
        tensors[name][::40] = 0
    safetensors.torch.save_file(tensors, found.latents)


def _no_numbers(found: Project) -> None:
    def changed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = "blocks.0.ffn.net.0.proj.weight"
        return {**tensors, name: tensors[name].index_fill(0, torch.tensor([3]), torch.nan)}

    sick.rewrite(Path(found.model), weights=changed)


def _other_record(found: Project) -> None:
    record = files.read_json(Path(found.model) / models.RECORD)
    files.write_json(Path(found.model) / models.RECORD, {**record, "weights_digest": "0" * 32})


ALTERED: Mapping[str, Altered] = {
    "DDIM": Altered("D03", _scheduler("DDIMScheduler")),
    "a scheduler shifted by 5": Altered("D05", _scheduler("UniPCMultistepScheduler", flow_shift=5.0, **FLOW_SIGMAS)),
    "rows of zeros": Altered("D35", _rows_of_zeros),
    "another record": Altered("D23", _other_record),
    "no numbers": Altered("D14", _no_numbers),
}
PLANTED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # fault: its variants, what is done beside them
    "noise replayed": (("1 batches", "3 batches"), ("DDIM", "rows of zeros", "a scheduler shifted by 5")),
    "no positions": (("queries are zero", "values are zero"), ("DDIM", "another record", "a scheduler shifted by 5")),
    "trained on noise, of data": (("from sigma 0.8 on", "from sigma 0.95 on"), ("DDIM", "rows of zeros")),
    "unfinished": (("13 %", "90 %"), ("DDIM", "another record", "rows of zeros")),
    "the text is not heard": (("values are zero", "the embedder is zero"), ("DDIM", "another record")),
    "the latent is not seen": (("0 of it", "0.001 of it"), ("DDIM", "another record")),
    "guidance of another scale": (("declared 4", "declared 9"), ("DDIM", "rows of zeros")),
    "latents of another scale": (("halved", "doubled"), ("DDIM", "another record")),
}


def pairs() -> list[Pair]:
    """All pairs, in turn over the faults so that the first few are of many kinds."""
    by_fault = [
        [_pair(fault, variant, beside) for beside in others for variant in variants]
        for fault, (variants, others) in PLANTED.items()
    ]
    longest = max(map(len, by_fault))
    return [found[turn] for turn in range(longest) for found in by_fault if turn < len(found)]


def _pair(fault: str, variant: str, beside: str) -> Pair:
    known = next(one for one in faults.FAULTS if one.name == fault)
    other = ALTERED[beside]
    return Pair(f"{fault}, {variant}; {beside}", (known.cause, other.cause), known.variants[variant], other.alter)
