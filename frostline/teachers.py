"""Models to sample and to learn from: trained here, or published ones that `frostline fetch` brought here.

A published one may be two experts: ``transformer`` for high noise, ``transformer_2`` for low, each with its guidance.
"""

from collections.abc import Collection
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel

from frostline import contract as contracts
from frostline import digests, models, transformer
from frostline.contract import Contract
from frostline.errors import Refused, WrongUse
from frostline.models import PUBLISHED, Base, Model, Training
from frostline.wan import layouts, loading, pins
from frostline.wan.layouts import EXPERTS, Layout, Source
from frostline.wan.loading import Plan


def load(folder: str | Path, dtype: torch.dtype | None = None, precise: Collection[str] = ()) -> Model:
    """A model from a model folder or a fetched one; raises as models.load, and Refused if it is not what was fetched.

    A published one is loaded in ``dtype``, or that of most of its weights, but for ``precise`` modules, which are in
    float32; what was made here is as it was written. Refused too: two experts of which nothing says where one takes
    over from the other, and one of two.
    """
    folder = Path(folder)
    if not (folder / pins.FILE).is_file():
        _require_no_bare_pipeline(folder)
        return models.load(folder)
    pinned = pins.require_whole(folder)
    layout, meaning = layouts.found(folder), _contract(folder)
    _require_whole_experts(folder, layout, meaning)
    experts = [_loaded(layout.sources[role], dtype, precise) for role in EXPERTS if role in layout.sources]
    space = meaning.latent_space
    return Model(
        folder=folder,
        contract=meaning,
        transformer=experts[0],
        low=experts[1] if len(experts) > 1 else None,
        base=Base(path=str(folder), vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest),
        training=published(pinned, sum(transformer.parameters(one)["all"] for one in experts)),
    )


def plan(folder: Path) -> Plan:
    """The one transformer of such a folder, tensor by tensor; raises Refused if its files are something else."""
    return loading.plan(source(folder))


def source(folder: Path) -> Source:
    """Where the one transformer of such a folder lies."""
    if (folder / pins.FILE).is_file():
        return layouts.found(folder).sources["transformer"]
    return Source(role="transformer", files=(folder / models.WEIGHTS,), config=folder / models.CONFIG)


def _loaded(source: Source, dtype: torch.dtype | None, precise: Collection[str]) -> WanTransformer3DModel:
    return loading.load(source, dtype or loading.plan(source).dtype, precise)


def _contract(folder: Path) -> Contract:
    if not (folder / contracts.FILE).is_file():
        raise WrongUse(
            f"{folder}: has no {contracts.FILE}, so what its latents are is unknown: fetch a model with its VAE, text "
            "encoder and tokenizer"
        )
    return contracts.load(folder)


def _require_whole_experts(folder: Path, layout: Layout, meaning: Contract) -> None:
    if "transformer" not in layout.sources:
        raise Refused(f"{folder}: holds no transformer; name a model that has one")
    two, process = "transformer_2" in layout.sources, meaning.process
    if process is None or two == (process.expert_boundary is not None):
        return
    if two:
        raise Refused(
            f"{folder}: holds two experts, and process.expert_boundary in {folder / contracts.FILE} is missing: "
            "nothing says from which sigma on the high-noise one serves; fetch it again, into a new folder"
        )
    raise Refused(
        f"{folder}: {contracts.FILE} says two experts, the high-noise one from sigma {process.expert_boundary:g} on, "
        f"and {folder / 'transformer_2'} is missing; fetch it again, into a new folder"
    )


def _require_no_bare_pipeline(folder: Path) -> None:
    if (folder / "model_index.json").is_file() and not (folder / models.RECORD).is_file():
        raise WrongUse(
            f"{folder}: a pipeline folder, with no record of what its files are; of a published model "
            f"`frostline fetch {folder} NEW_FOLDER` makes a model folder"
        )


def require_same(model: Model) -> None:
    """Raise Refused if the files of a model that was loaded are others by now."""
    if (model.folder / pins.FILE).is_file():
        pins.require_whole(model.folder)
        return
    _, _, training = models.facts(model.folder)
    if training.weights_digest != model.training.weights_digest:
        raise Refused(
            f"{model.folder}: its weights were replaced while they were in use ({training.weights_digest}, and "
            f"{model.training.weights_digest} was loaded); run again, from the weights that are there now"
        )


def published(pinned: pins.Pins, parameters: int) -> Training:
    """What is known of how a published model came to be."""
    experts = tuple(f"{role}/" for role in EXPERTS)
    weights = {name: digest for name, digest in pinned.files.items() if name.startswith(experts)}
    return Training(
        stage=PUBLISHED,
        steps_planned=0,
        steps_done=0,
        parameters={"total": parameters},
        dataset_digest="",
        weights_digest=digests.of_json(weights),
        ema_decay=0.0,
        objective=PUBLISHED,
        teacher_digest=None,
        tensor_sources=None,
    )
