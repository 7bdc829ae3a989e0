"""What students learn from: a model that was trained here, or a published one that `frostline fetch` brought here."""

from pathlib import Path

import torch

from frostline import contract as contracts
from frostline import digests, models, transformer
from frostline.errors import Refused
from frostline.models import PUBLISHED, Base, Model, Training
from frostline.wan import layouts, loading, pins


def load(folder: str | Path, dtype: torch.dtype | None = None) -> Model:
    """A teacher from a model folder or a fetched one; raises as models.load, and Refused if it is not what was fetched.

    A published one is loaded in ``dtype``, or that of most of its weights; what was made here is in float32.
    """
    folder = Path(folder)
    if not (folder / pins.FILE).is_file():
        return models.load(folder)
    pinned = pins.require_whole(folder)
    layout = layouts.found(folder)
    if "transformer_2" in layout.sources:
        raise Refused(
            f"{folder}: two experts, each with its own guidance: a teacher of one network is asked for; name a model "
            "that has one"
        )
    source = layout.sources["transformer"]
    network = loading.load(source, dtype or loading.plan(source).dtype)
    meaning = contracts.load(folder)
    space = meaning.latent_space
    return Model(
        folder=folder,
        contract=meaning,
        transformer=network,
        base=Base(path=str(folder), vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest),
        training=published(pinned, transformer.parameters(network)["all"]),
    )


def published(pinned: pins.Pins, parameters: int) -> Training:
    """What is known of how a published model came to be."""
    weights = {name: digest for name, digest in pinned.files.items() if name.startswith("transformer/")}
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
