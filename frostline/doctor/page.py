"""The examination as one page: the cause, the pictures that show it, every finding with its numbers.

One file with everything inside, as all pages (frostline/pages).
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from frostline import files, media, pages
from frostline.checks import latent_stats
from frostline.codec import Codec
from frostline.contract import Sampling
from frostline.doctor import catalogue, drawn, of_samples, telling
from frostline.doctor.case import Given, Seen
from frostline.doctor.examination import Examined
from frostline.doctor.readings import Reading
from frostline.doctor.subjects import Subject
from frostline.findings import Finding
from frostline.pages import parts
from frostline.pages.charts import Chart, Point, Series
from frostline.pages.parts import Card, Drawing, Fact, Line, Table

TEMPLATE = Path(__file__).parent / "page.html.j2"
SHOWN = 8  # pictures in a strip
LEAST_SIDE = 64  # pixels that a picture is enlarged to
GAP, GROUND = 2, 24
READINGS = 8  # lines of the table of readings


class Strip(NamedTuple):
    """Pictures beside each other, ready for a data URI."""

    name: str
    base64: str
    width: int
    height: int


class Gallery(NamedTuple):
    """Strips that belong together: in each, one place is one noise."""

    title: str
    note: str
    strips: list[Strip]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page."""

    title: str
    summary: list[str]
    missing: list[str]
    cards: list[Card]
    galleries: list[Gallery]
    charts: list[Drawing]
    tables: list[Table]


def write(path: Path, given: Given, examined: Examined) -> None:
    """Write the page of an examination; pictures are drawn for it that no check needs."""
    files.write_text(path, pages.render(TEMPLATE, compose(given, examined)))


def compose(given: Given, examined: Examined) -> Page:
    """The page of an examination."""
    seen = examined.seen
    return Page(
        title=f"The doctor on {given.name}",
        summary=[telling.sentence(given.name, examined), *(line.strip() for line in telling.rest(examined))],
        missing=[line.strip() for line in telling.untold(examined)],
        cards=list(_cards(examined)),
        galleries=list(_galleries(given, seen)),
        charts=[parts.drawing(chart) for chart in (*_by_sigma(seen), *_by_channel(seen), *_by_scale(seen))],
        tables=[_findings(examined.findings), *_readings(seen)],
    )


def _cards(examined: Examined) -> Iterator[Card]:
    diagnosis = examined.diagnosis
    for id_, role in [
        (diagnosis.cause, "the most probable cause"),
        *((other, "a second cause") for other in diagnosis.others),
    ]:
        if id_ is None:
            continue
        entry = catalogue.entry(id_)
        failed = next(one for one in examined.findings if one.id == id_ and one.verdict == "fail")
        facts = [Fact(name.replace("_", " "), f"{value:.3g}", "") for name, value in failed.measured.items()]
        yield Card(f"{id_} {entry.name}", f"{role}. {entry.story} {entry.remedy}", facts)


# --------------------------------------------------------------------------------------------------------------- curves


def _chart(title: str, note: str, x: str, y: str, series: Sequence[Series], *, log_x: bool = False) -> Chart:
    return Chart(title=title, note=note, x=x, y=y, series=tuple(series), log_x=log_x, log_y=False)


def _series(name: str, colour: int, pairs: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> Series:
    points = tuple(Point(x, min(y, 10.0), 0.0) for x, y in pairs)
    return Series(name=name, colour=colour, points=points, dots=True)


def _by_sigma(seen: Seen) -> Iterator[Chart]:
    found = []
    if seen.curve is not None:
        found.append(_series("error over a straight line's", 0, list(zip(*seen.curve, strict=True))))
    if seen.unexplained is not None:
        found.append(_series("unexplained of its teacher", 1, list(zip(*seen.unexplained, strict=True))))
    if found:
        sigmas = found[0].points
        found.append(_series("nothing learned", 5, [(point.x, 1.0) for point in sigmas]))
        yield _chart(
            "Error by sigma",
            "Of held-out latents with fresh noise. Above 1 the network knows less than a straight line does.",
            "sigma",
            "ratio",
            found,
        )


def _by_channel(seen: Seen) -> Iterator[Chart]:
    found = []
    data = None if seen.rows is None else seen.rows.clean
    for place, (name, latents) in enumerate({"data": data, "samples": seen.samples}.items()):
        if latents is not None:
            deviation = latent_stats.channel_stats(latents.nan_to_num())[1].tolist()
            found.append(_series(name, place, list(enumerate(deviation))))
    if found:
        wide = range(len(found[0].points))
        found.append(_series("normalised once", 5, [(float(channel), 1.0) for channel in wide]))
        note = "Deviation of each latent channel; latents that are normalised exactly once lie near 1."
        yield _chart("Latent statistics", note, "channel", "deviation", found)


def _by_scale(seen: Seen) -> Iterator[Chart]:
    if seen.scales:
        pairs = [(scale, ratio) for scale, ratio in sorted(seen.scales.items())]
        note = "The network's error on latents that were scaled by a factor: least where it was trained."
        yield _chart("Scale of the latents", note, "scale", "ratio", [_series("error", 0, pairs)], log_x=True)


# ------------------------------------------------------------------------------------------------------------- pictures


def _galleries(given: Given, seen: Seen) -> Iterator[Gallery]:
    subject, reading = given.subject, seen.reading
    if given.base is None or seen.pixels is None or seen.real is None or subject is None or reading is None:
        return
    codec = Codec(given.base)
    strips = [strip("its own sampler", seen.pixels), strip("Euler, 50 steps", _by_euler(subject, reading, seen, codec))]
    note = "One place is one noise. Where the two differ much, the sampler is at fault; where both are bad, it is not."
    yield Gallery("The sampler, and another", note, [*strips, strip("the data, decoded", seen.real)])
    teacher = given.teacher
    if teacher is not None:
        theirs = _of_teacher(teacher, reading, seen, codec)
        pair = [strip("teacher", theirs), strip("student", seen.pixels)]
        yield Gallery("Teacher and student", "The same noise under the same texts.", pair)
    maps = {"samples": seen.pixels, "data": seen.real}
    shown = [
        strip(name, drawn.seam_map(pixels)[None, None, :, :, None].expand(1, 1, -1, -1, 3))
        for name, pixels in maps.items()
    ]
    yield Gallery(
        "Seams", "Where neighbouring pixels differ, mean of all: a grid in one and not the other is a jigsaw.", shown
    )


def _by_euler(subject: Subject, reading: Reading, seen: Seen, codec: Codec) -> Tensor:
    record = subject.sampling or of_samples.UNKNOWN
    plain = record.model_copy(
        update={"sampler": "euler", "rounds_timesteps": False, "steps": 50, "sigmas": None, "allowed_steps": None}
    )
    return _decoded(subject, reading, seen, codec, plain)


def _of_teacher(teacher: Subject, reading: Reading, seen: Seen, codec: Codec) -> Tensor:
    return _decoded(teacher, teacher.declared or reading, seen, codec, teacher.sampling or of_samples.UNKNOWN)


def _decoded(subject: Subject, reading: Reading, seen: Seen, codec: Codec, record: Sampling) -> Tensor:
    if seen.noise is None:
        raise ValueError("no samples were drawn")
    text = None if seen.text is None else seen.text[:SHOWN]
    null = None if seen.rows is None else seen.rows.null
    made = of_samples.draw(subject, reading, text, seen.noise[:SHOWN], null, record)
    return codec.decode_float(made.nan_to_num()).cpu()


def strip(name: str, pixels: Tensor) -> Strip:
    """The first frames of pictures (N, T, H, W, 3) in 0 to 1, as an embedded PNG, enlarged where they are small."""
    frames = (pixels[:SHOWN, 0].clamp(0, 1) * 255).round().byte().numpy()
    times = max(1, -(-LEAST_SIDE // frames.shape[1]))
    frames = frames.repeat(times, axis=1).repeat(times, axis=2)
    gap = np.full((frames.shape[1], GAP, 3), GROUND, np.uint8)
    pieces = [piece for frame in frames for piece in (frame, gap)][:-1]
    image = np.concatenate(pieces, axis=1)
    return Strip(name, base64.b64encode(media.png(image)).decode(), image.shape[1], image.shape[0])


# --------------------------------------------------------------------------------------------------------------- tables


def _findings(found: Sequence[Finding]) -> Table:
    order = ("fail", "warn", "pass", "not-applicable")
    rows = sorted(found, key=lambda one: (order.index(one.verdict), one.id))
    lines = [
        Line(
            f"{one.id} {one.name}",
            [one.verdict, _numbers(one), "; ".join(map(str, one.threshold))],
            one.reason or one.question,
            differs=one.verdict in ("fail", "warn"),
        )
        for one in rows
    ]
    return Table(
        title="Findings",
        note="Thresholds as they stand in this version; frostline explain D21 says more of one.",
        header=["check", "verdict", "measured", "wanted", "reason"],
        rows=lines,
        kind="digest",
    )


def _numbers(finding: Finding) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in finding.measured.items())


def _readings(seen: Seen) -> Iterator[Table]:
    if not seen.scored:
        return
    lines = [
        Line(str(one.reading), [f"{one.ratio:.4g}"], "", differs=place == 0)
        for place, one in enumerate(seen.scored[:READINGS])
    ]
    yield Table(
        title="What it predicts",
        note="Error under each reading over a straight line's, the least first: that is what the network predicts.",
        header=["reading", "error"],
        rows=lines,
        kind="number",
    )
