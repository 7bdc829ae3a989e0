"""Whatever a command is told to take a transformer from: where its tensors lie, and what is known of it.

A model folder made here, one that `frostline fetch` made, a folder of a diffusers pipeline or in Wan-AI's own layout,
or a single file of weights. Nothing is loaded: names, shapes and digests are looked at.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from frostline import contract as contracts
from frostline import digests, files, models, teachers, weights
from frostline.contract import Contract
from frostline.errors import Refused
from frostline.models import Base, Training
from frostline.wan import declaring, families, fetching, layouts, loading, pins
from frostline.wan.families import Family
from frostline.wan.fetching import Looked
from frostline.wan.layouts import Role, Source
from frostline.wan.loading import Plan


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One model: its transformers by role, and what is known of it."""

    place: Path
    plans: Mapping[Role, Plan]  # one, or the two experts
    weights_digest: str
    contract: Contract | None = None
    base: Base | None = None
    training: Training | None = None  # of a model that was trained here, or published
    family: Family | None = None  # the published model that it is

    def single(self) -> Plan:
        """Its one transformer; raises Refused if it has two experts."""
        if len(self.plans) > 1:
            raise Refused(
                f"{self.place}: two experts, where one transformer is asked for; name the file of one of them, such as "
                f"{self.plans['transformer'].source.files[0]}"
            )
        [plan] = self.plans.values()
        return plan

    @property
    def parameters(self) -> int:
        """How many numbers its transformers hold."""
        return sum(math.prod(kind.shape) for plan in self.plans.values() for kind in plan.kinds.values())


def find(place: Path) -> Origin:
    """What lies at a place.

    Raises WrongUse if that is no Wan transformer, Refused if it is damaged or no longer what its records say.
    """
    if (place / pins.FILE).is_file():
        return _fetched(place)
    if (place / models.RECORD).is_file():
        return _made_here(place)
    return _foreign(place)


def _made_here(place: Path) -> Origin:
    contract, base, training = models.facts(place)
    source = Source(role="transformer", files=(place / models.WEIGHTS,), config=place / models.CONFIG)
    plan = loading.plan(source)
    loading.audit(plan).require_none(source)
    return Origin(
        place=place,
        plans={"transformer": plan},
        weights_digest=training.weights_digest,
        contract=contract,
        base=base,
        training=training,
        family=families.matching(plan.config, 1),
    )


def _fetched(place: Path) -> Origin:
    pinned = pins.require_whole(place)
    looked = fetching.look(place, {})
    contract = contracts.load(place) if (place / contracts.FILE).is_file() else None
    found = Origin(
        place=place,
        plans=_experts(looked),
        weights_digest=teachers.published(pinned, 0).weights_digest,
        contract=contract,
        base=_base(place, contract),
        family=looked.family,
    )
    return dataclasses.replace(found, training=teachers.published(pinned, found.parameters))


def _foreign(place: Path) -> Origin:
    looked = fetching.look(place, {})
    plans = _experts(looked)
    if not plans:
        raise Refused(f"{place}: holds no transformer; name a model that has one")
    lying = {file.name: digests.of_file(file) for plan in plans.values() for file in plan.source.files}
    contract = _stated(place, plans)
    if contract is None and place.is_dir():
        contract = declaring.contract(place, looked.family, looked.boundary)
    return Origin(
        place=place,
        plans=plans,
        weights_digest=digests.of_json(lying),
        contract=contract,
        base=_base(place, contract),
        family=looked.family,
    )


def _experts(looked: Looked) -> dict[Role, Plan]:
    return {role: looked.plans[role] for role in layouts.EXPERTS if role in looked.plans}


def _base(place: Path, contract: Contract | None) -> Base | None:
    """The folder itself, where the frozen parts lie in it."""
    if contract is None or not (place / "vae" / "config.json").is_file():
        return None
    space = contract.latent_space
    return Base(path=str(place), vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest)


def _stated(place: Path, plans: Mapping[Role, Plan]) -> Contract | None:
    """The contract beside weights that were written here, or in their metadata."""
    if (place / contracts.FILE).is_file():
        return contracts.load(place)
    file = next(iter(plans.values())).source.files[0]
    with weights.opened(file) as tensors:
        inside = tensors.metadata.get(contracts.METADATA)
    return None if inside is None else contracts.parse(files.parse_json(inside.encode(), file), origin=str(file))
