"""Networks of published shapes with random weights, as stages hold them, and a base folder of such."""

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from benchmarks.parts import small_training
from frostline import adapters, records, sharding, starts, transformer
from frostline.contract import LatentSpace
from frostline.networks import Transformer
from frostline.params.trainings import AdapterParams, ModelParams
from frostline.wan import families, loading

TOKENIZER = Path("assets/miniature/tokenizer")  # its tokens are among the first of any vocabulary
QUICK_TEXT = {"vocab_size": 300, "d_model": 64, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
QUICK_VAE = {"base_dim": 8, "num_res_blocks": 1}

Held = Callable[[Transformer], Transformer]
"""network -> the same, as a stage holds it"""


def as_drawn(network: Transformer) -> Transformer:
    """Masters in float32."""
    return network


def shape(family: str, *, quick: bool) -> dict[str, Any]:
    """The shape of a family's transformer as params say it; of one layer where it is to be quick."""
    if quick:
        return small_training.TINY
    published = _family(family).transformer
    return {
        "layers": published.layers,
        "heads": published.heads,
        "head_dim": families.HEAD_DIM,
        "ffn_dim": published.ffn_dim,
        "patch_size": list(published.patch_size),
    }


def drawn(
    values: dict[str, Any], space: LatentSpace, device: torch.device, *, held: Held = as_drawn, seed: int = 0
) -> Transformer:
    """A network whose weights are drawn on a device, where billions take seconds, and then wait on the host."""
    with device:
        made = transformer.create(records.parse(ModelParams, values, origin="benchmarks"), space, seed=seed)
    made.proj_out.weight.data.normal_(std=0.02, generator=torch.Generator(device).manual_seed(seed))
    ready = held(made)
    nn.Module.to(ready, "cpu")
    return ready


def frozen(network: Transformer, *, precise: Collection[str] = (), float8: bool = False) -> Transformer:
    """The same as a published model is held: in bfloat16, but for ``precise`` modules; or its blocks in float8."""
    for name, parameter in network.named_parameters():
        held = loading.held_in(network, name, torch.bfloat16, precise)
        parameter.data = parameter.detach().to(starts.FLOAT8 if float8 and starts.in_float8(name) else held)
    return network.eval().requires_grad_(False)


def beside(adapter: AdapterParams) -> Held:
    """A network frozen as an adapter's params say."""
    return functools.partial(frozen, precise=sharding.PRECISE, float8=adapter.frozen_dtype is not None)


def adapted(network: Transformer, adapter: AdapterParams) -> Transformer:
    """A network that is frozen, with an adapter beside it; it is changed."""
    adapters.add(network, adapter, seed=0, where="a network of random weights")
    return network


def base(folder: Path, device: torch.device, *, quick: bool) -> Path:
    """A base folder with a VAE and a text encoder of Wan2.1's shapes, of small ones where it is to be quick."""
    published = _family("wan2.1-t2v-1.3b")
    vae = published.vae.config() | (QUICK_VAE if quick else {})
    text: dict[str, Any] = published.text_encoder.config() | (QUICK_TEXT if quick else {})
    with device:
        coder: Any = AutoencoderKLWan.from_config(vae)
        encoder = UMT5EncoderModel(UMT5Config(**text)).bfloat16()
    coder.cpu().save_pretrained(folder / "vae")
    encoder.cpu().save_pretrained(folder / "text_encoder")
    tokenizer: Any = AutoTokenizer.from_pretrained(TOKENIZER, model_max_length=16 if quick else families.TEXT_LENGTH)
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder


def _family(name: str) -> families.Family:
    [found] = [family for family in families.FAMILIES if family.name == name]
    return found
