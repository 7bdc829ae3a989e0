"""A model folder and its base as one complete diffusers pipeline folder, with a card that says how to call it.

The stock pipeline (``WanPipeline``, of flow maps ``AnyFlowPipeline``) takes guidance, steps, size and text length at
each call and cannot read them from a folder; so the card holds the whole call, written from the contract, and what the
stock pipeline cannot do is refused.
Frozen parts are written in the precision they are computed in here: float32, the text encoder in its own.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers

from frostline import contract as contracts
from frostline import files, generation, sampling
from frostline.codec import Codec
from frostline.contract import Process, Sampling
from frostline.errors import Refused, WrongUse
from frostline.models import PUBLISHED, Model, Training
from frostline.wan.layouts import EXPERTS

CARD = "README.md"
EXAMPLE = "a handwritten digit seven"


def export(model: Model, base: str | Path, folder: str | Path) -> None:
    """Write the pipeline folder, whole or not at all.

    Raises WrongUse if the folder is there already, Refused if the stock pipeline cannot sample the model as its
    contract says or the base is not the model's.
    """
    folder, codec = Path(folder), Codec(base)
    if folder.exists():
        raise WrongUse(f"{folder}: exists; name a new folder, or remove that one")
    process, sampled = model.sampled()
    if process.conditioning != "none":
        raise Refused(
            f"{model.folder}: it continues clips, and the stock WanPipeline makes them from words alone; use "
            "`frostline predict`"
        )
    scheduler = _stock_scheduler(model, sampled)
    generation.require_base(model, codec)
    frozen: dict[str, Any] = {"tokenizer": codec.tokenizer, "text_encoder": codec.text_encoder, "vae": codec.vae}
    networks: dict[str, Any] = {"transformer": model.transformer}
    if process.prediction != "mean_velocity":
        networks |= {"transformer_2": model.low, "boundary_ratio": process.expert_boundary}
    pipeline = getattr(diffusers, pipeline_of(process))(**frozen, **networks, scheduler=scheduler)
    with files.new_folder(folder) as beside:
        _write_parts(pipeline, beside)
        for role, _ in zip(EXPERTS, model.networks, strict=False):
            shutil.copytree(model.folder / role, beside / role)
        contracts.save(model.contract, beside)
        files.write_text(beside / CARD, card(model, folder.name, process, sampled))


def pipeline_of(process: Process) -> str:
    """The stock pipeline that samples such a model."""
    return "AnyFlowPipeline" if process.prediction == "mean_velocity" else "WanPipeline"


def call(process: Process, sampled: Sampling, text_length: int) -> dict[str, Any]:
    """The arguments of the stock pipeline's call that sample a model as its contract says, but for prompt and noise."""
    size = dict(zip(("num_frames", "height", "width"), process.buckets[0], strict=True)) if process.buckets else {}
    scales = (1.0,) if sampled.guidance_form == "folded" else sampled.scales
    return {
        **size,
        "num_inference_steps": sampled.steps,
        **dict(zip(("guidance_scale", "guidance_scale_2"), scales, strict=False)),
        "max_sequence_length": text_length,
        **_away(sampled),
    }


def _away(sampled: Sampling) -> dict[str, str]:
    """What guidance from outside steers away from, where that is not the null prompt."""
    named = sampled.negative_prompt
    return {} if named is None or sampled.guidance_form == "folded" else {"negative_prompt": named}


def card(model: Model, name: str, process: Process, sampled: Sampling) -> str:
    """The model card, written from the contract and the training record alone."""
    space, training = model.contract.latent_space, model.training
    arguments = {"negative_prompt": space.null_prompt, **call(process, sampled, space.text_length)}
    lines = "\n".join(f"    {key}={value!r}," for key, value in arguments.items())
    sizes = ", ".join("x".join(map(str, bucket)) for bucket in process.buckets or ()) or "not recorded"
    folded = "folded into the weights: call with 1" if sampled.guidance_form == "folded" else "applied by the pipeline"
    scales = " and ".join(f"{scale:g}" for scale in sampled.scales)
    experts = "" if process.expert_boundary is None else _experts(process.expert_boundary)
    steps = "any number" if sampled.allowed_steps is None else ", ".join(map(str, sampled.allowed_steps))
    away = "" if sampled.negative_prompt is None else f"\n| guidance steers away from | {sampled.negative_prompt!r} |"
    return f"""---
library_name: diffusers
pipeline_tag: text-to-video
tags: [wan, flow-matching, frostline]
---

# {name}

A Wan-class diffusion transformer with its frozen VAE and text encoder. The stock pipeline reads neither guidance, size,
number of steps nor text length from a folder, and its own defaults are wrong for this model: use this call.

```python
import torch
from diffusers import {pipeline_of(process)}

pipeline = {pipeline_of(process)}.from_pretrained("{name}", torch_dtype={_dtypes(model)})
frames = pipeline(
    {EXAMPLE!r},
{lines}
).frames[0]
```

| fact | value |
|---|---|
| sampler | {sampled.sampler}, {sampled.steps} steps by default ({steps} allowed), shift {sampled.shift:g} |
| guidance | {scales}, {folded} |{away}{experts}
| trained sizes (frames x height x width) | {sizes} |
| text | {space.text_length} tokens, zeros after the true length, null prompt {space.null_prompt!r} |
| network predicts | {process.prediction} on the {process.path} path, timestep = {process.timestep_scale:g} * sigma |
| training | {_trained(training)} |
| weights digest | `{training.weights_digest}` |{_learned_from(training)}
| VAE digest | `{space.vae_digest}` |
| text encoder digest | `{space.text_encoder_digest}` |
| contract digest | `{model.contract.digest}` |

Digests are xxh3_128; `contract.json` beside this card is the contract itself{_also(training)}.
"""


def _learned_from(training: Training) -> str:
    """Rows on what the weights were made with, as far as that happened here."""
    if training.stage == PUBLISHED:
        return ""
    start = "" if training.start_digest is None else f"\n| went on from the weights | `{training.start_digest}` |"
    return f"\n| data digest | `{training.dataset_digest}` |\n| teacher digest | `{training.teacher_digest}` |{start}"


def _also(training: Training) -> str:
    return "" if training.stage == PUBLISHED else ", and stands in the weights' metadata too"


def _dtypes(model: Model) -> str:
    """The dtypes that parts are computed in here: float32, and of published models that of their files for some."""
    own = str(model.transformer.patch_embedding.weight.dtype)
    of_text = f"torch.{model.contract.latent_space.text_stored_dtype}"
    if {own, of_text} == {"torch.float32"}:
        return "torch.float32"
    parts = {
        **dict.fromkeys(list(EXPERTS)[: len(model.networks)], own),
        "text_encoder": of_text,
        "vae": "torch.float32",
    }
    return "{" + ", ".join(f"{part!r}: {dtype}" for part, dtype in parts.items()) + "}"


def _experts(boundary: float) -> str:
    return f"\n| experts | `transformer` from sigma {boundary:g} on, `transformer_2` below, each under its guidance |"


def _trained(training: Training) -> str:
    """How the weights came to be; those of a merge are nobody's training."""
    if training.stage == PUBLISHED:
        return "elsewhere: these are published weights"
    if training.steps_planned == 0:
        return f"none of these weights as they are ({training.stage})"
    done = f"{training.steps_done} of {training.steps_planned} steps"
    return f"{training.objective}, {done}, EMA {training.ema_decay:g}"


def _stock_scheduler(model: Model, sampled: Sampling) -> Any:
    scheduler = sampling.stock_scheduler(sampled)
    if scheduler is None:
        rounding = "with" if sampled.rounds_timesteps else "without"
        raise Refused(
            f"{model.folder}: the stock WanPipeline cannot sample it: its contract asks for the sampler "
            f"'{sampled.sampler}' {rounding} rounded timesteps; sample it with `frostline sample`"
        )
    if sampled.guidance_form == "external":
        _refuse_lost_guidance(model.folder, sampled.scales)
    return scheduler


def _refuse_lost_guidance(folder: Path, scales: tuple[float, ...]) -> None:
    """Refuse a guidance that the stock pipeline leaves away: it applies any only where the first is above 1."""
    lost = [scale for scale in scales if scale < 1 or (scales[0] == 1 and scale > 1)]
    if lost:
        which = "is below 1" if lost[0] < 1 else "of the low-noise expert stands beside 1 of the other"
        raise Refused(
            f"{folder}: guidance {lost[0]:g} {which}, where the stock WanPipeline applies none; sample it with "
            "`frostline sample`"
        )


def _write_parts(pipeline: Any, folder: Path) -> None:
    """Write everything but the transformers, and the index; no file says where the parts were read from."""
    pipeline.save_config(folder)
    pipeline.vae.save_pretrained(folder / "vae")
    pipeline.text_encoder.save_pretrained(folder / "text_encoder")
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    for path in (folder / "model_index.json", folder / "vae" / "config.json"):
        values = json.loads(path.read_text("utf-8"))
        files.write_json(path, {key: value for key, value in values.items() if key != "_name_or_path"})
