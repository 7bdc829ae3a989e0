"""Between whole models and LoRA files: a LoRA added to a model, taken out of two, written in another convention.

Models are read and written tensor by tensor, so that none is ever held. What is written is whole or not there, and says
where it came from: a merged model in ``merged.json``, a LoRA in its metadata.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline import digests, files, merging, models, weights
from frostline.contract import Contract
from frostline.errors import Refused, WrongUse
from frostline.merging import Merged
from frostline.models import Base
from frostline.origins import Origin
from frostline.records import Record
from frostline.wan import lora, lora_files, streaming
from frostline.wan.loading import Plan
from frostline.wan.lora import Extracted, Lora
from frostline.wan.names import Naming

METADATA = "frostline.lora"
STAGE = "merge"


class Source(Record):
    """What a LoRA was taken from: weights after minus weights before."""

    before: str  # digest of the weights
    after: str
    rank: int
    kept: float  # share of the squared norm of the whole change
    left_out: int  # tensors that changed and are no matrices


def merge(origin: Origin, file: Path, folder: Path, *, scale: float = 1.0) -> Merged:
    """Write a model folder: a model with a LoRA added to its weights, its contract and base as they were.

    Its training record claims no step and no data: none were done on these weights. Raises WrongUse if the folder is
    there already or the LoRA is for another transformer, Refused if the model does not say what it is.
    """
    if folder.exists():
        raise WrongUse(f"{folder}: exists; name a new folder, or remove that one")
    if not math.isfinite(scale) or scale == 0:
        raise WrongUse(f"scale {scale:g}: a LoRA is added times a number other than 0; 1 is as it was trained")
    plan = origin.single()
    contract, base = _declared(origin)
    change = lora_files.read(file)
    lora.require_fitting(change, plan.kinds, lora_is=str(file), model_is=str(origin.place))
    record = Merged(
        model=origin.place.resolve().name,
        model_weights_digest=origin.weights_digest,
        lora=file.name,
        lora_digest=digests.of_file(file),
        scale=scale,
        matrices=len(change),
        training=origin.training,
        earlier=merging.earlier(origin.place),
    )
    with files.new_folder(folder) as beside:
        merging.write(beside, plan, contract, change, record)
        models.describe(beside, contract, base, _training(origin))
    return record


def extract(
    model: Origin, base: Origin, path: Path, *, rank: int, naming: Naming, matrices_only: bool = False
) -> Extracted:
    """Write the LoRA of a rank that comes nearest to turning the base's transformer into the model's.

    Raises WrongUse if the file is there or the rank is none, Refused if the two are not of one shape, or differ in what
    no LoRA holds.
    """
    require_new(path)
    after, before = model.single(), base.single()
    _require_alike(after, before, model.place, base.place)
    _require_rank(rank, after, model.place)
    with streaming.opened(before) as old, streaming.opened(after) as new:
        found = lora.extract(old, new, rank, matrices_only=matrices_only)
    source = Source(
        before=base.weights_digest,
        after=model.weights_digest,
        rank=rank,
        kept=found.overall,
        left_out=len(found.left_out),
    )
    lora_files.write(found.lora, path, naming, {METADATA: digests.canonical(source.model_dump(mode="json"))})
    return found


def convert(file: Path, path: Path, naming: Naming) -> Lora:
    """Write a LoRA in a convention, every number as it was; raises as ``lora_files.read``, WrongUse if it is there."""
    require_new(path)
    found = lora_files.read(file)
    lora_files.write(found, path, naming, lora_files.facts(file))
    return found


def require_new(path: Path) -> None:
    """Raise WrongUse unless a path names a new safetensors file."""
    if path.suffix != weights.SAFETENSORS or path.exists():
        why = "exists" if path.exists() else f"ends in {path.suffix!r}"
        raise WrongUse(f"{path}: {why}; name a new {weights.SAFETENSORS} file")


def _declared(origin: Origin) -> tuple[Contract, Base]:
    if origin.contract is None or origin.base is None:
        raise Refused(
            f"{origin.place}: does not say what it is: a model folder needs a contract and a base, so a VAE and a text "
            "encoder beside the transformer; make a folder of the whole model with `frostline fetch`, and name that"
        )
    return origin.contract, origin.base


def _training(origin: Origin) -> dict[str, Any]:
    """What is true of merged weights: nobody trained them as they are."""
    known = None if origin.training is None else origin.training.parameters
    return {
        "stage": STAGE,
        "steps_planned": 0,
        "steps_done": 0,
        "parameters": {"total": origin.parameters} if known is None else known,
        "dataset_digest": "",
        "ema_decay": 0.0,
        "objective": STAGE,
        "teacher_digest": None,
        "tensor_sources": None,
    }


def _require_alike(after: Plan, before: Plan, model: Path, base: Path) -> None:
    """Raise Refused, naming the first difference, unless two transformers have the same names and shapes."""
    ours, theirs = (_shapes(plan) for plan in (after, before))
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if differing:
        name = differing[0]
        raise Refused(
            f"{model}: {name} is {_word(ours.get(name))}, in {base} {_word(theirs.get(name))}, and "
            f"{len(differing) - 1} more differ: a LoRA turns one transformer into another of the same shape; name the "
            "model it was trained from"
        )


def _shapes(plan: Plan) -> Mapping[str, weights.Shape]:
    return {name: kind.shape for name, kind in plan.kinds.items()}


def _word(shape: weights.Shape | None) -> str:
    return "not there" if shape is None else str(shape)


def _require_rank(rank: int, plan: Plan, model: Path) -> None:
    most = max(min(shape) for shape in _shapes(plan).values() if len(shape) == 2)
    if not 1 <= rank <= most:
        raise WrongUse(f"rank {rank}: matrices of {model} have ranks up to {most}; ask for 1 to {most}")
