"""The evaluation as one page a person reads: pictures first, then numbers, curves, contracts and lineage.

The page is a single HTML file with everything inside (no script, nothing fetched), the same bytes for the same
evaluation: no times, ids, or paths of a machine. Whatever comes from outside, captions above all, is escaped by the
template.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import markupsafe
import numpy as np

from frostline import evaluation, files, media, store
from frostline.evaluation import Bucket, Evaluated, HeldOut, Numbers
from frostline.records import Record
from frostline.report import charts, pictures
from frostline.report.charts import Chart, Point, Series
from frostline.report.pictures import Strip

COLUMNS = 8  # samples of one prompt in an image strip
CLIP_COLUMNS = 4
ROWS = 10  # prompts in a gallery, at most
REAL = "real, held out"

# name in the metrics: (what it is called, what it says)
MEASURES = {
    "n": ("samples", "how many the numbers below rest on"),
    "accuracy": ("accuracy", "share that shows the digit asked for, to the judge; of a clip, in its last frame"),
    "direction": ("direction", "share of clips that drift the way they were asked to"),
    "frechet_teacher": (
        "distance to the teacher",
        "Fréchet distance to its teacher's samples of the same noise; 0 is equal",
    ),
    "frechet_real": ("distance to real", "Fréchet distance to held-out pictures; strong guidance raises it"),
    "diversity": ("diversity", "how far two samples of one digit lie apart; 0 would be always the same picture"),
    "endpoint_rmse": ("way from the teacher", "per sample, same noise, in standard deviations of the latents"),
    "latent_mean": ("latent mean", "near 0 for latents normalised exactly once"),
    "latent_std": ("latent deviation", "near 1 for latents normalised exactly once"),
    "latent_channel_mean_max": ("furthest channel mean", "of any latent channel; healthy below 0.5"),
    "saturation": ("white", "share of values at full white; compare with real"),
}


class Fact(NamedTuple):
    """One number of a model's card."""

    label: str
    value: str
    error: str


class Card(NamedTuple):
    """One model in short."""

    name: str
    role: str
    facts: list[Fact]


class Asked(NamedTuple):
    """One prompt and what everyone made of it."""

    caption: str
    strips: list[Strip]


class Gallery(NamedTuple):
    """Prompts of one bucket."""

    title: str
    note: str
    rows: list[Asked]


class Drawing(NamedTuple):
    """A chart as it stands in the page."""

    title: str
    note: str
    svg: markupsafe.Markup
    legend: list[tuple[str, int]]


class Line(NamedTuple):
    """One row of a table."""

    name: str
    cells: list[str]
    remark: str
    differs: bool


class Table(NamedTuple):
    """A table, a column per model."""

    title: str
    note: str
    header: list[str]
    rows: list[Line]
    kind: str  # of its cells: number or digest


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page, in words and pictures."""

    title: str
    summary: list[str]
    missing: list[str]
    cards: list[Card]
    galleries: list[Gallery]
    charts: list[Drawing]
    tables: list[Table]


def render(page: Page) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(page=page)


def compose(
    evaluated: Sequence[Evaluated],
    held_out: Sequence[HeldOut],
    real: Mapping[Bucket, Numbers],
    losses: Mapping[str, Sequence[Point]],
    missing: Sequence[str],
) -> Page:
    """The page of an evaluation. `losses` are training curves by model; `missing` says what could not be measured."""
    names = [one.name for one in evaluated]
    return Page(
        title="What the models make of the same noise" if len(names) > 1 else f"What {names[0]} makes of noise",
        summary=[_summary(evaluated, held_out), *_verdicts(evaluated)],
        missing=list(missing),
        cards=[_card(one) for one in evaluated],
        galleries=[_gallery(evaluated, one) for one in held_out],
        charts=[_drawing(chart) for chart in (*_quality(evaluated), *_losses(names, losses)) if chart.series],
        tables=[
            *(_numbers(evaluated, one.bucket, real[one.bucket]) for one in held_out),
            _contracts(evaluated),
            _lineage(evaluated),
        ],
    )


def write_pictures(folder: Path, evaluated: Sequence[Evaluated]) -> None:
    """A grid per model and bucket: rows are prompts, a column is the same noise for every model. Clips as GIF."""
    for one in evaluated:
        for bucket, drawn in one.drawn.items():
            shown = rows(drawn)
            width = min(_columns(bucket), *map(len, shown.values()))
            grid = pictures.grid([pictures.row(made[:width]) for made in shown.values()])
            ending = "png" if len(grid) == 1 else "gif"
            media.write(folder / f"{one.name}_{store.bucket_name(bucket)}.{ending}", pictures.held(grid), pictures.FPS)


def write_plots(folder: Path, evaluated: Sequence[Evaluated]) -> None:
    """Quality against steps as tab-separated values, a file per model, for `dvc plots`."""
    for one in evaluated:
        if one.curve:
            lines = [list(one.curve[0]), *([f"{value:g}" for value in point.values()] for point in one.curve)]
            files.write_text(folder / "quality" / f"{one.name}.tsv", "".join("\t".join(line) + "\n" for line in lines))


def read_curves(tables: Mapping[str, str]) -> dict[str, list[Point]]:
    """Training losses by model, from tab-separated tables with the columns step and loss."""
    return {name: _read_curve(table) for name, table in tables.items()}


def _read_curve(table: str) -> list[Point]:
    lines = csv.DictReader(table.splitlines(), delimiter="\t")
    return [Point(float(line["step"]), float(line["loss"]), 0.0) for line in lines]


def rows(drawn: evaluation.Drawn) -> dict[str, np.ndarray]:
    """The samples of each prompt that is shown, in the order of their noise: prompt to pictures (K, T, H, W, 3)."""
    prompts = list(dict.fromkeys(drawn.prompts))
    return {prompt: drawn.pixels[prompts.index(prompt) :: len(prompts)] for prompt in _spread(prompts, ROWS)}


def _columns(bucket: Bucket) -> int:
    return COLUMNS if bucket[0] == 1 else CLIP_COLUMNS


def bucket_words(bucket: Bucket) -> str:
    """A bucket in plain words."""
    frames, height, width = bucket
    return f"images of {width} × {height}" if frames == 1 else f"clips of {frames} frames of {width} × {height}"


def _summary(evaluated: Sequence[Evaluated], held_out: Sequence[HeldOut]) -> str:
    prompts = " and ".join(f"{len(one.prompts)} captions for {bucket_words(one.bucket)}" for one in held_out)
    who = "Every model was" if len(evaluated) > 1 else f"{evaluated[0].name} was"
    return (
        f"{who} asked for {prompts}, taken from the held-out split, and sampled as its contract says. "
        "A picture in the same place grew from the same noise, so what differs is the model alone."
    )


def _verdicts(evaluated: Sequence[Evaluated]) -> list[str]:
    """A sentence per student that can be set beside its teacher."""
    by_name = {one.name: one for one in evaluated}
    return [_verdict(one, by_name[one.teacher]) for one in evaluated if one.teacher is not None]


def _verdict(student: Evaluated, teacher: Evaluated) -> str:
    cost, full = (evaluation.evaluations(one.model, one.model.sampled()[1].steps) for one in (student, teacher))
    blocks, all_blocks = (len(one.model.transformer.blocks) for one in (student, teacher))
    sentence = (
        f"{student.name} learned from {teacher.name}: {blocks} blocks for its {all_blocks}, and {cost} network "
        f"evaluations a sample for its {full}."
    )
    shared = [b for b in student.numbers if b in teacher.numbers and "accuracy" in student.numbers[b]]
    if not shared:
        return sentence
    ours, theirs = (one.numbers[shared[0]]["accuracy"] for one in (student, teacher))
    found = f"The judge finds the digit asked for in {ours:.1%} of its {_short(shared[0])}"
    return f"{sentence} {found}, and in {theirs:.1%} of {teacher.name}'s."


def _card(one: Evaluated) -> Card:
    process, sampling = one.model.sampled()
    blocks = len(one.model.transformer.blocks)
    size = f"{one.model.training.parameters['trainable']:,} parameters in {blocks} blocks"
    guidance = f"guidance {sampling.guidance:g} {'folded in' if sampling.guidance_form == 'folded' else 'from outside'}"
    role = f"{size}; {one.model.training.objective.replace('_', ' ')}; {guidance}"
    cost = evaluation.evaluations(one.model, sampling.steps)
    facts = [Fact(f"network evaluations a sample, {sampling.steps} steps of {sampling.sampler}", str(cost), "")]
    for bucket, numbers in one.numbers.items():
        facts += [_fact(numbers, name, bucket) for name in ("accuracy", "direction") if name in numbers]
    return Card(one.name, f"{role}; shift {process.shift:g}", facts)


def _fact(numbers: Numbers, name: str, bucket: Bucket) -> Fact:
    return Fact(f"{MEASURES[name][0]}, {_short(bucket)}", f"{numbers[name]:.1%}", f"{numbers[f'{name}_error']:.1%}")


def _short(bucket: Bucket) -> str:
    return "images" if bucket[0] == 1 else f"clips of {bucket[0]} frames"


def _gallery(evaluated: Sequence[Evaluated], real: HeldOut) -> Gallery:
    shown = [one for one in evaluated if real.bucket in one.drawn]
    drawn = {one.name: rows(one.drawn[real.bucket]) for one in shown}
    captions = np.array(real.captions)
    prompts = list(drawn[shown[0].name]) if shown else _spread(list(real.prompts), ROWS)  # few samples: not all prompts
    drawn[REAL] = {prompt: real.pixels[captions == prompt] for prompt in prompts}
    width = min(_columns(real.bucket), *(len(made) for by_prompt in drawn.values() for made in by_prompt.values()))
    asked = [
        Asked(prompt, [pictures.strip(name, made[prompt][:width]) for name, made in drawn.items()])
        for prompt in prompts
    ]
    note = "One row is one caption; across the models, the same place is the same noise. The last strip is real."
    return Gallery(bucket_words(real.bucket).capitalize(), note, asked)


def _spread(items: list[str], most: int) -> list[str]:
    """At most so many of the items, evenly chosen, first and last among them."""
    if len(items) <= most:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _quality(evaluated: Sequence[Evaluated]) -> list[Chart]:
    n = max((int(point["n"]) for one in evaluated for point in one.curve), default=0)
    wanted = (
        ("accuracy", "Accuracy against steps", f"{n} images each, with standard error."),
        ("frechet_real", "Distance to real against steps", f"{n} images each: few, so compare within this chart only."),
        (
            "endpoint_rmse",
            "Way from the teacher's samples",
            "Same noise; against the teacher at its own number of steps.",
        ),
    )
    return [
        Chart(
            title=title, note=note, x="steps", y=name, series=_against_steps(evaluated, name), log_x=True, log_y=False
        )
        for name, title, note in wanted
    ]


def _against_steps(evaluated: Sequence[Evaluated], name: str) -> tuple[Series, ...]:
    return tuple(
        Series(name=one.name, colour=colour, points=tuple(_point(p, name) for p in one.curve), dots=True)
        for colour, one in enumerate(evaluated)
        if one.curve and name in one.curve[0]
    )


def _point(numbers: Numbers, name: str) -> Point:
    return Point(numbers["steps"], numbers[name], numbers["accuracy_error"] if name == "accuracy" else 0.0)


def _losses(names: Sequence[str], losses: Mapping[str, Sequence[Point]]) -> list[Chart]:
    """One chart per model: losses of different objectives do not share a scale."""
    return [
        Chart(
            title=f"Training loss of {name}",
            note="Means over equal stretches of the training.",
            x="step",
            y="loss",
            series=(Series(name=name, colour=colour, points=charts.thinned(losses[name]), dots=False),),
            log_x=False,
            log_y=True,
        )
        for colour, name in enumerate(names)
        if losses.get(name)
    ]


def _drawing(chart: Chart) -> Drawing:
    return Drawing(chart.title, chart.note, markupsafe.Markup(charts.svg(chart)), chart.legend)  # noqa: S704 (charts escapes)


def _numbers(evaluated: Sequence[Evaluated], bucket: Bucket, real: Numbers) -> Table:
    judged = [one for one in evaluated if bucket in one.numbers]
    columns = [*(one.numbers[bucket] for one in judged), real]
    names = [name for name in MEASURES if any(name in column for column in columns)]
    return Table(
        title=f"Numbers: {bucket_words(bucket)}",
        note="± is one standard error. No number judges alone: broken samplers can reach high accuracy.",
        header=["", *(one.name for one in judged), REAL, "what it says"],
        rows=[Line(MEASURES[n][0], [_value(c, n) for c in columns], MEASURES[n][1], differs=False) for n in names],
        kind="number",
    )


def _value(numbers: Numbers, name: str) -> str:
    if name not in numbers:
        return "–"
    if f"{name}_error" in numbers:
        return f"{numbers[name]:.1%} ± {numbers[f'{name}_error']:.1%}"
    return f"{int(numbers[name])}" if name == "n" else f"{numbers[name]:.3f}"


def _contracts(evaluated: Sequence[Evaluated]) -> Table:
    fields = [_flat(one.model.contract) for one in evaluated]
    return Table(
        title="Contracts",
        note="What each model is built from and sampled by. Fields in which the models differ stand out.",
        header=["field", *(one.name for one in evaluated)],
        rows=_lines(fields),
        kind="digest",
    )


def _lineage(evaluated: Sequence[Evaluated]) -> Table:
    fields = [
        {
            "weights": one.model.training.weights_digest,
            "contract": one.model.contract.digest,
            "dataset": one.model.training.dataset_digest,
            "VAE": one.model.base.vae_digest,
            "text encoder": one.model.base.text_encoder_digest,
            "teacher's weights": one.model.training.teacher_digest or "none: it is a teacher",
            "steps": f"{one.model.training.steps_done} of {one.model.training.steps_planned}",
        }
        for one in evaluated
    ]
    return Table(
        title="Lineage",
        note="Digests name the exact bytes: two models with one dataset digest were trained on the same latents.",
        header=["", *(one.name for one in evaluated)],
        rows=_lines(fields, mark=False),
        kind="digest",
    )


def _lines(fields: Sequence[Mapping[str, str]], *, mark: bool = True) -> list[Line]:
    names = dict.fromkeys(name for column in fields for name in column)
    cells = {name: [column.get(name, "–") for column in fields] for name in names}
    return [Line(name, values, "", differs=mark and len(set(values)) > 1) for name, values in cells.items()]


def _flat(record: Record, prefix: str = "") -> dict[str, str]:
    """A nested record's fields by dotted name, in words."""
    found: dict[str, str] = {}
    for name, value in record:
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Record) else {f"{prefix}{name}": _words(value)}
    return found


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_words(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
