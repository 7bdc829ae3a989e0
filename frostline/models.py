"""Model folders: a transformer, its scheduler, the contract it lives by, its base and how it was trained.

models/<name>/
    transformer/   config.json and safetensors; the contract stands in their metadata too
    scheduler/     what the stock diffusers pipeline needs to sample it as the contract says, where it can
    contract.json  latent space, process, sampling
    base.json      where the frozen parts (VAE, text encoder, tokenizer) lie, and their digests
    training.json  steps done of planned, parameters, digests of weights, data, start and tensors' sources
    checks.json    what was measured of it while it was trained (frostline/vitals)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from frostline import contract as contracts
from frostline import digests, files, records, sampling, transformer, weights
from frostline.contract import Contract
from frostline.errors import Refused, WrongUse
from frostline.networks import Transformer
from frostline.records import R, Record
from frostline.velocities import Low

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
CONFIG = "transformer/config.json"
RECORD = "training.json"
PUBLISHED = "published"  # the stage of a training that happened elsewhere


class Base(Record):
    """Where a model's frozen parts are."""

    path: str
    vae_digest: str
    text_encoder_digest: str


class Training(Record):
    """How a model came to be; the same for every run of the same stage on the same data."""

    stage: str
    steps_planned: int
    steps_done: int
    parameters: dict[str, int]  # trainable, frozen_transformer beside an adapter, frozen_vae, frozen_text, total
    dataset_digest: str
    weights_digest: str  # of the safetensors file that is sampled (the EMA)
    ema_decay: float
    objective: str
    teacher_digest: str | None
    tensor_sources: dict[str, str] | None  # tensor of the student to tensor of the teacher it started from
    start_digest: str | None = None  # weights that a training by flow matching went on from; None, unsaid: no such ones

    @property
    def complete(self) -> bool:
        """Whether all planned steps were done."""
        return self.steps_done == self.steps_planned

    def stated(self) -> dict[str, Any]:
        """What training.json says; a start only where there is one."""
        return self.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model folder."""

    folder: Path
    contract: Contract
    transformer: Transformer  # the high-noise expert, where there are two
    low: Transformer | None = None  # the low-noise expert
    base: Base
    training: Training

    def sampled(self) -> tuple[contracts.Process, contracts.Sampling]:
        """The process and sampling parts; Refused if the folder holds a model that may not be sampled.

        Two experts belong to a boundary, and a boundary to two experts.
        """
        if self.contract.process is None or self.contract.sampling is None:
            raise Refused(
                f"{self.folder}: its contract has no process or sampling part, so how to sample it is unknown"
                + ("" if self.low is None else "; two experts have one since each has its guidance: fetch them again")
            )
        boundary = self.contract.process.expert_boundary
        if (boundary is None) != (self.low is None):
            raise Refused(
                f"{self.folder}: its contract says expert_boundary {boundary}, and it holds "
                f"{'one transformer' if self.low is None else 'two transformers'}: one of two experts is missing, or "
                "what says which one serves; fetch the whole model into a new folder"
            )
        return self.contract.process, self.contract.sampling

    @property
    def networks(self) -> tuple[Transformer, ...]:
        """Its one transformer, or its two experts, the high-noise one first."""
        return (self.transformer,) if self.low is None else (self.transformer, self.low)

    def second(self, guidance: float) -> Low | None:
        """The low-noise expert under a guidance of its own; None where there is one network. Raises as ``sampled``."""
        process, _ = self.sampled()
        if self.low is None or process.expert_boundary is None:
            return None
        return Low(network=self.low, guidance=guidance, boundary=process.expert_boundary)


def save(
    folder: Path,
    network: Transformer,
    contract: Contract,
    base: Base,
    training: dict[str, Any],
    *,
    tensors: Mapping[str, Tensor] | None = None,
) -> Training:
    """Write a model folder's files into an existing (temporary) folder; returns the training record with its digest.

    ``tensors`` are written in the place of the network's own.
    """
    network.save_config(folder / "transformer")
    write_weights(folder / WEIGHTS, network.state_dict() if tensors is None else tensors, contract)
    return describe(folder, contract, base, training)


def describe(folder: Path, contract: Contract, base: Base, training: Mapping[str, Any]) -> Training:
    """Write what a model folder says of itself, beside the weights that are there; returns its training record."""
    record = records.parse(
        Training, {**training, "weights_digest": digests.of_file(folder / WEIGHTS)}, origin="training.json"
    )
    contracts.save(contract, folder)
    flows = (
        contract.process is None or contract.process.prediction in contracts.FLOWS
    )  # as stock flow schedulers expect
    stock = sampling.stock_scheduler(contract.sampling) if contract.sampling is not None and flows else None
    if stock is not None:
        stock.save_pretrained(folder / "scheduler")
    files.write_json(folder / "base.json", base.model_dump(mode="json"))
    files.write_json(folder / RECORD, record.stated())
    return record


def write_weights(path: Path, tensors: Mapping[str, Tensor], contract: Contract) -> None:
    """Write a safetensors file that carries its contract in its metadata; equal weights are equal bytes.

    Of tensors that are spread over processes one at a time is whole; the other processes call ``give_weights``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.write(path, weights.kinds_of(tensors), lambda name: weights.full(tensors[name]), stated(contract))


def give_weights(tensors: Mapping[str, Tensor]) -> None:
    """Give this process's part of each tensor, in the order in which another writes them."""
    for name in weights.in_order(weights.kinds_of(tensors)):
        weights.full(tensors[name])


def stated(contract: Contract) -> dict[str, str]:
    """A contract as the metadata of weights."""
    return {contracts.METADATA: digests.canonical(contract.model_dump(mode="json"))}


def load(folder: str | Path) -> Model:
    """Load a model folder whose files agree with one another.

    Raises WrongUse if a file is absent or damaged, Refused if weights and records do not belong together.
    """
    folder = Path(folder)
    contract, base, training = facts(folder)
    network = transformer.from_state(files.read_json(folder / CONFIG), safetensors.torch.load_file(folder / WEIGHTS))
    return Model(folder=folder, contract=contract, transformer=network.eval(), base=base, training=training)


def facts(folder: str | Path) -> tuple[Contract, Base, Training]:
    """What a model folder says of itself, checked against its weights without loading a tensor; raises as load does."""
    folder = Path(folder)
    if not folder.is_dir():
        raise WrongUse(f"{folder}: no such model folder; make it with `dvc repro` or give another path")
    contract = contracts.load(folder)
    base = _record(folder, "base.json", Base)
    training = _record(folder, RECORD, Training)
    _check_weights(folder / WEIGHTS, contract, training)
    return contract, base, training


def _record(folder: Path, name: str, cls: type[R]) -> R:
    return records.parse(cls, files.read_json(folder / name), origin=str(folder / name))


def _check_weights(path: Path, contract: Contract, training: Training) -> None:
    if not path.is_file():
        raise WrongUse(f"{path}: no such file; make the model again with the stage that writes it")
    found = digests.of_file(path)
    if found != training.weights_digest:
        raise Refused(
            f"{path}: digest {found} is not the {training.weights_digest} of training.json: the weights were changed "
            "or damaged after training; fetch or make the folder again"
        )
    with safetensors.safe_open(path, "pt") as file:
        inside = (file.metadata() or {}).get(contracts.METADATA)
    if inside != stated(contract)[contracts.METADATA]:
        raise Refused(
            f"{path}: the contract inside the weights is not the one in {path.parent.parent / contracts.FILE}"
        )
