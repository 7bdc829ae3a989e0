"""Which files of a folder are which part of a model, in the layouts Wan models come in.

diffusers   transformer/ [transformer_2/] vae/ text_encoder/ tokenizer/ scheduler/ model_index.json
native      diffusion_pytorch_model*.safetensors, or high_noise_model/ and low_noise_model/ with such files;
            Wan2.1_VAE.pth or Wan2.2_VAE.pth; models_t5_umt5-xxl-enc-bf16.pth; google/umt5-xxl/
single      one file: a transformer, a VAE or a text encoder, under either naming

In the diffusers layout ``transformer`` is the high-noise expert and ``transformer_2`` the low-noise one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from frostline import files, weights
from frostline.errors import Refused, WrongUse
from frostline.wan import names

Role = Literal["transformer", "transformer_2", "vae", "text_encoder"]
ROLES: tuple[Role, ...] = ("transformer", "transformer_2", "vae", "text_encoder")
EXPERTS: dict[Role, str] = {"transformer": "high_noise_model", "transformer_2": "low_noise_model"}  # native folders
INDEX = ".safetensors.index.json"
WEIGHTS = "diffusion_pytorch_model*.safetensors"
NATIVE_VAES = ("Wan2.1_VAE", "Wan2.2_VAE")
NATIVE_TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16"
NATIVE_TOKENIZER = "google/umt5-xxl"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one part."""

    role: Role
    files: tuple[Path, ...]
    config: Path | None  # config.json beside the weights, if there is one

    @property
    def part(self) -> names.Part:
        """What kind of module it is."""
        return "transformer" if self.role == "transformer_2" else self.role


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What lies in a folder."""

    root: Path
    naming: names.Naming
    sources: dict[Role, Source]
    tokenizer: Path | None = None
    scheduler: Path | None = None
    index: dict[str, Any] = field(default_factory=dict)  # model_index.json


def found(root: Path) -> Layout:
    """The parts in a folder, or in one file; raises WrongUse if it holds none, Refused if shards are missing."""
    if root.is_file():
        return _single(root)
    if not root.is_dir():
        raise WrongUse(f"{root}: no such file or folder")
    if (root / "model_index.json").is_file() or (root / "vae" / "config.json").is_file():
        return _diffusers(root)
    return _native(root)


def with_part(layout: Layout, role: Role, file: Path) -> Layout:
    """A layout with one part taken from a single file; raises WrongUse if the file holds another part."""
    [source] = _single(file).sources.values()
    if source.part != replace(source, role=role).part:
        raise WrongUse(f"{file}: holds a {source.part}, not a {role}")
    return replace(layout, sources={**layout.sources, role: replace(source, role=role)})


def _single(path: Path) -> Layout:
    if path.suffix not in weights.SUFFIXES:
        raise WrongUse(f"{path}: weights end in {', '.join(weights.SUFFIXES)}")
    meaning = names.kind(weights.kinds(path))
    if meaning is None:
        raise WrongUse(f"{path}: neither a Wan transformer nor a Wan VAE nor a UMT5 encoder, by its tensors' names")
    part, naming = meaning
    return Layout(root=path, naming=naming, sources={part: Source(role=part, files=(path,), config=None)})


def _diffusers(root: Path) -> Layout:
    index = files.read_json(root / "model_index.json") if (root / "model_index.json").is_file() else {}
    present: list[Role] = [role for role in ROLES if (root / role / "config.json").is_file()]
    if not present:
        raise WrongUse(f"{root}: a diffusers layout without any of {', '.join(ROLES)}")
    sources: dict[Role, Source] = {
        role: Source(role=role, files=_shards(root / role), config=root / role / "config.json") for role in present
    }
    tokenizer, scheduler = root / "tokenizer", root / "scheduler"
    return Layout(
        root=root,
        naming="diffusers",
        sources=sources,
        tokenizer=tokenizer if tokenizer.is_dir() else None,
        scheduler=scheduler if scheduler.is_dir() else None,
        index=index,
    )


def _native(root: Path) -> Layout:
    sources: dict[Role, Source] = {}
    for role, name in EXPERTS.items():
        if (root / name).is_dir():
            sources[role] = _native_transformer(role, root / name)
    if len(sources) == 1:
        raise Refused(f"{root}: one of {' and '.join(EXPERTS.values())} is missing; fetch the folder again")
    if not sources and any(root.glob(WEIGHTS)):
        sources["transformer"] = _native_transformer("transformer", root)
    if file := _one_of(root, NATIVE_VAES):
        sources["vae"] = Source(role="vae", files=(file,), config=None)
    if file := _one_of(root, (NATIVE_TEXT_ENCODER,)):
        sources["text_encoder"] = Source(role="text_encoder", files=(file,), config=None)
    if not sources:
        raise WrongUse(
            f"{root}: no Wan model: looked for model_index.json, {WEIGHTS}, {' and '.join(EXPERTS.values())}, "
            f"{', '.join(NATIVE_VAES)}, {NATIVE_TEXT_ENCODER}"
        )
    tokenizer = root / NATIVE_TOKENIZER
    return Layout(root=root, naming="native", sources=sources, tokenizer=tokenizer if tokenizer.is_dir() else None)


def _native_transformer(role: Role, folder: Path) -> Source:
    config = folder / "config.json"
    return Source(role=role, files=_shards(folder, WEIGHTS), config=config if config.is_file() else None)


def _one_of(root: Path, stems: tuple[str, ...]) -> Path | None:
    """The one file of some names, under any suffix; raises Refused if there are several."""
    there = [file for stem in stems for suffix in weights.SUFFIXES if (file := root / f"{stem}{suffix}").is_file()]
    if len(there) > 1:
        raise Refused(f"{root}: holds {' and '.join(file.name for file in there)}, which are one part; leave one there")
    return there[0] if there else None


def _shards(folder: Path, pattern: str = "*.safetensors") -> tuple[Path, ...]:
    """The weights of a folder: all that its index names, or all there are; raises Refused if one is missing."""
    indices = sorted(folder.glob(f"*{INDEX}"))
    if len(indices) > 1:
        raise Refused(f"{folder}: several indices, {', '.join(index.name for index in indices)}: leave one")
    if indices:
        listed = sorted(set(files.read_json(indices[0])["weight_map"].values()))
        missing = [name for name in listed if not (folder / name).is_file()]
        if missing:
            raise Refused(f"{folder}: {indices[0].name} names {', '.join(missing)}, not there; fetch the folder again")
        return tuple(folder / name for name in listed)
    present = tuple(sorted(folder.glob(pattern)))
    if not present:
        raise WrongUse(f"{folder}: holds no .safetensors weights")
    return present
