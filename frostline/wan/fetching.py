"""A published model as a local, pinned folder in one layout, diffusers' own, whatever layout it came in.

Everything is looked at before a byte is written: names and shapes of all tensors, and whether parts belong together.
Weights keep their dtype and their bits; files that need no other names are linked or copied.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import contract as contracts
from frostline import files, sampling
from frostline.errors import Refused, WrongUse
from frostline.wan import configs, declaring, families, gathering, layouts, loading, names, pairing, pins, rewriting
from frostline.wan.families import Family
from frostline.wan.layouts import Layout, Role, Source

CLASSES = {"transformer": "WanTransformer3DModel", "vae": "AutoencoderKLWan", "text_encoder": "UMT5EncoderModel"}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A model that was looked at and found whole."""

    layout: Layout
    plans: dict[Role, loading.Plan]
    family: Family | None
    boundary: float | None  # sigma from which the high-noise expert serves


def fetch(
    source: str, folder: Path, *, revision: str | None = None, parts: Mapping[Role, Path] | None = None
) -> pins.Pins:
    """Make ``folder`` of a model on the hub, in an object store or in a folder; ``parts`` take the place of its own.

    A folder that was fetched from there before is compared with what it was. Raises WrongUse if the folder is another,
    Refused if files are damaged, tensors are missing or too many, or parts do not belong together.
    """
    if folder.exists():
        return _fetched_before(source, folder, revision)
    work = folder.with_name(f".fetching-{folder.name}")
    gathered = gathering.gather(source, work, revision=revision)
    looked = look(gathered.root, parts or {})
    with files.new_folder(folder) as beside:
        _write(looked, beside, may_move=gathered.temporary)
        family = looked.family.name if looked.family else None
        _declare(beside, looked)
        made = pins.save(beside, source=source, revision=gathered.revision, family=family, boundary=looked.boundary)
    shutil.rmtree(work, ignore_errors=True)
    return made


def look(root: Path, parts: Mapping[Role, Path]) -> Looked:
    """Look at all parts of a model without reading a tensor; raises as ``fetch``."""
    layout = layouts.found(root)
    for role, file in parts.items():
        layout = layouts.with_part(layout, role, file)
    pairing.require_order(layout)
    plans: dict[Role, loading.Plan] = {role: loading.plan(source) for role, source in layout.sources.items()}
    for role, found in plans.items():
        loading.audit(found).require_none(layout.sources[role])
    parted: dict[Role, configs.Config] = {role: found.config for role, found in plans.items()}
    pairing.require(parted, where=str(root))
    experts = [plans[role].config for role in layouts.EXPERTS if role in plans]
    family = families.matching(experts[0], len(experts)) if experts else None
    return Looked(layout=layout, plans=plans, family=family, boundary=pairing.boundary(layout, family, where=str(root)))


def _declare(folder: Path, looked: Looked) -> None:
    """Write down what the folder is."""
    meaning = declaring.contract(folder, looked.family, looked.boundary)
    if meaning is not None:
        contracts.save(meaning, folder)


def _fetched_before(source: str, folder: Path, revision: str | None) -> pins.Pins:
    if not (folder / pins.FILE).is_file():
        raise WrongUse(f"{folder}: exists, and was not fetched; name a new folder, or remove that one")
    made = pins.require_whole(folder)
    if made.source != source or revision not in (None, made.revision):
        raise Refused(f"{folder}: was fetched from {made.source} {made.revision or ''}; name a new folder for {source}")
    return made


def _write(looked: Looked, folder: Path, *, may_move: bool) -> None:
    for role, found in looked.plans.items():
        (folder / role).mkdir()
        _write_weights(found, folder / role, may_move=may_move)
        files.write_json(folder / role / "config.json", _config(found))
    if looked.layout.tokenizer is not None:
        _write_tokenizer(looked.layout.tokenizer, folder / "tokenizer")
    if looked.layout.scheduler is not None:
        shutil.copytree(looked.layout.scheduler, folder / "scheduler")
    elif looked.family is not None:
        sampling.unipc_scheduler(solver_order=2, shift=looked.family.shift).save_pretrained(folder / "scheduler")
    files.write_json(folder / "model_index.json", _index(looked, folder))


def _write_weights(found: loading.Plan, folder: Path, *, may_move: bool) -> None:
    source = found.source
    if _is_diffusers(source, found):
        for file in (*source.files, *source.files[0].parent.glob(f"*{layouts.INDEX}")):
            _place(file, folder / file.name, may_move=may_move)
    else:
        rewriting.to_diffusers(found, folder)


def _write_tokenizer(place: Path, folder: Path) -> None:
    """A tokenizer that says how many tokens a transformer sees: published ones know no limit."""
    shutil.copytree(place, folder)
    path = folder / "tokenizer_config.json"
    stated = files.read_json(path)
    if not 1 <= stated.get("model_max_length", 0) <= families.TEXT_LENGTH:
        files.write_json(path, {**stated, "model_max_length": families.TEXT_LENGTH})


def _is_diffusers(source: Source, found: loading.Plan) -> bool:
    """Whether files have the names and the format of the diffusers layout already."""
    stem = rewriting.STEMS[source.part]
    renamed = [pair for mapping in found.renamed.values() for pair in mapping.items()]
    named = all(file.suffix == ".safetensors" and file.name.startswith(stem) for file in source.files)
    return source.config is not None and named and all(old == new for old, new in renamed)


def _place(file: Path, target: Path, *, may_move: bool) -> None:
    """Put a file where it belongs; what was downloaded for this is moved, what belongs to others is copied."""
    if may_move:
        os.link(file.resolve(), target)
    else:
        shutil.copyfile(file, target)


def _config(found: loading.Plan) -> dict[str, Any]:
    """The config.json of a part, with nothing left to the defaults of a version."""
    if found.source.part == "text_encoder":
        return {"architectures": [CLASSES["text_encoder"]], "model_type": "umt5", **found.config, **_dtype(found)}
    return {"_class_name": CLASSES[found.source.part], **found.config}


def _dtype(found: loading.Plan) -> dict[str, str]:
    """The dtype that a text encoder is computed in: that of its weights."""
    return (
        {}
        if "dtype" in found.config or "torch_dtype" in found.config
        else {"dtype": str(found.dtype).removeprefix("torch.")}
    )


def _index(looked: Looked, folder: Path) -> dict[str, Any]:
    """model_index.json of the folder: its own where it had one, else what its parts say."""
    per_token = looked.family is not None and looked.family.timesteps == "per token"
    parts: dict[str, Any] = {role: [None, None] for role in (*layouts.ROLES, "tokenizer", "scheduler")}
    for role in looked.plans:
        part: names.Part = looked.plans[role].source.part
        parts[role] = ["transformers" if part == "text_encoder" else "diffusers", CLASSES[part]]
    if (folder / "tokenizer").is_dir():
        parts["tokenizer"] = ["transformers", "T5TokenizerFast"]
    if (folder / "scheduler").is_dir():
        parts["scheduler"] = ["diffusers", "UniPCMultistepScheduler"]
    made = {"_class_name": "WanPipeline", "boundary_ratio": looked.boundary, "expand_timesteps": per_token, **parts}
    return {**made, **looked.layout.index}
