"""What each stage is made of: training never reaches the codec, and cheap stages name their code in dvc.yaml."""

import functools
import re
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from frostline import revisions

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
EXPENSIVE = {stage: stage for stage in yaml.safe_load(revisions.FILE.read_text())}  # their meaning is a number
EXPENSIVE["shard"] = "cache"  # a share of the same work
EXPENSIVE["tune"] = "train"  # the same training from other weights
FROZEN = {"foundation"}
CHEAP = sorted(STAGES.keys() - EXPENSIVE.keys() - FROZEN)


@functools.cache
def graph() -> grimp.ImportGraph:
    """Who imports whom, imports inside functions included."""
    return grimp.build_graph("frostline", "stages", exclude_type_checking_imports=True, cache_dir=None)


def closure(module: str) -> set[str]:
    """All our modules that are loaded with a module: what it imports, and the packages those lie in."""
    found: set[str] = set()
    ahead = {module}
    while ahead:
        name = ahead.pop()
        found.add(name)
        above = {name.rpartition(".")[0]} - {""}
        ahead |= (graph().find_modules_directly_imported_by(name) | above) - found
    return found


def files(module: str) -> set[str]:
    """A module's file, as dvc.yaml names it, and the data beside it: of its own name, or in its package of no other."""
    path = ROOT.joinpath(*module.split("."))
    folder, names = (path, {"__init__"}) if path.is_dir() else (path.parent, {path.name})
    if path.is_dir():
        names |= {file.stem for file in folder.iterdir()} - {file.stem for file in folder.glob("*.py")}
    found = {file for file in folder.iterdir() if file.is_file() and file.stem in names and file.suffix != ".pyc"}
    return {file.relative_to(ROOT).as_posix() for file in found}


def body(stage: str) -> dict[str, Any]:
    return STAGES[stage].get("do", STAGES[stage])


def entry(stage: str) -> str:
    """The module that a stage runs."""
    found = re.search(r"python -m (stages\.\w+)", body(stage)["cmd"])
    assert found, f"{stage}: its cmd starts no `python -m stages.NAME`"
    return found[1]


def collapsed(names: set[str]) -> list[str]:
    """Files as dvc.yaml names them: a package of which every file is among them by its folder alone."""
    packages = sorted({str(Path(name).parent) for name in names} - {"frostline", "stages"})
    whole = [package for package in packages if everything(package) <= names]
    outermost = {package for package in whole if not any(Path(other) in Path(package).parents for other in whole)}
    left = {name for name in names if not any(Path(package) in Path(name).parents for package in outermost)}
    return sorted(left | outermost)


def everything(package: str) -> set[str]:
    """All files of a package and the packages in it, what python makes there apart."""
    found = (path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(ROOT).as_posix() for path in found}


def code(stage: str) -> list[str]:
    """The deps of a stage that are code."""
    return [dep for dep in body(stage)["deps"] if dep.startswith(("frostline", "stages"))]


@pytest.mark.parametrize("stage", STAGES)
def test_no_shell_stays_between_dvc_and_a_stage(stage: str) -> None:
    """A shell that did would outlive a killed `dvc repro`, and the stage with it."""
    assert body(stage)["cmd"].startswith("exec python -m stages.")


@pytest.mark.parametrize("stage", ["train", "tune", "distill"])
def test_training_never_reaches_the_codec(stage):
    reached = closure(f"stages.{stage}")
    assert "frostline.engine" in reached
    assert "frostline.codec" not in reached, graph().find_shortest_chain(f"stages.{stage}", "frostline.codec")


def test_the_closure_sees_imports_inside_functions():
    assert "frostline.codec" in closure("stages.cache")


@pytest.mark.parametrize("stage", CHEAP)
def test_a_cheap_stage_depends_on_the_code_it_is_made_of(stage):
    expected = collapsed(set().union(*map(files, closure(entry(stage)))))
    listed = "\n".join(f"      - {file}" for file in expected)
    assert code(stage) == expected, f"deps of {stage} in dvc.yaml, code part:\n{listed}"


@pytest.mark.parametrize("stage", sorted(EXPENSIVE))
def test_an_expensive_stage_depends_on_its_revision(stage):
    wanted = [entry for entry in body(stage)["params"] if isinstance(entry, dict)]
    assert wanted == [{"frostline/revisions.yaml": [EXPENSIVE[stage]]}]
    assert not code(stage)


def test_every_stage_is_a_file_and_a_section():
    for stage in STAGES:
        assert entry(stage) == f"stages.{stage}"
        assert (ROOT / "stages" / f"{stage}.py").is_file()
