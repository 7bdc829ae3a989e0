"""A check in words for the terminal, and all of them as a page of the documentation."""

import textwrap
from collections.abc import Iterator

from frostline.doctor import catalogue
from frostline.doctor.catalogue import Entry

WIDTH = 100
WHEN = {
    "files": "from files alone: `frostline doctor`",
    "records": "while a training runs, and afterwards by the record it leaves in the model's folder",
    "test": "by the tests of this library; of other code, files alone cannot tell",
}
OF_PAGE = """# The doctor: what can be wrong, and how it is told

`frostline doctor TARGET` runs every check below that applies to a model, a cache or a network of your own, and names
the cause: the failing check that explains most of the others and is explained by none; of equals the one nearest to the
data. What it explains are symptoms. `frostline explain D21` prints one of these sections.

A frozen VAE and a matching sampler are necessary, and not sufficient: both projects whose failures made this list had
announced one of the two as the cure.

This page is made by `python -m frostline.doctor.explaining docs/doctor.md`; a test keeps it true.
"""


def words(entry: Entry) -> str:
    """One check: what it asks and why, how it is measured, what is to be done."""
    parts = {
        "why": entry.story,
        "maths": entry.maths,
        "measured": entry.procedure,
        "threshold": entry.threshold,
        "remedy": entry.remedy,
        "explains": ", ".join(f"{id_} {catalogue.entry(id_).name}" for id_ in entry.explains)
        or "nothing: a symptom, or alone",
        "when": _when(entry).replace("`", ""),
        "level": entry.level,
        "reference": entry.reference,
    }
    filled = [
        textwrap.fill(text, WIDTH, initial_indent=f"  {name:<10} ", subsequent_indent=" " * 13)
        for name, text in parts.items()
    ]
    return "\n".join([f"{entry.id} {entry.name}: {entry.question}", *filled])


def _when(entry: Entry) -> str:
    """How a check is told."""
    stops = "; it stops a training that runs" if entry.stops else ""
    return f"{WHEN[entry.when]}{stops}"


def listed() -> str:
    """All checks, a line each."""
    return "\n".join(f"{one.id} {one.name:<20} {one.question}" for one in catalogue.entries().values())


def page() -> str:
    """The documentation of all checks."""
    return "\n".join(
        [OF_PAGE, *_table(), "", *(line for one in catalogue.entries().values() for line in _section(one))]
    )


def _table() -> Iterator[str]:
    yield "| check | asks | told | explains |"
    yield "|---|---|---|---|"
    for one in catalogue.entries().values():
        link = f"[{one.id} {one.name}](#{one.id.lower()}-{one.name})"
        yield f"| {link} | {one.question} | {_short(one)} | {' '.join(one.explains)} |"


def _short(one: Entry) -> str:
    told = {"files": "from files", "records": "while training", "test": "by a test"}[one.when]
    return f"{told}, while training" if one.stops and one.when == "files" else told


def _section(one: Entry) -> Iterator[str]:
    yield f"## {one.id} {one.name}"
    yield ""
    yield f"*{one.question}* Told {_when(one)}. Level: {one.level}."
    yield ""
    yield one.story
    yield ""
    if one.maths != "none":
        yield f"* maths: `{one.maths}`"
    yield f"* measured: {one.procedure}"
    yield f"* threshold: {one.threshold}"
    yield f"* remedy: {one.remedy}"
    yield f"* reference: {one.reference}"
    yield ""


if __name__ == "__main__":
    import sys
    from pathlib import Path

    from frostline import files

    files.write_text(Path(sys.argv[1]), page().rstrip("\n") + "\n")
