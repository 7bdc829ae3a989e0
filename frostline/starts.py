"""What a training goes on from: the weights of a model that was made here, or of a fetched one, where that makes sense.

Everything is asked of the contract before a tensor is read. Where all weights are trained they come as masters:
float32, in memory of their own, free to move. Where an adapter is trained beside them they are frozen, as stored.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from frostline import contract as contracts
from frostline import sharding, teachers
from frostline.contract import Contract, LatentSpace, Process, Sampling
from frostline.errors import Refused, WrongUse
from frostline.models import Model
from frostline.networks import Transformer
from frostline.store import layout
from frostline.wan import families, loading, pins
from frostline.wan.names import transformer as matrices

FLOAT8 = torch.float8_e4m3fn  # 3 bits after the point of 1.xxx: steps of 6 to 12 % down to 1/64, of 1/512 below


def load(folder: str | Path, space: LatentSpace, buckets: Iterable[str]) -> Model:
    """A model to go on from, on latents of ``space`` in ``buckets``, by flow matching.

    Raises WrongUse if there is none, Refused with the reason and the remedy if it cannot be gone on from.
    """
    folder = Path(folder)
    _require_sound(folder, space, buckets)
    start = _finished(teachers.load(folder, torch.float32))
    return dataclasses.replace(start, transformer=_masters(start.transformer))


def frozen(
    folder: str | Path, space: LatentSpace, buckets: Iterable[str], computed: torch.dtype, *, float8: bool = False
) -> Model:
    """The same, never to be moved; raises as ``load``.

    Weights are held in the dtype of their files, or that of the arithmetic, ``computed``, if it is narrower: to round
    them once is what rounding them at each use comes to. What embeds time, and norms, are in float32.
    ``float8`` rounds the blocks' matrices further, to float8_e4m3fn; Refused for one with numbers that are beyond it.
    """
    folder = Path(folder)
    _require_sound(folder, space, buckets)
    stored = teachers.plan(folder).dtype
    dtype = computed if computed.itemsize < stored.itemsize else stored
    start = _finished(teachers.load(folder, stored if float8 else dtype, sharding.PRECISE))
    network = start.transformer
    for name, parameter in network.named_parameters():
        if float8 and in_float8(name):
            parameter.data = _rounded(parameter.detach(), name, folder)
        else:
            parameter.data = parameter.detach().to(loading.held_in(network, name, dtype, sharding.PRECISE))
    return dataclasses.replace(start, transformer=network.requires_grad_(False))


def in_float8(name: str) -> bool:
    """Whether a tensor, or one beside which an adapter lies, is a matrix of a block: what may be held in 8 bits."""
    module, _, kind = name.replace(".base_layer", "").rpartition(".")
    return kind == "weight" and name.startswith("blocks.") and matrices.is_matrix(module)


def _rounded(matrix: Tensor, name: str, folder: Path) -> Tensor:
    most = torch.finfo(FLOAT8).max
    if matrix.abs().max() > most:
        raise Refused(
            f"{folder}: {name} has numbers up to {matrix.abs().max():g}, and float8_e4m3fn ends at {most:g}: leave "
            "adapter.frozen_dtype out"
        )
    return matrix.to(FLOAT8)


def _require_sound(folder: Path, space: LatentSpace, buckets: Iterable[str]) -> None:
    """Raise unless a folder says that it can be gone on from."""
    _require_there(folder)
    _require_one_network(folder)
    meaning = contracts.load(folder)
    process = _process(folder, meaning)
    _require_space(folder, meaning, space)
    if meaning.sampling is not None:
        _require_plain(folder, meaning.sampling)
    _require_whole_patches(folder, process, space, buckets)


def _finished(start: Model) -> Model:
    if not start.training.complete:
        done, planned = start.training.steps_done, start.training.steps_planned
        raise Refused(f"{start.folder}: unfinished, {done} of {planned} steps: finish its training first")
    return start


def _require_there(folder: Path) -> None:
    if not folder.is_dir():
        raise WrongUse(f"{folder}: no such folder; make the model with `dvc repro`, or bring it with `frostline fetch`")
    if not (folder / contracts.FILE).is_file():
        raise WrongUse(
            f"{folder}: has no {contracts.FILE}: name a model that was made here, or one that was fetched with its VAE "
            "and text encoder"
        )


def _require_one_network(folder: Path) -> None:
    if (folder / "transformer_2").is_dir():
        raise Refused(
            f"{folder}: two experts, each for its own sigmas, and one network is trained here: start from a model that "
            "has one"
        )


def _process(folder: Path, meaning: Contract) -> Process:
    """What the start predicts; Refused where that is unknown, or nothing that is trained here."""
    if meaning.process is not None:
        return meaning.process
    name = pins.load(folder).family if _fetched(folder) else None
    if any(family.name == name and not family.trained for family in families.FAMILIES):
        raise Refused(
            f"{folder}: {name} is loaded and audited only: beside noise and text it sees an image, which no cache here "
            "holds; start from a text-to-video model"
        )
    raise Refused(
        f"{folder}: its contract has no process part, so what it predicts is unknown: start from a model that was made "
        "here, or from one of the families in docs/wan.md"
    )


def _require_space(folder: Path, meaning: Contract, space: LatentSpace) -> None:
    theirs = meaning.latent_space
    contracts.require_same(
        space,
        theirs.stored_as(space) if _fetched(folder) else theirs,  # a base does not know how latents are stored here
        ours_is="the latents",
        theirs_is=str(folder),
        remedy="a training goes on in the latent space its start knows: cache with the base that one was made for, or "
        "start from another model",
    )


def _require_plain(folder: Path, sampled: Sampling) -> None:
    """Refuse what flow matching would take away again: it leads to the plain velocity of the data."""
    if sampled.guidance_form == "folded":
        raise Refused(
            f"{folder}: guidance {sampled.guidance:g} is folded into its weights, and flow matching would train it out "
            "again: tune the teacher it learned from, then distil a student of that"
        )
    few = sampled.sampler in ("renoise", "flow_map") or sampled.sigmas is not None or sampled.allowed_steps is not None
    if few:
        raise Refused(
            f"{folder}: it is a student for few steps ({sampled.sampler}, {sampled.steps} steps), and flow matching "
            "would train that out again: tune the teacher it learned from, then distil a student of that"
        )


def _require_whole_patches(folder: Path, process: Process, space: LatentSpace, buckets: Iterable[str]) -> None:
    for name in buckets:
        latent = space.shape(layout.bucket_of(name))[1:]
        if any(side % patch for side, patch in zip(latent, process.patch_size, strict=True)):
            raise Refused(
                f"bucket {name}: its latents are {_by(latent)} (frames x height x width), of which {folder} takes "
                f"patches of {_by(process.patch_size)}: use sides that are multiples of "
                f"{_by(space.spatial_stride * patch for patch in process.patch_size[1:])} pixels"
            )


def _masters(network: Transformer) -> Transformer:
    """The network, to be trained: weights out of mapped files, so that nothing that moves them touches one."""
    for parameter in network.parameters():
        parameter.data = parameter.detach().to(torch.float32, copy=True)
    return network.requires_grad_(True)


def _fetched(folder: Path) -> bool:
    return (folder / pins.FILE).is_file()


def _by(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))
