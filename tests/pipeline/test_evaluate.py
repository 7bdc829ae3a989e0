"""The stage as DVC runs it: what it writes, that it writes the same bytes twice, and what it says when it cannot."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from frostline import digests, judge, manifest, models, params
from frostline.errors import WrongUse
from frostline.sources import preparing
from tests import stage_process

ROOT = Path(__file__).parents[2]
WRITTEN = {
    "index.html",
    "metrics.json",
    "evaluated.json",
    "pictures/teacher_1x32x32.png",
    "pictures/teacher_5x32x32.gif",
    "pictures/guided_1x32x32.png",
    "pictures/guided_5x32x32.gif",
    "plots/quality/teacher.tsv",
    "plots/quality/guided.tsv",
    "plots/loss/teacher.tsv",
}


@pytest.fixture(scope="module")
def folder(tiny_base: Path, make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a base, a judge of random weights, held-out digits, and two tiny models."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(tiny_base, folder / "base")
    settings = judge.Settings(size=32, feature_mean=(0.0,) * judge.FEATURES, feature_std=(1.0,) * judge.FEATURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge.Judge(judge.Network(32), settings).save(folder / "base" / "judge")
    _params(folder, base="base")
    source = params.load(folder / "params.yaml").source("digits")
    rows, rejected = preparing.rows("digits", source)
    manifest.write(folder / "manifest" / "digits", [row for row in rows if row.split == "test"], rejected)
    teacher = make_model(folder / "models" / "teacher")
    (teacher / "curve.tsv").write_text("step\tloss\n10\t2.0\n20\t1.0\n")
    facts = {"sampling": {"guidance_form": "folded"}, "teacher_digest": models.load(teacher).training.weights_digest}
    make_model(folder / "models" / "guided", seed=1, **facts)
    return folder


def _params(folder: Path, base: str) -> None:
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["base"] = base
    del settings["students"]["fast"]
    settings["sources"]["digits"]["draws"] = [{"frames": 1, "per_scan": 1}, {"frames": 5, "per_scan": 1}]
    settings["evaluate"] = {
        "samples": {"1x32x32": 20, "5x32x32": 40},
        "curve_steps": [1],
        "curve_samples": 10,
        "threads": 1,
        "seed": 0,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def words(reports: str) -> list[str]:
    return ["--models", "models", "--manifests", "manifest", "--params", "params.yaml", "--reports", reports]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the project to break."""
    return shutil.copytree(folder, tmp_path / "project")


@pytest.fixture
def evaluate(copy: Path, main_in: Callable[..., None]) -> Callable[[], None]:
    """Runs the stage on the copy in this process."""
    return functools.partial(main_in, copy, "evaluate", *words("reports"))


@pytest.fixture(scope="module")
def reports(folder: Path) -> Path:
    done = stage_process.run(folder, "evaluate", *words("first"))
    assert done.returncode == 0, done.stderr
    assert "guided 5x32x32: accuracy" in done.stdout
    return folder / "first"


def test_it_writes_numbers_pictures_plots_and_a_page(reports: Path):
    assert {str(path.relative_to(reports)) for path in reports.rglob("*") if path.is_file()} == WRITTEN
    found = json.loads((reports / "metrics.json").read_text())
    assert set(found) == {"teacher", "guided"}
    assert set(found["guided"]) == {"1x32x32", "5x32x32"}
    assert {"accuracy", "accuracy_error", "frechet_teacher", "endpoint_rmse"} <= set(found["guided"]["1x32x32"])
    assert found["guided"]["5x32x32"]["n"] == 40
    judged = json.loads((reports / "evaluated.json").read_text())
    assert judged["guided"]["weights_digest"] == models.load(reports.parent / "models/guided").training.weights_digest


def test_the_same_inputs_give_the_same_bytes(reports: Path):
    again = stage_process.run(reports.parent, "evaluate", *words("second"))
    assert again.returncode == 0, again.stderr
    assert digests.of_folder(reports) == digests.of_folder(reports.parent / "second")


def test_no_output_names_a_place_of_this_machine(reports: Path):
    for path in reports.rglob("*"):
        if path.suffix in {".html", ".json", ".tsv"}:
            assert str(reports.parent) not in path.read_text()


def test_a_missing_model_is_named(copy: Path, evaluate: Callable[[], None]):
    shutil.rmtree(copy / "models/guided")
    with pytest.raises(WrongUse, match="models/guided: no such model folder"):
        evaluate()
    assert not (copy / "reports").exists()


def test_a_base_without_a_judge_is_told(copy: Path, evaluate: Callable[[], None], capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(copy / "base/judge")
    evaluate()
    assert "base has no judge" in capsys.readouterr().out
    assert "base has no judge" in (copy / "reports/index.html").read_text()
    assert "accuracy" not in (copy / "reports/metrics.json").read_text()
