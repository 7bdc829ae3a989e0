"""What is examined: a network that can be asked, with all that its files say of it.

A model folder made here or fetched, a diffusers or native folder, a single file of weights, or ``module:function``,
which runs the user's own code. Nothing is refused that a check can say better: weights that are missing or were changed
are findings, and what is there is examined.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AnyFlowTransformer3DModel
from torch import Tensor, nn

from frostline import contract as contracts
from frostline import digests, experts, files, models, networks, records, weights
from frostline.contract import Contract, Process, Sampling
from frostline.doctor import readings
from frostline.doctor.readings import Asked, Reading
from frostline.errors import WrongUse
from frostline.models import Training
from frostline.wan import configs, declaring, families, layouts, loading, pins
from frostline.wan.layouts import EXPERTS, Role, Source
from frostline.wan.loading import Audit

BATCH_NUMBERS = 1 << 22  # of latents at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One transformer as its files have it."""

    role: str
    network: nn.Module
    audit: Audit
    config: configs.Config


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network, or two experts, and what is known of it."""

    name: str
    ask: Asked
    parts: tuple[Part, ...] = ()
    folder: Path | None = None
    contract: Contract | None = None
    process: Process | None = None
    sampling: Sampling | None = None
    training: Training | None = None
    weights_digest: str | None = None
    text_shape: tuple[int, int] | None = None  # (L, D) that it takes, where that is known

    @property
    def declared(self) -> Reading | None:
        """The reading its contract declares, or its family."""
        return None if self.process is None else readings.declared(self.process)


def open_(target: str, device: str = "cpu") -> Subject:
    """The subject behind a target, its networks on a device; raises WrongUse if there is none."""
    if is_code(target):
        return _of_code(target)
    place = Path(target)
    if not place.exists():
        raise WrongUse(f"{target}: no such file or folder; name a model, a cache, weights, or module:function")
    return _of_files(place, device)


def is_code(target: str) -> bool:
    """Whether a target names a function of the user's."""
    module, colon, function = target.partition(":")
    return bool(colon) and not Path(target).exists() and function.isidentifier() and "/" not in module


def _of_code(target: str) -> Subject:
    """Imports the user's module, from the current folder too, and calls the function, which returns the network."""
    module, _, function = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise WrongUse(f"{target}: {error}; name a module that python finds from {Path.cwd()}") from None
    finally:
        sys.path.pop(0)
    if not hasattr(made, function):
        raise WrongUse(f"{target}: {module} has no {function}")
    predictor: Callable[..., Tensor] = getattr(made, function)()
    if not callable(predictor):
        raise WrongUse(f"{target}: returned {type(predictor).__name__}; return a callable (latents, timestep, text)")

    @torch.inference_mode()
    def ask(given: Tensor, timestep: Tensor, text: Tensor | None, _end: Tensor | None = None) -> Tensor:
        return predictor(given.float(), timestep, text).float()

    return Subject(name=target, ask=ask)


def _of_files(place: Path, device: str) -> Subject:
    sources = _sources(place)
    if not sources:
        raise WrongUse(f"{place}: holds no transformer")
    parts = tuple(load(source, device) for source in sources)
    own = place if place.is_dir() else None
    contract = _contract(place, parts)
    process = contract.process if contract else None
    text = contract.latent_space if contract else None
    width = parts[0].config["text_dim"]
    return Subject(
        name=str(place),
        ask=_asked(parts, process),
        parts=parts,
        folder=own,
        contract=contract,
        process=process,
        sampling=contract.sampling if contract else None,
        training=_training(place),
        weights_digest=digests.of_file(place / models.WEIGHTS) if (place / models.WEIGHTS).is_file() else None,
        text_shape=(text.text_length if text else families.TEXT_LENGTH, width),
    )


def _sources(place: Path) -> list[Source]:
    """Where the transformers lie: of a folder made here, or in any layout of Wan's."""
    if (place / models.RECORD).is_file() and not (place / pins.FILE).is_file():
        return [Source(role="transformer", files=(place / models.WEIGHTS,), config=place / models.CONFIG)]
    if (place / "transformer" / "config.json").is_file() and not (place / "model_index.json").is_file():
        roles: list[Role] = [role for role in EXPERTS if (place / role / "config.json").is_file()]
        return [
            Source(
                role=role,
                files=tuple(sorted((place / role).glob("*.safetensors"))),
                config=place / role / "config.json",
            )
            for role in roles
        ]
    found = layouts.found(place).sources
    beside = place.parent / "config.json"
    if place.is_file() and beside.is_file() and "transformer" in found:
        return [Source(role="transformer", files=(place,), config=beside)]
    return [found[role] for role in EXPERTS if role in found]


def load(source: Source, device: str = "cpu") -> Part:
    """A transformer on a device, with what its files hold of it, and what they lack."""
    plan = loading.plan(source)
    audit = loading.audit(plan)
    with torch.random.fork_rng(devices=[]):
        network = networks.of_config(plan.config)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    filled: dict[str, Tensor] = {}
    for file, renamed in plan.renamed.items():
        with weights.opened(file) as tensors:
            for name, new in renamed.items():
                if wanted.get(new) == plan.kinds[new].shape:
                    filled[new] = tensors.read(name).to(loading.held_in(network, new, plan.dtype)).clone()
    network.load_state_dict(filled, strict=False, assign=True)
    nn.Module.to(network.eval().requires_grad_(False), device)
    return Part(role=source.role, network=network, audit=audit, config=plan.config)


def _asked(parts: tuple[Part, ...], process: Process | None) -> Asked:
    """One network, or each row by the expert of its timestep."""
    first = _ask_one(parts[0])
    boundary = process.expert_boundary if process else None
    if len(parts) == 1 or boundary is None:
        return first
    return routed(first, _ask_one(parts[1]), boundary)


def routed(high: Asked, low: Asked, boundary: float) -> Asked:
    """Two experts as one network; all rows of a question have one timestep."""

    def ask(given: Tensor, timestep: Tensor, text: Tensor | None, _end: Tensor | None = None) -> Tensor:
        serves_high = experts.serves_high(timestep.double() / contracts.TIMESTEP_SCALE, boundary)
        return (high if bool(serves_high.all()) else low)(given, timestep, text)

    return ask


def _ask_one(part: Part) -> Asked:
    network = part.network
    weight = next(iter(network.parameters()))
    dtype, device = weight.dtype, weight.device
    length, width = families.TEXT_LENGTH, part.config["text_dim"]

    @torch.inference_mode()
    def ask(given: Tensor, timestep: Tensor, text: Tensor | None, end: Tensor | None = None) -> Tensor:
        words = torch.zeros(len(given), min(length, 16), width) if text is None else text
        size = max(1, BATCH_NUMBERS // given[0].numel())
        parts = zip(*(of.split(size) for of in (given, timestep, words, timestep if end is None else end)), strict=True)
        return torch.cat([answer(*there).float().cpu() for there in (placed(*part) for part in parts)])

    def placed(rows: Tensor, told: Tensor, said: Tensor, to: Tensor) -> tuple[Tensor, ...]:
        return rows.to(device, dtype), told.to(device), said.to(device, dtype), to.to(device)

    def answer(rows: Tensor, told: Tensor, said: Tensor, to: Tensor) -> Tensor:
        if not isinstance(network, AnyFlowTransformer3DModel):
            return network(rows, told, said, return_dict=False)[0]
        each = (at[:, None].expand(-1, rows.shape[2]) for at in (told, to))  # each latent frame is told both
        return network(rows.transpose(1, 2), *each, said, return_dict=False)[0].transpose(1, 2)

    return ask


def of_part(subject: Subject, place: int) -> Asked:
    """One of two experts alone."""
    return _ask_one(subject.parts[place])


def _contract(place: Path, parts: tuple[Part, ...]) -> Contract | None:
    if (place / contracts.FILE).is_file():
        return contracts.load(place)
    if place.is_dir():
        family = families.matching(parts[0].config, len(parts))
        return declaring.contract(place, family, family.expert_boundary if family else None)
    return None


def _training(place: Path) -> Training | None:
    path = place / models.RECORD
    return records.parse(Training, files.read_json(path), origin=str(path)) if path.is_file() else None
