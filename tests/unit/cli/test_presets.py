"""The project's presets as they are typed: what their heads say is what `frostline estimate` says of them."""

import functools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline import params, randomness, records, sampling, schedule
from frostline.checks import schedule_coverage
from frostline.cli import preset as commands
from frostline.contract import Sampling
from frostline.estimating import figures
from frostline.estimating.figures import Figure
from frostline.wan import families
from tests import conftest

ROOT = Path(__file__).parents[3]
COMMAND = "$ frostline estimate "
RUN = "from frostline import cli; cli.main()"
FIGURES = ("memory per device", "device hours", "hours", "money")
REAL = [path for path in sorted((ROOT / "presets").glob("*.yaml")) if COMMAND in path.read_text()]
HARDWARE = re.compile(
    r"(?P<gpus>\d+) GPUs? of (?P<memory>\d+) GB, (?P<hours>[\d.,]+) hours, (?P<money>[\d.,]+) at 3 an hour"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with nothing made in it and nothing brought."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def head(path: Path) -> list[str]:
    """The lines of a preset's first comment, each with its indentation."""
    lines = path.read_text().split("\nbase:", 1)[0].splitlines()
    return [line.removeprefix("#").removeprefix(" ") for line in lines]


def stages(lines: list[str]) -> dict[str, list[str]]:
    """Figures by stage, a space between words."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if match := re.match(r" *(\w+@[\w-]+)", line):
            found[match[1]] = []
        elif found and line.startswith("  "):
            list(found.values())[-1].append(" ".join(line.split()))
    return found


def said(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The arguments of `frostline estimate` in a preset's head, and the figures below it."""
    lines = head(path)
    [place] = [number for number, line in enumerate(lines) if line.startswith(COMMAND)]
    return shlex.split(lines[place].removeprefix(COMMAND)), stages(lines[place + 1 :])


@functools.cache
def estimated(path: Path) -> dict[str, list[Figure]]:
    """What `frostline estimate`, as a preset's head has it, prints under the preset: figures by stage."""
    words = ["estimate", *said(path)[0], "--json"]
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["stages"]
    return {
        stage: [Figure(name=name, **figure) for name, figure in of["figures"].items()] for stage, of in facts.items()
    }


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_preset_s_head_says_what_estimate_says(path: Path, project: Path, frostline: Any):
    assert frostline("preset", path.stem)[0] == 0
    _, told = said(path)
    found = estimated(path)
    assert told.keys() == found.keys()
    for stage, lines in told.items():
        printed = [f"{figure.name} {figures.said(figure)} = {figure.formula}" for figure in found[stage]]
        assert [line for line in lines if line not in printed] == [], stage
        assert [name for name in FIGURES if not any(line.startswith(name) for line in lines)] == [], stage


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_hardware_of_a_preset_is_enough_and_its_hours_are_those_of_all_stages(
    path: Path, project: Path, frostline: Any
):
    frostline("preset", path.stem)
    values = [{figure.name: figure.value for figure in of} for of in estimated(path).values()]
    stated = HARDWARE.match(commands.head(path).hardware)
    assert stated, commands.head(path)
    launch = params.load().train.launch
    assert int(stated["gpus"]) == launch.nodes * launch.gpus_per_node
    assert max(value["memory per device"] for value in values) < 0.9e9 * int(stated["memory"])
    assert stated["hours"] == f"{sum(value['hours'] for value in values):.3g}"
    assert stated["money"] == f"{sum(value['money'] for value in values):.3g}"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_preset_is_of_a_published_model(path: Path, project: Path, frostline: Any):
    out = frostline("preset", path.stem)[1]
    settings = params.load()
    [family] = [one for one in families.FAMILIES if one.name == Path(settings.base).name]
    assert f"`frostline fetch {family.hub[0]} {settings.base}` brings it" in out
    assert f"frostline fetch {family.hub[0]} {settings.base}" in "\n".join(head(path))
    for source in settings.sources.values():
        assert f"{source.path}: not there" in out
        assert source.path in "\n".join(head(path))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_preset_twice_is_a_preset_once(path: Path, project: Path, frostline: Any):
    frostline("preset", path.stem)
    once = (project / "params.yaml").read_bytes()
    assert "params.yaml: 0 value(s) changed" in frostline("preset", path.stem)[1]
    assert (project / "params.yaml").read_bytes() == once
    assert yaml.safe_load(once)["train"]["runs"] == {}


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_trainings_of_a_preset_are_where_their_models_are_sampled(path: Path, project: Path, frostline: Any):
    frostline("preset", path.stem)
    settings = params.load()
    for loop in (*settings.tuned.values(), *settings.students.values()):
        asked = {"sampler": loop.sampling.sampler, "steps": loop.sampling.steps, "shift": loop.sampling.shift}
        record = records.parse(Sampling, {**conftest.EXTERNAL, **asked}, origin="a preset")
        visited = sampling.sampler(record).sigmas(record.steps, record.shift)
        draws = schedule.DRAWS[loop.draws](100_000, loop.shift, randomness.generator("presets"))
        assert schedule_coverage.check(draws=draws, sampler_sigmas=visited, intended_sigmas=visited).verdict == "pass"


def test_presets_are_listed_with_what_they_are_and_their_hardware(project: Path, frostline: Any):
    plain, listed = frostline("preset")[1], frostline("preset", "--list")[1]
    assert plain == listed
    for path in (ROOT / "presets").glob("*.yaml"):
        what, hardware = commands.head(path)
        assert re.search(rf"^{re.escape(path.stem)} +{re.escape(what)}\n +{re.escape(hardware)}$", plain, re.M)
    facts = json.loads(frostline("preset", "--json")[1])["presets"]
    assert facts["quick"] == commands.head(ROOT / "presets" / "quick.yaml")._asdict()
    assert (project / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()
