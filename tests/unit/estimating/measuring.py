"""Steps that are really taken, with every tensor's bytes counted."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from frostline import transformer
from frostline.contract import Process
from frostline.dataset import Batch
from frostline.estimating.activations import Row
from frostline.estimating.networks import Network
from frostline.objectives import flow_matching
from frostline.params.trainings import ModelParams
from tests import tiny

SPACE = tiny.space(z_dim=4, text_dim=40, text_length=12)
LATENT = (4, 3, 8, 8)
PROCESS = Process(shift=3.0, draws="logit_normal", patch_size=(1, 1, 1))


def shape(**changed: Any) -> ModelParams:
    """A transformer whose widths are all different."""
    facts: dict[str, Any] = {"layers": 3, "heads": 2, "head_dim": 24, "ffn_dim": 160, "patch_size": (1, 1, 1)}
    return ModelParams(**{**facts, **changed})


def network(**changed: Any) -> Network:
    """The same with weights."""
    module = transformer.create(shape(**changed), SPACE, seed=0)
    return Network(module=module.train(), origin="a test")


def row(of: Network) -> Row:
    """The sizes of one row of ``batch``."""
    patch = of.config["patch_size"]
    tokens = LATENT[1] * LATENT[2] * LATENT[3] // (patch[0] * patch[1] * patch[2])
    return Row(tokens=tokens, text=SPACE.text_length, values=LATENT[0] * LATENT[1] * LATENT[2] * LATENT[3])


def batch(rows: int) -> Batch:
    """Rows of noise."""
    draw = torch.Generator().manual_seed(0)
    clean = torch.randn(rows, *LATENT, generator=draw)
    text = torch.randn(rows, SPACE.text_length, SPACE.text_dim, generator=draw)
    return Batch(rows=tuple(range(rows)), clean=clean, text=text, dropped=torch.zeros(rows, dtype=torch.bool))


def loss(module: torch.nn.Module, given: Batch, **process: Any) -> Tensor:
    """The mean loss of a batch, as the engine has it."""
    noise, sigma = torch.randn_like(given.clean), torch.rand(len(given.rows), dtype=torch.float64)
    meaning = PROCESS.model_copy(update=process)
    return flow_matching.objective(meaning)(module, given, noise, sigma).mean()


class Kept:
    """Bytes of all that autograd keeps for the way back, weights and buffers apart; each piece of memory once."""

    def __init__(self, module: torch.nn.Module) -> None:
        own = [*module.parameters(), *module.buffers()]
        self._own = {_place(tensor) for tensor in own}
        self._found: dict[int, torch.UntypedStorage] = {}

    def __enter__(self) -> "Kept":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _keep(self, tensor: Tensor) -> Tensor:
        if _place(tensor) not in self._own:
            self._found[_place(tensor)] = tensor.untyped_storage()
        return tensor

    @property
    def bytes(self) -> int:
        """What is held now: gathered weights that were let go of again count nothing."""
        return sum(storage.nbytes() for storage in self._found.values())


def _place(tensor: Tensor) -> int:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return id(local.untyped_storage())
