"""Runs with other params beside the workspace, which stays as it was; Prefect is not needed to see that."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flows import experiments, graph
from flows.errors import WrongUse
from tests import toy_project
from tests.toy_project import git

PARAMS = "text: a # what is measured\nregister: {alias: candidate}\n"
STAGES = """
stages:
  write:
    cmd: echo ${text} > big.txt && echo one >> ran.log
    params: [text]
    outs: [big.txt]
  score:
    cmd: >-
      echo "{\\"length\\": $(wc -c < big.txt)}" > score.json && echo ${register.alias} >> mlruns/aliases
    params: [register.alias]
    deps: [big.txt]
    metrics:
      - score.json:
          cache: false
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages ran, with a registry that git tracks a file of."""
    folder = toy_project.make(tmp_path_factory.mktemp("made") / "project", STAGES, PARAMS)
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "README.md").write_text("the registry\n")
    (folder / ".gitignore").write_text("/.work/\n/mlruns/*\n!/mlruns/README.md\n*.log\n")
    repro(folder)
    toy_project.commit(folder, "ran")
    (folder / "ran.log").unlink()
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def repro(folder: Path) -> None:
    subprocess.run([*toy_project.DVC, "repro", "--quiet"], cwd=folder, check=True)


def test_an_experiment_leaves_a_branch_and_nothing_else(project: Path):
    overrides = {"text": "longer"}
    with experiments.worktree(project, overrides, "try") as folder:
        assert yaml.safe_load((folder / "params.yaml").read_text()) == {"text": "longer", "register": {"alias": "try"}}
        assert "# what is measured" in (folder / "params.yaml").read_text()
        repro(folder)
        assert experiments.keep(project, folder, overrides) == "experiments/try"
    assert not folder.exists()
    assert git(project, "status", "--porcelain") == ""
    assert json.loads(git(project, "show", "experiments/try:score.json")) == {"length": 7}
    assert git(project, "diff", "--name-only", "main", "experiments/try").split() == [
        "dvc.lock",
        "params.yaml",
        "score.json",
    ]
    assert (project / "mlruns" / "aliases").read_text().split() == ["candidate", "try"]  # one registry
    assert (project / "mlruns" / "README.md").read_text() == "the registry\n"
    subprocess.run([*toy_project.DVC, "status", "--quiet"], cwd=project, check=True)  # up to date as before
    shown = subprocess.run(
        [*toy_project.DVC, "metrics", "show", "--all-branches", "--json"], cwd=project, check=True, capture_output=True
    )
    assert {name: one["data"]["score.json"]["data"]["length"] for name, one in json.loads(shown.stdout).items()} == {
        "main": 2,
        "experiments/try": 7,
    }


def test_the_cache_is_one(project: Path):
    with experiments.worktree(project, {"register.alias": "other"}, None) as folder:
        assert (folder / "big.txt").read_text() == "a\n"  # checked out, not made
        assert [stage.address for stage in graph.read(folder) if stage.changed] == ["score"]
        repro(folder)
        assert not (folder / "ran.log").exists()
    assert folder.is_dir()  # it was not kept, so it stays to go on in


def test_a_killed_one_goes_on_where_it_was_and_others_are_told_apart(project: Path):
    with experiments.worktree(project, {"text": "b"}, "try") as folder:
        (folder / "work-in-progress").touch()
    with experiments.worktree(project, {"text": "b"}, "try") as again:
        assert (again / "work-in-progress").exists()
        with pytest.raises(WrongUse, match="runs already"), experiments.worktree(project, {"text": "b"}, "try"):
            pass
        with experiments.worktree(project, {"text": "c"}, "beside") as other:
            assert other != folder
    with pytest.raises(WrongUse, match="other params"), experiments.worktree(project, {"text": "c"}, "try"):
        pass


def test_what_was_killed_while_it_was_made_is_made_again(project: Path):
    with experiments.worktree(project, {"text": "b"}, "try") as folder:
        (folder / ".complete").unlink()
        (folder / "half").touch()
    with experiments.worktree(project, {"text": "b"}, "try") as folder:
        assert not (folder / "half").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"txt": 1}, "no 'txt'; it has text, register"),
        ({"register.alia": 1}, "register has no 'alia'; it has alias"),
        ({"text.deeper": 1}, "no 'deeper'; it has the value 'a'"),
    ],
)
def test_unknown_params_are_refused(project: Path, overrides: dict[str, object], said: str):
    with pytest.raises(WrongUse, match=said), experiments.worktree(project, overrides, "try"):
        pass
    assert git(project, "worktree", "list").count("\n") == 0


def test_a_name_a_branch_and_a_workspace_must_fit(project: Path):
    with pytest.raises(WrongUse, match="letters"), experiments.worktree(project, {"text": "b"}, "a/b"):
        pass
    git(project, "branch", "experiments/taken")
    with pytest.raises(WrongUse, match="other params"), experiments.worktree(project, {"text": "b"}, "taken"):
        pass
    (project / "dvc.lock").write_text((project / "dvc.lock").read_text() + "\n")  # what stages write may differ
    with experiments.worktree(project, {"text": "b"}, "first"):
        pass
    (project / "params.yaml").write_text(PARAMS + "more: 1\n")
    with (
        pytest.raises(WrongUse, match=r"params\.yaml changed since"),
        experiments.worktree(project, {"text": "b"}, "x"),
    ):
        pass


def test_without_git_there_are_none(tmp_path: Path):
    with pytest.raises(WrongUse, match="git init"), experiments.worktree(tmp_path, {"text": "b"}, "x"):
        pass
