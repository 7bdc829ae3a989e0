"""What a teacher is seen to do of noise, kept as rows of the store: students of few steps learn from it.

noise, caption -> points (K + 1, C, T', H', W') of one trajectory: the noise at sigma 1, ..., the clean end at 0

Points are kept after every ``substeps``-th step of UniPC along the guided velocity: normalised, as networks see them,
in the dtype in which latents are stored. Captions are those of the dataset's rows, or of its prompts where it has no
media of that size; they lie in the cache with their embeddings, so that whoever reads it needs nothing else.
Row i of a bucket and split depends on (weights, params, dataset, i) alone. A part is made whole or not at all, and a
run that was stopped makes those that are missing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from frostline import batches, digests, files, randomness, sampling, schedule, velocities, workspace
from frostline import dataset as datasets
from frostline.batches import Draw
from frostline.contract import LatentSpace
from frostline.dataset import NULL, Batch, Dataset, Trajectories
from frostline.models import Model
from frostline.objectives import teaching
from frostline.params.trajectories import TrajectoriesParams
from frostline.residence import Residence
from frostline.store import layout, writing
from frostline.store.layout import CAPTIONS, DTYPES, ITEMS, TEXT, Caption, Item
from frostline.store.reading import Latents
from frostline.workspace import Preemption

SOURCE = "teacher"  # the one source of such a dataset
TEXTS = "texts.parquet"
PART_BYTES = 64 << 20  # of points at most
PART_CALLS = 8  # batches of trajectories at most: what a kill loses
LEARNED, HELD_OUT = "train", "validation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What a trajectory is asked for: one of the texts of a dataset."""

    source: Latents
    number: int  # among the source's texts

    @property
    def caption(self) -> Caption:
        """All that is known of the text beside its embedding."""
        return self.source.captions[self.number]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some trajectories of one bucket and split, made and written together."""

    name: str  # of its file, in the cache's folder
    bucket: str
    split: str
    numbers: range  # of its rows, within bucket and split
    asked: Sequence[Asked]  # one for each


def facts(params: TrajectoriesParams, teacher: Model, dataset: Dataset) -> Trajectories:
    """What the rows will be points of."""
    return Trajectories(
        teacher_digest=teacher.training.weights_digest,
        dataset_digest=dataset.digest,
        sigmas=tuple(_sigmas(params)[:: params.substeps].tolist()),
        shift=params.shift,
        guidance=params.scales,
        guidance_interval=params.guidance_interval,
        solver_steps=params.points * params.substeps,
    )


def parts(params: TrajectoriesParams, teacher: Model, dataset: Dataset) -> Iterator[Part]:
    """All that is to be made, in its order; raises WrongUse for a bucket that there are no captions for."""
    for bucket, count in sorted(params.rows.items()):
        at_once = _at_once(teacher, dataset.space, bucket)
        fit = PART_BYTES // ((params.points + 1) * _bytes(dataset.space, bucket) * at_once)
        size = at_once * max(1, min(PART_CALLS, fit))
        for split, rows in ((LEARNED, count), (HELD_OUT, params.validation)):
            asked = _asked(dataset, bucket, split, rows, params.seed)
            for place, start in enumerate(range(0, rows, size)):
                numbers = range(start, min(start + size, rows))
                name = f"{ITEMS}/{bucket}/{split}-{place:06d}.parquet"
                wanted = asked[start : numbers.stop]
                yield Part(name=name, bucket=bucket, split=split, numbers=numbers, asked=wanted)


class Maker:
    """A teacher at work."""

    def __init__(self, params: TrajectoriesParams, teacher: Model, dataset: Dataset, device: str) -> None:
        """Networks are asked on the device, one at a time."""
        self.params, self.teacher, self.dataset = params, teacher, dataset
        self.process, _ = teacher.sampled()
        self._told = facts(params, teacher, dataset).model_dump(mode="json")
        self._residence = Residence(device)
        for network in teacher.networks:
            self._residence.take(network)
        self._taught = teaching.guided(
            self.process,
            teacher=teacher.transformer,
            null=dataset.negative().to(self._residence.device),
            scale=params.scales[0],
            interval=params.guidance_interval,
            low=teacher.second(params.scales[-1]),
        )

    def make(self, wanted: Sequence[Part], work: Path) -> None:
        """Make those parts that are not in the work folder yet; raises Preempted after SIGTERM, between two of them."""
        folder = work / SOURCE
        missing = [part for part in wanted if not (folder / part.name).exists()]
        total = sum(len(part.numbers) for part in missing)
        with Preemption() as preemption, tqdm.tqdm(total=total, desc="trajectories", unit="row", mininterval=2) as bar:
            for part in missing:
                made = []
                for batch in self._batches(part):
                    made.append(batch)
                    bar.update(len(batch))
                self._write(folder / part.name, part, torch.cat(made))
                preemption.stop_if_asked(str(work))

    @torch.inference_mode()
    def _batches(self, part: Part) -> Iterator[Tensor]:
        """The trajectories (n, K + 1, C, T', H', W') of a part, as many at once as one call of the network takes."""
        shape = self.dataset.space.shape(layout.bucket_of(part.bucket))
        size = _at_once(self.teacher, self.dataset.space, part.bucket)
        for start in range(0, len(part.asked), size):
            asked, numbers = part.asked[start : start + size], list(part.numbers[start : start + size])
            short = size - len(asked)
            noise = randomness.normal_rows(
                numbers + numbers[-1:] * short, shape, self.params.seed, "trajectory", part.bucket, part.split
            )
            text = self.dataset.embeddings([(one.source, one.number) for one in [*asked, *[asked[-1]] * short]])
            yield self._followed(noise, text)[: len(asked)]

    def _followed(self, noise: Tensor, text: Tensor) -> Tensor:
        batch = Batch(rows=(), clean=noise, text=text, dropped=torch.zeros(len(text), dtype=torch.bool))
        velocity = self._residence.velocity(self._taught(batch.to(self._residence.device)))
        points = [noise, *sampling.followed(velocity, noise, _sigmas(self.params))]
        return torch.stack(points[:: self.params.substeps], dim=1)

    def _write(self, path: Path, part: Part, points: Tensor) -> None:
        space, bucket = self.dataset.space, layout.bucket_of(part.bucket)
        data = writing.latent_bytes(points, space)
        table = layout.table(Item, [self._item(part, n, one) for n, one in zip(part.numbers, part.asked, strict=True)])
        path.parent.mkdir(parents=True, exist_ok=True)
        writing.write_items(path, space, bucket, table, data, writing.row_digests(data), self.params.points + 1)

    def _item(self, part: Part, number: int, asked: Asked) -> Item:
        frames, height, width = layout.bucket_of(part.bucket)
        caption = asked.caption
        key = [self._told, self.params.seed, part.bucket, part.split, number, caption.text_id]
        name = digests.of_json(key)
        return Item(
            id=name,
            latent_id=name,
            item=caption.text_id,
            split=part.split,
            start=0,
            source_width=width,
            source_height=height,
            source_frames=frames,
            source_fps=0.0,
            captions=(caption.caption,),
            weights=(1.0,),
            attributes="{}",
            text_ids=(caption.text_id,),
            text_lengths=(caption.tokens,),
        )


def publish(output: Path, told: Trajectories, wanted: Sequence[Part], dataset: Dataset, work: Path) -> None:
    """Make a dataset of finished parts: their texts, a manifest, an index beside it; the work folder moves there last.

    Killed before that, all of the work is still where it was.
    """
    rows: dict[str, int] = {}
    for part in wanted:
        key = f"{part.bucket}/{part.split}"
        rows[key] = rows.get(key, 0) + len(part.numbers)
    asked = [one for part in wanted for one in part.asked]
    folder = work / SOURCE
    names = [*(part.name for part in wanted), *_write_texts(folder, dataset, asked)]
    writing.seal(folder, dataset.space, names, _stated(told, rows, dataset), {})
    files.write_json(output.with_name(f"{output.name}.json"), datasets.index(work, [SOURCE]))
    workspace.publish(work, output)


def _stated(told: Trajectories, rows: dict[str, int], dataset: Dataset) -> dict[str, Any]:
    source = dataset.sources[0]
    named = {"prompts": source.previews, **({"negative": source.negative} if source.negative else {})}
    return {
        "rows": rows,
        "frozen_parameters": dataset.frozen_parameters,
        "trajectories": told.model_dump(mode="json"),
        **{
            kind: {prompt: source.captions[number].text_id for prompt, number in texts.items()}
            for kind, texts in named.items()
        },
    }


def _write_texts(folder: Path, dataset: Dataset, asked: Sequence[Asked]) -> list[str]:
    """Write each text that is asked for once, the null prompt first; gives the names of the parts."""
    first = dataset.sources[0]
    always = [NULL, *first.previews.values(), *first.negative.values()]
    all_of_them = [*(Asked(source=first, number=number) for number in always), *asked]
    chosen = {one.caption.text_id: one for one in reversed(all_of_them)}
    null = first.captions[NULL].text_id
    ordered = [chosen.pop(null), *(chosen[key] for key in sorted(chosen))]
    data = [one.source.texts.read(one.number) for one in ordered]
    table = layout.table(Caption, [one.caption for one in ordered])
    names = [f"{kind}/{TEXTS}" for kind in (CAPTIONS, TEXT)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    writing.write_text(folder / names[1], dataset.space, table, np.concatenate(data))
    writing.write_captions(folder / names[0], dataset.space, table)
    return names


def _asked(dataset: Dataset, bucket: str, split: str, count: int, seed: int) -> list[Asked]:
    """What the trajectories of a bucket and split are asked for: its rows' captions, again and again if need be."""
    if bucket not in dataset.buckets:
        numbers = dataset.prompt_rows(split)
        texts = [dataset.prompt_text(numbers[place % len(numbers)]) for place in range(count)]
        return [Asked(source=source, number=number) for source, number in texts]
    rows = dataset.rows(bucket, split)
    found: list[Asked] = []
    for epoch in range(math.ceil(count / len(rows))):
        for place in batches.order(rows, bucket, epoch, seed)[: count - len(found)]:
            draw = Draw(row=int(rows[place]), epoch=epoch)
            source, number = dataset.place(draw.row)
            text = source.text_number(number, batches.caption(dataset, draw, seed))
            found.append(Asked(source=source, number=text))
    return found


def _at_once(teacher: Model, space: LatentSpace, bucket: str) -> int:
    """How many trajectories go through the network together."""
    process, _ = teacher.sampled()
    return velocities.rows_at_once(space.shape(layout.bucket_of(bucket))[1:], process.patch_size)


def _sigmas(params: TrajectoriesParams) -> Tensor:
    """Where the solver goes (points * substeps + 1,)."""
    return schedule.grid(params.points * params.substeps, params.shift)


def _bytes(space: LatentSpace, bucket: str) -> int:
    """Of one latent."""
    return math.prod(space.shape(layout.bucket_of(bucket))) * DTYPES[space.stored_dtype].itemsize
