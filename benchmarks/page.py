"""docs/benchmarks.md from benchmarks/results/*.json: `python -m benchmarks.page`."""

from pathlib import Path
from typing import Any

import benchmarks
from frostline import files

PAGE = Path("docs/benchmarks.md")
TOP = """# Figures

Every figure we promise, as last measured. This page is generated from `benchmarks/results/` by
`python -m benchmarks.page`; the verdict is computed from value and target. `python -m benchmarks.NAME` measures a
group again, `--quick` goes through the same code in seconds and writes nothing. A figure that was not measured counts
as missed.
"""
HEADER = """| figure | measured | promised | verdict | n | spread | note |
|---|---|---|---|---|---|---|
"""


def render(results: dict[str, dict[str, Any]]) -> str:
    """The page, from the results by name."""
    return TOP + "".join(_group(name, results[name]) for name in sorted(results))


def _group(name: str, result: dict[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    rows = "".join(_row(benchmarks.Figure(**row)) for row in result["figures"])
    where = f"`{result['command']}`, {result['date']}, commit {result['commit'][:8]}; {result['machine']}; {versions}."
    return f"\n## {name}\n\n{where}\n\n{HEADER}{rows}"


def _row(row: benchmarks.Figure) -> str:
    measured = "not run" if row.value is None else f"{row.value:g} {row.unit}"
    verdict = "met" if row.met else "not run" if row.value is None else "**missed**"
    cells = [row.figure, measured, f"{row.op} {row.target:g}", verdict, str(row.n), row.spread, row.note]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    """Write the page."""
    results = {path.stem: files.read_json(path) for path in sorted(benchmarks.RESULTS.glob("*.json"))}
    files.write_text(PAGE, render(results))
    print(f"wrote {PAGE} from {len(results)} results")


if __name__ == "__main__":
    main()
