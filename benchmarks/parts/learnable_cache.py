"""A real cache of rows that have something to learn: those of sick.py, as pictures and clips."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.parts import sick
from frostline import dataset, digests, files
from frostline.checks import report
from frostline.dataset import Dataset
from frostline.store import layout, writing
from frostline.store.layout import Caption, Item

PICTURES, CLIPS = (1, 32, 32), (5, 32, 32)
COUNTS = {PICTURES: 480, CLIPS: 240}
HELD_OUT = {"validation": 64, "test": 32}  # of each
PART = f"{0:032x}.parquet"


def make(folder: Path, kind: str, seed: int) -> None:
    """Write data/latents, its index and the report of a preflight that had nothing to look at into a folder."""
    place = folder / "data" / "latents" / kind
    pictures = sick.data(seed, kind, 1, COUNTS[PICTURES])
    words = [pictures.null[0], *_texts(pictures)]
    rows, names = {}, []
    for bucket, frames in ((PICTURES, 1), (CLIPS, 2)):
        made = sick.data(seed, kind, frames, COUNTS[bucket])
        rows |= _write_items(place, bucket, made, len(words))
        names.append(f"items/{layout.bucket_name(bucket)}/{PART}")
    _write_texts(place, words)
    names += [f"captions/{PART}", f"text/{PART}"]
    facts = {"rows": rows, "prompts": {}, "frozen_parameters": {"vae": 1, "text_encoder": 1}}
    writing.seal(place, sick.space(), sorted(names), facts, {})
    files.write_json(folder / "data" / "latents.json", dataset.index(place.parent, [kind]))
    digest = Dataset(folder / "data" / "latents.json", place.parent).digest
    files.write_json(folder / "reports" / "preflight.json", report.summary({}, digest))


def _texts(made: sick.Data) -> list[torch.Tensor]:
    """The embedding of each caption, by its number."""
    return [made.text[int((made.which == number).nonzero()[0])] for number in range(int(made.which.max()) + 1)]


def _write_items(place: Path, bucket: tuple[int, int, int], made: sick.Data, texts: int) -> dict[str, int]:
    count, name = len(made.raw), layout.bucket_name(bucket)
    splits = [*["train"] * (count - sum(HELD_OUT.values())), *[s for s, n in HELD_OUT.items() for _ in range(n)]]
    items = [
        _item(name, number, split, int(made.which[number]) % (texts - 1) + 1) for number, split in enumerate(splits)
    ]
    data = writing.latent_bytes(made.raw, sick.space())
    table = layout.table(Item, items)
    writing.write_items(place / "items" / name / PART, sick.space(), bucket, table, data, writing.row_digests(data))
    return {f"{name}/{split}": splits.count(split) for split in ("train", *HELD_OUT)}


def _item(bucket: str, number: int, split: str, text: int) -> Item:
    return Item(
        id=f"{bucket}-{number}",
        latent_id=f"latent-{bucket}-{number}",
        item=f"{bucket}-{number}",
        split=split,
        start=0,
        source_width=32,
        source_height=32,
        source_frames=1,
        source_fps=0.0,
        captions=(f"caption {text}",),
        weights=(1.0,),
        attributes="{}",
        text_ids=(f"text-{text}",),
        text_lengths=(4,),
    )


def _write_texts(place: Path, words: list[torch.Tensor]) -> None:
    """Four tokens each; the null prompt is the first."""
    found = [writing.text_bytes(text[:4], sick.space()) for text in words]
    facts = layout.table(
        Caption,
        [
            Caption(
                text_id=f"text-{n}",
                caption=f"caption {n}" if n else "",
                tokens=4,
                text_digest=digests.of_bytes(found[n].data),
            )
            for n in range(len(words))
        ],
    )
    writing.write_text(place / "text" / PART, sick.space(), facts, np.concatenate(found))
    writing.write_captions(place / "captions" / PART, sick.space(), facts)
