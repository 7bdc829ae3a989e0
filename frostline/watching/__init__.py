"""What a person sees of a training while it runs: pictures of its previews, its losses, one page.

    work folder   .work/<stage>-<name>/<key>: step-*/state.json with the losses so far, preview/step-*.safetensors
    pictures      step-00000500.png, or .gif for clips: the preview prompts side by side; index.html shows them

It reads what a training leaves and writes nothing there.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from frostline import files, media, pages
from frostline.codec import Codec
from frostline.errors import WrongUse
from frostline.pages import charts, parts
from frostline.pages.charts import Chart, Point, Series
from frostline.pages.parts import Drawing

TEMPLATE = Path(__file__).parent / "page.html.j2"
PREVIEW, STATE = "preview", "state.json"
FRAMES_PER_SECOND = 8
MOST = 24  # pictures on the page, the newest
MIMES = {".png": "image/png", ".gif": "image/gif"}
STEP = re.compile(r"step-(\d+)\.")
Losses = dict[str, list[tuple[int, float]]]  # steps and losses by name


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training that runs, by its work folder."""

    work: Path

    @property
    def name(self) -> str:
        """As its stage is called: train@teacher."""
        stage, _, name = self.work.parent.name.partition("-")
        return f"{stage}@{name}"

    @property
    def key(self) -> str:
        """The digest of all that it is made from."""
        return self.work.name

    def latents(self) -> list[Path]:
        """What it left of its previews, oldest first."""
        return sorted((self.work / PREVIEW).glob("step-*.safetensors"))

    def losses(self) -> Losses:
        """Its curves by name, up to the newest checkpoint; none before the first."""
        states = sorted(self.work.glob(f"step-*/{STATE}"))
        try:
            return _curves(files.read_json(states[-1])) if states else {}
        except WrongUse:  # it was removed meanwhile: the next look finds a newer one
            return {}


def find(given: str, root: Path) -> Training | None:
    """A training by its name (teacher, or train-teacher), below the folder of all work; None if none has begun."""
    found = [path for path in root.glob("*/*") if path.is_dir() and _is_named(path.parent.name, given)]
    return Training(work=max(found, key=lambda path: path.stat().st_mtime)) if found else None


def draw(codec: Codec, latents: Path, folder: Path) -> Path | None:
    """The picture, or the clip, of one preview: the prompts side by side; None if the preview is gone by now."""
    try:
        found = safetensors.torch.load_file(latents)["latents"]
    except FileNotFoundError:
        return None
    pixels = codec.decode(found).numpy()  # (N, T, H, W, 3)
    n, frames, height, width, _ = pixels.shape
    row = pixels.transpose(1, 2, 0, 3, 4).reshape(frames, height, n * width, 3)
    out = folder / f"{latents.stem}{'.png' if frames == 1 else '.gif'}"
    media.write(out, row, FRAMES_PER_SECOND)
    return out


def step(picture: Path) -> int:
    """The step that a picture or a preview is of; raises WrongUse for a file that is neither."""
    found = STEP.match(picture.name)
    if found is None:
        raise WrongUse(f"{picture}: no preview of a training: those are called step-00000500.safetensors")
    return int(found[1])


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture on the page."""

    step: int
    mime: str
    base64: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """All of the page."""

    title: str
    summary: list[str]
    missing: list[str]
    shown: list[Shown]
    charts: list[Drawing]
    runs: bool  # then a browser looks again


def write(folder: Path, name: str, pictures: Sequence[Path], losses: Losses, *, runs: bool) -> Path:
    """The page of pictures, newest first, and of the losses."""
    pictures = sorted(pictures, key=step, reverse=True)
    page = Page(
        title=name,
        summary=[_summary(pictures, losses, runs=runs)],
        missing=[] if pictures else ["No preview yet: a training writes one at each validation."],
        shown=[_shown(picture) for picture in pictures[:MOST]],
        charts=[parts.drawing(chart) for chart in _charts(losses)],
        runs=runs,
    )
    files.write_text(folder / "index.html", pages.render(TEMPLATE, page))
    return folder / "index.html"


def _summary(pictures: Sequence[Path], losses: Losses, *, runs: bool) -> str:
    said = [f"{'Running' if runs else 'Not running any more'}."]
    if pictures:
        said.append(f"The newest preview is of step {step(pictures[0])}.")
    said += [f"{name} at step {points[-1][0]}: {points[-1][1]:.4g}." for name, points in losses.items() if points]
    return " ".join(said)


def _shown(picture: Path) -> Shown:
    data = picture.read_bytes()
    encoded = base64.b64encode(data).decode()
    return Shown(step=step(picture), mime=MIMES[picture.suffix], base64=encoded)


def _charts(losses: Losses) -> list[Chart]:
    kinds = {"Training loss": ["loss"], "Loss on held-out rows": sorted(set(losses) - {"loss"})}
    return [
        Chart(
            title=title,
            note="Up to the newest checkpoint.",
            x="step",
            y="loss",
            series=tuple(_series(name, losses[name], colour) for colour, name in enumerate(names)),
            log_x=False,
            log_y=True,
        )
        for title, names in kinds.items()
        if all(losses.get(name) for name in names) and names
    ]


def _series(name: str, points: list[tuple[int, float]], colour: int) -> Series:
    found = tuple(Point(float(step), loss, 0.0) for step, loss in points)
    return Series(name=name, colour=colour, points=charts.thinned(found), dots=name != "loss")


def _curves(state: dict[str, Any]) -> Losses:
    found: Losses = {"loss": [(point["step"], point["loss"]) for point in state["curve"]]}
    for point in state["validation"]:
        for bucket, loss in point.items():
            if bucket != "step":
                found.setdefault(f"validation/{bucket}", []).append((point["step"], loss))
    return {name: points for name, points in found.items() if points}


def _is_named(folder: str, given: str) -> bool:
    return folder == given or folder.partition("-")[2] == given
