"""Small Wan models as folders in the layouts that Wan-AI publishes, with seeded weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frostline import files, weights
from frostline.wan import names
from tests.golden.wan import cases, small

EMBEDDING = cases.TEXT_ENCODER["dim"]
NATIVE_KEYS = {"dim": cases.WIDTH, "ffn_dim": cases.FFN, "num_heads": cases.HEADS, "num_layers": cases.LAYERS}


def transformer_config(name: str = "high-noise") -> dict[str, Any]:
    """A small transformer that takes what the small text encoder gives."""
    return {**small.transformer_config(name), "text_dim": EMBEDDING}


def native(root: Path, base: Path, *, experts: int = 1, name: str = "high-noise", vae: str = "2.1") -> Path:
    """A folder as Wan-AI publishes it: transformers in two shards with an index, .pth files, a tokenizer."""
    for folder, seed in (
        [(root, 1)] if experts == 1 else [(root / "high_noise_model", 1), (root / "low_noise_model", 2)]
    ):
        tensors = small.native("transformer", transformer_config(name), seed)
        shards(folder, tensors)
        taken, given = cases.TRANSFORMERS[name]["channels"]
        stated = {**NATIVE_KEYS, "_class_name": "WanModel", "in_dim": taken, "out_dim": given, "eps": 1e-6}
        files.write_json(folder / "config.json", stated)
    root.mkdir(exist_ok=True)
    small.write(root / f"Wan{vae}_VAE.pth", "vae", small.vae_config(vae), cases.VAES[vae]["seed"])
    text = root / "models_t5_umt5-xxl-enc-bf16.pth"
    torch.save(
        {key: t.bfloat16() for key, t in small.native("text_encoder", small.text_encoder_config(), 7).items()}, text
    )
    shutil.copytree(base / "tokenizer", root / "google" / "umt5-xxl")
    return root


def shards(folder: Path, tensors: Mapping[str, torch.Tensor], count: int = 2) -> None:
    """Weights as some files and the index that names them."""
    index: dict[str, str] = {}
    for number in range(count):
        file = f"diffusion_pytorch_model-{number + 1:05d}-of-{count:05d}.safetensors"
        some = {name: tensors[name] for name in sorted(tensors)[number::count]}
        write(folder / file, some)
        index |= dict.fromkeys(some, file)
    files.write_json(folder / "diffusion_pytorch_model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file."""
    kinds = {name: weights.Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    weights.write(path, kinds, tensors.__getitem__, metadata or {})


def read(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors files."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with weights.opened(path) as file:
            found |= {name: file.read(name).clone() for name in file.kinds}
    return found


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def same_bits(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are one, to the last bit."""
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and torch.equal(a[key].view(torch.uint8), b[key].view(torch.uint8)) for key in a
    )


def in_diffusers(part: names.Part, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of native names under diffusers' names."""
    return {new: tensors[name] for name, new in names.to_diffusers(part, tensors).items()}
