"""Transformers by their configurations alone, on torch's meta device: what they weigh, and what moves them."""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import WanTransformer3DModel

from frostline import files, sharding, starts, transformer
from frostline.contract import LatentSpace
from frostline.errors import WrongUse
from frostline.estimating.machines import WIDTHS, Dtype
from frostline.muon import ITERATIONS
from frostline.networks import Transformer
from frostline.optimizer import Optimizer
from frostline.params import MODELS, Params
from frostline.params.trainings import AdapterParams, ModelParams, OptimizerParams
from frostline.wan import configs, layouts, loading
from frostline.wan.families import Family

MASTER = 4  # bytes of a weight that is trained


@dataclass(frozen=True, kw_only=True)
class Network:
    """A transformer without weights."""

    module: Transformer
    origin: str
    experts: int = 1  # transformers of this shape, of which one serves a row
    width_of_weight: int = MASTER  # bytes, where it is frozen
    adapter: AdapterParams | None = None  # what is trained of it, where that is not all

    @property
    def config(self) -> Mapping[str, Any]:
        """Its keyword arguments."""
        return cast(Mapping[str, Any], self.module.config)

    @property
    def parameters(self) -> int:
        """How many numbers one of them has."""
        return transformer.parameters(self.module)["all"]

    @property
    def trained(self) -> int:
        """How many of them are trained."""
        return transformer.parameters(self.module)["trainable"]

    @property
    def adapted(self) -> dict[str, torch.Size]:
        """Matrices beside which an adapter is trained, with their shapes (out, in)."""
        ending = ".base_layer.weight"
        named = self.module.named_parameters()
        return {name.removesuffix(ending): weight.shape for name, weight in named if name.endswith(ending)}

    @property
    def in_float8(self) -> int:
        """How many of them are held in 8 bits: matrices of blocks, where an adapter's ``frozen_dtype`` says so."""
        if self.adapter is None or self.adapter.frozen_dtype is None:
            return 0
        return sum(p.numel() for name, p in self.module.named_parameters() if starts.in_float8(name))

    def read_bytes(self, dtype: Dtype) -> int:
        """What its frozen weights take: as they are stored, or as they are computed with where that is narrower."""
        held = torch.bfloat16 if min(self.width_of_weight, WIDTHS[dtype]) < MASTER else torch.float32
        return sum(
            weight.numel() * loading.held_in(self.module, name, held, sharding.PRECISE).itemsize
            for name, weight in self.module.named_parameters()
            if not weight.requires_grad
        )

    def frozen_bytes(self, dtype: Dtype) -> int:
        """The same of what is held while it is trained beside: in 8 bits, where that is asked for."""
        width = min(self.width_of_weight, WIDTHS[dtype])
        return self.read_bytes(dtype) - (width - 1) * self.in_float8

    @property
    def block(self) -> int:
        """How many of them one block has."""
        return transformer.parameters(self.module.blocks[0])["all"]

    @property
    def width(self) -> int:
        """Of its stream."""
        return self.config["num_attention_heads"] * self.config["attention_head_dim"]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Which optimiser moves how much of a network."""

    kernels: Mapping[tuple[int, int], int]  # matrices that Muon moves: how many of each shape
    rest: int  # parameters that AdamW moves
    means: int  # bytes of its two means of them
    widest: int  # numbers of the largest matrix whose means are held in 8 bits; 0 where there is none

    @property
    def matrices(self) -> int:
        """Parameters that Muon moves."""
        return sum(rows * columns * count for (rows, columns), count in self.kernels.items())

    @property
    def flops(self) -> float:
        """Of Muon's iteration on all of them: three products each turn, the smaller side m against the larger n."""
        return sum(
            count * ITERATIONS * (4 * min(shape) ** 2 * max(shape) + 2 * min(shape) ** 3)
            for shape, count in self.kernels.items()
        )

    @property
    def stacked(self) -> tuple[int, int]:
        """Numbers that Muon holds for the matrices of one shape, at most: its steps, spread as weights are; and whole
        ones, see ``_copies``.
        """
        own = {shape: count * shape[0] * shape[1] for shape, count in self.kernels.items()}
        largest = max(self.kernels, key=lambda shape: self.kernels[shape] * _copies(*shape))
        return own[largest], self.kernels[largest] * _copies(*largest)


def _copies(rows: int, columns: int) -> int:
    """Numbers that lie around one matrix (m, n), m <= n, while it is orthogonalised: 5 mn + m^2 or 3 mn + 4 m^2.

    The matrix as stacked, two turns of it, two sums; or, before those, its Gram matrix and the powers of that.
    """
    m, n = sorted((rows, columns))
    return max(5 * m * n + m * m, 3 * m * n + 4 * m * m)


def of_run(model: ModelParams, space: LatentSpace, origin: str) -> Network:
    """The network of a training."""
    with torch.device("meta"):
        return Network(module=transformer.create(model, space, seed=0), origin=origin)


def of_config(config: Mapping[str, Any], origin: str, **facts: Any) -> Network:
    """The network of a configuration of diffusers."""
    with torch.device("meta"):
        module: Any = WanTransformer3DModel.from_config(dict(config))
    return Network(module=module, origin=origin, **facts)


def of_student(teacher: Network, layers: Sequence[int], *, maps: bool = False) -> Network:
    """A network of the teacher's width with so many of its layers, a flow map if it ``maps``.

    Raises WrongUse for a layer the teacher has not.
    """
    of_layers = transformer.flow_map_from_layers if maps else transformer.from_layers
    with torch.device("meta"):
        module, _ = of_layers(cast(WanTransformer3DModel, teacher.module), layers)
    return Network(module=module, origin=f"{len(layers)} of {teacher.config['num_layers']} layers of {teacher.origin}")


def with_adapter(network: Network, adapter: AdapterParams) -> Network:
    """A network that is frozen but for an adapter; raises WrongUse as the training does."""
    from frostline import adapters  # peft is not part of the core

    adapters.add(network.module.requires_grad_(False), adapter, seed=0, where=network.origin)
    return dataclasses.replace(network, adapter=adapter)


def moved(network: Network, params: OptimizerParams) -> Moved:
    """What a network's optimisers move, asked of the optimiser itself."""
    optimizer = Optimizer(network.module, params, steps=1)  # how long they go on moves nothing else
    parts = {name: part.param_groups[0]["params"] for name, (part, _) in optimizer.parts.items()}
    shapes = collections.Counter((p.size(0), math.prod(p.shape[1:])) for p in parts.get("muon", []))
    means = {name: t for name, t in optimizer.tensors().items() if name.startswith("adamw.") and t.ndim}
    return Moved(
        kernels=shapes,
        rest=sum(p.numel() for p in parts.get("adamw", [])),
        means=sum(tensor.nbytes for tensor in means.values()),
        widest=max((tensor.numel() for tensor in means.values() if tensor.dtype == torch.uint8), default=0),
    )


def _made(path: str) -> str:
    """The name of a model that is made here; of any other folder none."""
    return Path(path).name if Path(path).parent == Path(MODELS) else ""


def of_folder(path: str, settings: Params, space: LatentSpace, family: Family | None) -> Network:
    """The network that a student learns from or a training goes on from: of params, or of a folder's configuration.

    ``family`` stands in the place of the base. Raises WrongUse if none of these says what the network is.
    """
    name, seen = _made(path), set[str]()
    while name in settings.tuned and name not in seen:
        seen.add(name)
        path = settings.tuned[name].start
        name = _made(path)
    folder, runs = Path(path), settings.train.runs
    if name in runs:
        return of_run(runs[name].model, space, f"train.runs.{name}")
    if family is not None and path == settings.base:
        return of_config(family.transformer.config(), family.name, experts=family.experts)
    config = folder / "transformer" / "config.json"
    if not config.is_file():
        known = ", ".join(runs) or "there is none"
        raise WrongUse(
            f"{path}, which a stage begins with: neither a training in train.runs ({known}) nor a folder with "
            f"{config.relative_to(folder)}; fetch it, or put {config} there"
        )
    return of_config(
        configs.completed("transformer", files.read_json(config)),
        path,
        experts=2 if (folder / "transformer_2" / "config.json").is_file() else 1,
        width_of_weight=_width(folder),
    )


def _width(folder: Path) -> int:
    """Bytes of a weight in its files; float32's where there are none."""
    if not any((folder / "transformer").glob("*.safetensors")):
        return MASTER
    return loading.plan(layouts.found(folder).sources["transformer"]).dtype.itemsize


def in_short(network: Network) -> str:
    """A network in words."""
    config = network.config
    experts = f"{network.experts} experts, " if network.experts > 1 else ""
    return f"{experts}{config['num_layers']} layers, width {network.width}, of {network.origin}"
