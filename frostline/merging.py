"""Model folders of a model with a LoRA added to its weights: tensor by tensor, so that no model is ever held.

models/<name>/
    ...                  as of any model
    merged.json          what the weights are made of
    adapter.safetensors  where the LoRA was trained here: the LoRA itself, as diffusers reads it
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from frostline import digests, files, models, records, teachers, weights
from frostline.contract import Contract
from frostline.models import Base, Model, Training
from frostline.records import Record
from frostline.wan import lora, lora_files, streaming
from frostline.wan.loading import Plan
from frostline.wan.lora import Lora

RECORD = "merged.json"
ADAPTER = "adapter.safetensors"
START = "frostline.start"  # in the adapter's metadata: digest of the weights it was trained beside


class Merged(Record):
    """What a merged model's weights are made of."""

    model: str  # name of its folder
    model_weights_digest: str
    lora: str  # name of its file
    lora_digest: str
    scale: float
    matrices: int  # that were changed
    training: Training | None  # how the model came to be, before anything was added
    earlier: "Merged | None"  # what that model was merged of itself


def earlier(place: Path) -> Merged | None:
    """What a model was merged of, if it was."""
    path = place / RECORD
    return records.parse(Merged, files.read_json(path), origin=str(path)) if path.is_file() else None


def write(folder: Path, plan: Plan, contract: Contract, change: Lora, record: Merged) -> None:
    """Write the sum of a transformer and a LoRA, and what it is made of, into an existing (temporary) folder.

    Sums are made in float32 and given back in each tensor's own dtype.
    """
    with torch.device("meta"):
        network: Any = WanTransformer3DModel.from_config(plan.config)
    network.save_config(folder / "transformer")
    with streaming.opened(plan) as tensors:

        def read(name: str) -> Tensor:
            return lora.merged(name, tensors[name], change, record.scale)

        weights.write(folder / models.WEIGHTS, plan.kinds, read, models.stated(contract))
    files.write_json(folder / RECORD, record.model_dump(mode="json"))


def write_trained(
    folder: Path, start: Model, change: Lora, contract: Contract, base: Base, training: Mapping[str, Any]
) -> Training:
    """Write what a training of low-rank matrices made into an existing (temporary) folder: them, and a whole model.

    The model is that of ``write``, so what `frostline lora merge` makes of the start and the adapter.
    """
    digest = start.training.weights_digest
    teachers.require_same(start)
    lora_files.write(change, folder / ADAPTER, "diffusers", {**models.stated(contract), START: digest})
    record = Merged(
        model=start.folder.resolve().name,
        model_weights_digest=digest,
        lora=ADAPTER,
        lora_digest=digests.of_file(folder / ADAPTER),
        scale=1.0,
        matrices=len(change),
        training=start.training,
        earlier=earlier(start.folder),
    )
    write(folder, teachers.plan(start.folder), contract, change, record)
    return models.describe(folder, contract, base, training)
