"""`dvc repro` under a preset: ended at once by what is not there, and planned as a whole where all is."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from frostline import params
from frostline.cli import preset

ROOT = Path(__file__).parents[2]
NAME = "wan2.1-1.3b-video"
BASE, CLIPS = "bases/wan2.1-t2v-1.3b", "media/clips"
MADE = (
    *("data/manifest/clips", "data/sheets/clips", "data/latents/clips"),
    *("models/finetuned", "models/student", "reports/evaluation"),
)
JUDGED = ("metrics", "evaluated")
Repro = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def repro(tmp_path: Path) -> Repro:
    """`dvc repro` in the project under the preset, with nothing made in it and nothing brought."""
    for name in (".dvcignore", "dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in ("assets", "frostline", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("data/latents", "data/manifest", "data/shards", "data/sheets", "models", "reports"):
        (tmp_path / name).mkdir(parents=True)  # which git keeps for their .gitignore
    preset.apply(tmp_path / "params.yaml", ROOT / "presets" / f"{NAME}.yaml")
    python = Path(sys.executable).parent
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dvc", "repro", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, env=environment, check=True)
    return run


def bring(path: Path) -> None:
    """A stand-in for what the user brings."""
    path.mkdir(parents=True)
    (path / "stand-in").touch()


def test_without_its_base_nothing_is_prepared_and_the_remedy_is_said(repro: Repro, tmp_path: Path):
    bring(tmp_path / CLIPS)
    done = repro()
    assert done.returncode != 0
    assert f"error: {BASE}: not there, and params.yaml names it as base and tuned.finetuned.start" in done.stderr
    assert f"`frostline fetch Wan-AI/Wan2.1-T2V-1.3B {BASE}` brings it" in done.stderr
    assert re.findall(r"Running stage '(.*)'", done.stdout) == ["prepare@clips"]
    assert not list((tmp_path / "data" / "manifest").iterdir())


def test_without_its_clips_they_are_named(repro: Repro, tmp_path: Path):
    bring(tmp_path / BASE)
    done = repro()
    assert done.returncode != 0
    assert CLIPS in done.stderr
    assert not list((tmp_path / "data" / "manifest").iterdir())


def test_with_both_every_stage_is_planned(repro: Repro, tmp_path: Path):
    for path in (BASE, CLIPS, *MADE):
        bring(tmp_path / path)
    for path in (
        "data/latents.json",
        "reports/preflight.json",
        "reports/doctor.json",
        *(f"reports/evaluation/{name}.json" for name in JUDGED),
    ):
        (tmp_path / path).touch()
    done = repro("--dry")
    assert done.returncode == 0, done.stderr
    planned = re.findall(r"Running stage '(.*)'", done.stdout)
    settings = params.load(tmp_path / "params.yaml")
    trained = [f"tune@{name}" for name in settings.tuned] + [f"distill@{name}" for name in settings.students]
    expected = ["prepare@clips", "cache@clips", "index", "preflight", *trained, "evaluate", "diagnose", "register"]
    assert [name for name in planned if name in expected] == expected
