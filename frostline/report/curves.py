"""Quality against steps and losses against time, as charts and as tables."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from frostline import files
from frostline.evaluation import Evaluated, Numbers
from frostline.pages import charts
from frostline.pages.charts import Chart, Point, Series


def quality(evaluated: Sequence[Evaluated]) -> list[Chart]:
    """Measures against the number of steps."""
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


def losses(names: Sequence[str], found: Mapping[str, Sequence[Point]]) -> list[Chart]:
    """One chart per model: losses of different objectives do not share a scale."""
    return [
        Chart(
            title=f"Training loss of {name}",
            note="Means over equal stretches of the training.",
            x="step",
            y="loss",
            series=(Series(name=name, colour=colour, points=charts.thinned(found[name]), dots=False),),
            log_x=False,
            log_y=True,
        )
        for colour, name in enumerate(names)
        if found.get(name)
    ]


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
