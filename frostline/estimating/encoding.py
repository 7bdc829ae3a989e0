"""What the cache of a source takes: bytes on disk, memory and operations of the VAE and the text encoder.

The VAE's calls are walked through without numbers (``walking``), the text encoder's are counted by hand, as its code
asks tensors for their values:

    operations      2 (4 D inner + 3 D d_ff) + 4 L inner of a token in a layer, inner = h d_kv
    held at most    c B L max((2 + 1/B) h L + k D, 4 d_ff + 4.5 D)

B texts at once, of L tokens each, whatever their length; h heads, c bytes of a number. The first of the two is the bias
of positions with the mask laid over it, for every text; the second the gated layer. What lies around them of the stream
was measured: k is 7 in float32, 14 in bfloat16, whose norms are computed in float32. A test holds it to a fifth.
The VAE and the text encoder are never held together.
"""

import math
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from frostline import piecewise, tiling
from frostline.estimating import walking, work
from frostline.estimating.bases import Base
from frostline.estimating.figures import Figure, Stage
from frostline.estimating.machines import WIDTHS, Machine
from frostline.estimating.rows import Bucket, Rows
from frostline.estimating.walking import Walk
from frostline.pages import words
from frostline.params import CacheParams
from frostline.store import layout

AROUND = {"float32": 7, "bfloat16": 14}  # k


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Captions of a source, at most."""

    count: int
    tokens: int  # of each


def stage(rows: Rows, base: Base, cache: CacheParams, machine: Machine, tokens: int | None) -> Stage:
    """The cache of one source; ``tokens`` of a caption, or None for as many as a text can have."""
    texts = Texts(count=rows.count, tokens=min(tokens or base.space.text_length, base.space.text_length))
    calls = {bucket: _walk(base, bucket, cache) for bucket in rows.buckets}
    flops = [_of_texts(texts, base), *(_of_bucket(rows, bucket, calls[bucket], cache) for bucket in rows.buckets)]
    held = [*_text_memory(base, cache, machine), *_vae_memory(base, calls, cache)]
    most = max((_sum(held, "text encoder"), _sum(held, "VAE")))
    device = Figure(name="memory per device", value=most, unit="bytes", formula="the larger of the two, with its calls")
    text = sum(figure.value for figure in flops[:1])
    media = sum(figure.value for figure in flops[1:])
    return Stage(
        name=f"cache@{rows.source}",
        what=f"{rows.count:,} rows by {rows.origin}; base {base.origin}",
        figures=(
            *_parameters(base),
            *_disk(rows, texts, base),
            *held,
            device,
            *flops,
            *_time(text, media, base, cache, machine),
        ),
        notes=("one process encodes; shares of `shard` divide its hours, not its memory",),
    )


def _sum(figures: list[Figure], part: str) -> float:
    return sum(figure.value for figure in figures if figure.name.startswith(part))


def _parameters(base: Base) -> list[Figure]:
    why = "counted from its configuration"
    return [
        Figure(name="parameters of the VAE", value=base.vae_parameters, unit="parameters", formula=why),
        Figure(name="parameters of the text encoder", value=base.text_parameters, unit="parameters", formula=why),
    ]


def _disk(rows: Rows, texts: Texts, base: Base) -> list[Figure]:
    space = base.space
    width, wide = (layout.DTYPES[dtype].itemsize for dtype in (space.stored_dtype, space.text_stored_dtype))
    latents = [
        Figure(
            name=f"latents {words.name(bucket)} on disk",
            value=count * math.prod(space.shape(bucket)) * width,
            unit="bytes",
            formula=f"{count:,} rows × {' × '.join(map(str, space.shape(bucket)))} × {width}",
        )
        for bucket, count in rows.buckets.items()
    ]
    embeddings = Figure(
        name="texts on disk",
        value=texts.count * texts.tokens * space.text_dim * wide,
        unit="bytes",
        formula=f"at most {texts.count:,} captions × {texts.tokens} tokens × {space.text_dim:,} × {wide}: one a row, "
        "and equal ones are stored once",
    )
    every = [*latents, embeddings]
    total = sum(figure.value for figure in every)
    return [*every, Figure(name="on disk", value=total, unit="bytes", formula="latents + texts")]


def _text_weights(base: Base, width: int, *, offloaded: bool) -> Figure:
    """The text encoder's, or what of them is there at once: what lies in no block, and two blocks."""
    config, every = base.text, base.text_parameters
    d, inner = config.d_model, config.num_heads * config.d_kv
    block = 4 * d * inner + 3 * d * config.d_ff + config.relative_attention_num_buckets * config.num_heads + 2 * d
    outside = every - config.num_layers * block
    return Figure(
        name="text encoder",
        value=width * (outside + 2 * block if offloaded else every),
        unit="bytes",
        formula=f"{width} × ({outside:,} + 2 × {block:,}): the other blocks wait on the host"
        if offloaded
        else f"{width} × {every:,}",
    )


def _text_memory(base: Base, cache: CacheParams, machine: Machine) -> list[Figure]:
    config, length, batch = base.text, base.space.text_length, cache.text_batch
    c, around = WIDTHS[base.space.text_stored_dtype], AROUND[base.space.text_stored_dtype]
    h, ff, d = config.num_heads, config.d_ff, config.d_model
    return [
        _text_weights(base, c, offloaded=cache.offload and machine.device != "cpu"),
        Figure(
            name="text encoder, a call",
            value=c * batch * length * max((2 + 1 / batch) * h * length + around * d, 4 * ff + 4.5 * d),
            unit="bytes",
            formula=f"{c} × B {batch} × L {length} × max((2 + 1/{batch}) × h {h} × L {length} + {around} × D {d:,}, "
            f"4 × {ff:,} + 4.5 × D {d:,})",
        ),
    ]


def _vae_memory(base: Base, calls: dict[Bucket, Walk], cache: CacheParams) -> list[Figure]:
    if not calls:
        return []
    width = WIDTHS[base.space.encode_dtype]
    bucket = max(calls, key=lambda bucket: calls[bucket].bytes)
    return [
        Figure(
            name="VAE",
            value=width * base.vae_parameters,
            unit="bytes",
            formula=f"{width} × {base.vae_parameters:,}",
        ),
        Figure(
            name="VAE, a call",
            value=calls[bucket].bytes,
            unit="bytes",
            formula=f"tensors of a call with {cache.encode_batch} rows of {words.name(bucket)}, at most, "
            f"{base.space.encode_dtype}: walked through without numbers",
        ),
    ]


def _of_texts(texts: Texts, base: Base) -> Figure:
    config, length = base.text, base.space.text_length
    d, ff, inner, layers = config.d_model, config.d_ff, config.num_heads * config.d_kv, config.num_layers
    token = 2 * (4 * d * inner + 3 * d * ff) + 4 * length * inner
    return Figure(
        name="texts",
        value=texts.count * length * layers * token,
        unit="FLOP",
        formula=f"{texts.count:,} captions × L {length} × {layers} layers × (2 × (4 × {d:,} × {inner:,} + 3 × {d:,} × "
        f"{ff:,}) + 4 × {length} × {inner:,})",
    )


def _of_bucket(rows: Rows, bucket: Bucket, call: Walk, cache: CacheParams) -> Figure:
    count = -(-rows.buckets[bucket] // cache.encode_batch)
    return Figure(
        name=f"latents {words.name(bucket)}",
        value=count * call.flops,
        unit="FLOP",
        formula=f"{count:,} calls × {call.flops:.4g}: {cache.encode_batch} rows each, the last padded",
    )


def _time(text: float, media: float, base: Base, cache: CacheParams, machine: Machine) -> list[Figure]:
    """On one device, whatever number trains; none where the cache is made on another kind of device."""
    if cache.device not in ("auto", machine.device):
        return []
    one = machine.alone()
    if base.space.text_stored_dtype == base.space.encode_dtype:
        return work.time(text + media, base.space.encode_dtype, one)
    rounded, precise = (text, media) if base.space.encode_dtype == "float32" else (media, text)
    return work.time(rounded, "bfloat16", one, precise)


def _walk(base: Base, bucket: Bucket, cache: CacheParams) -> Walk:
    """One call of the VAE."""
    tiled = tiling.chosen(*bucket[1:], most_pixels=cache.most_pixels, stride=base.space.spatial_stride)
    vae = base.vae.bfloat16() if base.space.encode_dtype == "bfloat16" else base.vae
    return of_vae(vae, (cache.encode_batch, *bucket, 3), tiled.tile)


def of_vae(vae: AutoencoderKLWan, shape: tuple[int, ...], tile: int | None) -> Walk:
    """A call of a VAE on the meta device for pixels (B, T, H, W, 3)."""
    with walking.walked() as found:
        pixels = torch.empty(shape, dtype=torch.uint8, device="meta")
        piecewise.encode(vae, pixels, _scaled, tile)
    return found


def _scaled(pixels: Tensor) -> Tensor:
    """As ``codec`` does it."""
    return pixels.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1
