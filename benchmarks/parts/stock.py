"""An exported folder, of one network or two experts, in the stock diffusers pipeline, beside our own sampling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frostline import export, generation, teachers
from frostline.codec import Codec

PROMPTS = (
    "a handwritten digit seven",
    "a handwritten digit three",
    "a handwritten digit zero",
    "a handwritten digit eight",
)


def differences(model_folder: Path, base: Path, folder: Path, prompts: Sequence[str]) -> list[float]:
    """Greatest difference of a pixel in [0, 1], per prompt and trained size, each from the same noise."""
    from diffusers import WanPipeline

    model = teachers.load(model_folder)
    exported = folder / model_folder.name
    export.export(model, base, exported)
    pipeline = WanPipeline.from_pretrained(exported)
    pipeline.set_progress_bar_config(disable=True)
    generator = generation.Generator(model, Codec(base))
    process, sampling = model.sampled()
    call = export.call(process, sampling, model.contract.latent_space.text_length)
    found: list[float] = []
    for frames, height, width in process.buckets or ():
        draw = generation.Draw(seed=0, frames=frames, height=height, width=width)
        sized: dict[str, Any] = {**call, "num_frames": frames, "height": height, "width": width}
        for prompt in prompts:
            ours = generator.codec.decode_float(generator.latents([prompt], draw)).numpy()
            [stock] = pipeline(prompt, latents=generator.noise(1, draw), return_dict=False, **sized)
            found.append(float(np.abs(ours - stock).max()))
    return found
