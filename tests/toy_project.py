"""A DVC project of shell stages in git, with our flows and deployments in it: what a worker can serve.

Its long stages end with DVC, as ours do.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DVC = [sys.executable, "-m", "dvc"]
STAGES = """
stages:
  source:
    cmd: echo ${text} > source.txt
    params: [text]
    outs: [source.txt]
  left:
    cmd: >-
      sed s/^/left/ source.txt > left.txt; date +%s.%N >> left.log; exec python flows/leash.py sleep ${seconds}
    meta: {prefect: {pool: gpu, gpus: 1}}
    deps: [source.txt]
    outs: [left.txt]
  right:
    cmd: >-
      sed s/^/right/ source.txt > right.txt; date +%s.%N >> right.log; exec python flows/leash.py sleep ${seconds}
    meta: {prefect: {pool: gpu, gpus: 1}}
    deps: [source.txt]
    outs: [right.txt]
  score:
    cmd: >-
      echo "{\\"length\\": $(cat left.txt right.txt | wc -c)}" > score.json; mkdir -p pictures; cp dot.png pictures/
    meta: {prefect: {pictures: pictures/*.png}}
    deps: [left.txt, right.txt, dot.png]
    outs: [pictures]
    metrics:
      - score.json:
          cache: false
"""
PARAMS = "text: a # what is measured\nseconds: 0.2\n"
DOT = bytes.fromhex(  # a picture of 8 x 8 blue points
    "89504e470d0a1a0a0000000d49484452000000080000000808020000004b6d29dc000000114944415478da637048b8831531"
    "0c2d0900f7e45f01883dc7960000000049454e44ae426082"
)


def make(folder: Path, stages: str = STAGES, params: str = PARAMS) -> Path:
    """A new project with one commit."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    (folder / "dvc.yaml").write_text(stages)
    (folder / "params.yaml").write_text(params)
    (folder / "dot.png").write_bytes(DOT)
    (folder / ".gitignore").write_text("/.prefect/\n/.work/\n/mlruns/\n*.log\n__pycache__/\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "somebody")
    git(folder, "config", "user.email", "somebody@localhost")
    subprocess.run([*DVC, "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*DVC, "config", "core.analytics", "false"], cwd=folder, check=True)
    commit(folder, "all")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)


def with_params(folder: Path, **values: object) -> None:
    """Other params, committed."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))
    commit(folder, "params")
