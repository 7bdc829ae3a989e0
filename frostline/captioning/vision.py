"""Captions by a vision-language model in a local folder, in the layout of transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from frostline.captioning import items
from frostline.captioning.items import Said, Uncaptioned
from frostline.errors import WrongUse
from frostline.media import probing
from frostline.media.kinds import Unusable
from frostline.params.sources import ModelCaptioner


def captions(entries: Sequence[Uncaptioned], params: ModelCaptioner) -> Said:
    """What the model says of each; "" too for what cannot be read."""
    model, processor = _loaded(params.model)
    for entry in entries:
        try:
            picture = _middle(entry)
        except Unusable:
            yield entry, ""
        else:
            yield entry, _described(model, processor, picture, params)


def _loaded(folder: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype="auto")
    except (OSError, ValueError, ImportError) as error:
        raise WrongUse(f"{folder}: not a vision-language model that transformers reads: {error}") from None
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor


def _middle(entry: Uncaptioned) -> np.ndarray:
    """The picture of an image, or the middle frame of a clip: uint8 (H, W, 3)."""
    found = probing.probe(entry.blobs, entry.medium, items.LIMITS, None)
    middle = found.extent.frames // 2
    (picture,) = probing.read(
        entry.blobs, found.medium, [middle], found.pts[middle : middle + 1], items.LIMITS.max_pixels
    )
    return picture


def _described(model: Any, processor: Any, picture: np.ndarray, params: ModelCaptioner) -> str:
    """What a model says of a picture, the prompt left out where it repeats it."""
    import torch

    inputs = _inputs(processor, picture, params.prompt).to(model.device)
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=params.max_new_tokens, do_sample=False)[0].tolist()
    asked = inputs["input_ids"][0].tolist()
    repeated = len(asked) if tokens[: len(asked)] == asked else 0
    return processor.decode(tokens[repeated:], skip_special_tokens=True).strip()


def _inputs(processor: Any, picture: np.ndarray, prompt: str) -> Any:
    """As a question in a chat where the model knows chats, else as picture and beginning of a text."""
    if processor.chat_template is None:
        return processor(images=picture, text=prompt, return_tensors="pt")
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
