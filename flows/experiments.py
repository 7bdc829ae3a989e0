"""A run with other params in a git worktree of its own, beside the workspace, with the same DVC cache and registry.

.work/experiments/NAME   the worktree while it runs, and after a failure: the same command goes on there
experiments/NAME         the branch that keeps the result: params.yaml, dvc.lock, metrics (`dvc exp show -a`)
"""

import contextlib
import fcntl
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows import commands, graph
from flows.errors import WrongUse

FOLDER = Path(".work/experiments")
BRANCH = "experiments/"
PARAMS = "params.yaml"
SHARED = ("mlruns", "bases", ".work/latents")  # the workspace's own, for all its experiments
NAMED = "register.alias"  # holds the experiment's name: it registers its models beside the workspace's, not over them
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@contextlib.contextmanager
def worktree(root: Path, overrides: Mapping[str, Any], name: str | None) -> Iterator[Path]:
    """The folder in which an experiment runs. It is kept if the body raises; call ``keep`` when it has succeeded.

    The experiment starts from the last commit. Raises WrongUse, before anything is made, for unknown params, a
    workspace with changes that are in no commit, or a name that belongs to another experiment.
    """
    _require_committed(root)
    commit = commands.git(root, "rev-parse", "HEAD")
    name = name or default_name(commit, overrides)
    if not NAME.fullmatch(name):
        raise WrongUse(f"experiment {name!r}: a name has letters, digits, dots, dashes and underscores")
    text = commands.git(root, "show", f"HEAD:{PARAMS}", strip=False)
    if NAMED not in overrides and _has(text, NAMED):
        overrides = {**overrides, NAMED: name}
    text = laid(text, overrides)
    _require_same(root, name, text)
    with _alone(root, name):
        yield _made(root, name, commit, text)


def keep(root: Path, folder: Path, overrides: Mapping[str, Any]) -> str:
    """Commit what the experiment made on its branch and remove the worktree; returns the branch."""
    branch, words = (
        f"{BRANCH}{folder.name}",
        ", ".join(f"{key}={json.dumps(value)}" for key, value in overrides.items()),
    )
    written = [name for name in ("dvc.lock", PARAMS, *graph.uncached(folder)) if (folder / name).exists()]
    commands.git(folder, "add", "--all", "--force", "--", *written)
    if commands.git(folder, "diff", "--cached", "--name-only"):
        commands.git(
            folder, *_author(folder), "commit", "--quiet", "--no-verify", "-m", f"experiment {folder.name}: {words}"
        )
    commands.git(folder, "branch", "--force", branch)
    commands.git(root, "worktree", "remove", "--force", str(folder))
    return branch


def default_name(commit: str, overrides: Mapping[str, Any]) -> str:
    """Of an experiment that has none: the same params on the same commit are the same experiment."""
    told = json.dumps([commit, dict(overrides)], sort_keys=True)
    return f"exp-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def laid(text: str, overrides: Mapping[str, Any]) -> str:
    """params.yaml with other values at dotted names, its comments kept; raises WrongUse for a name it has not."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    values = yaml.load(text)
    for name, value in overrides.items():
        _set(values, name, value)
    out = io.StringIO()
    yaml.dump(values, out)
    return out.getvalue()


def _set(values: Any, name: str, value: Any) -> None:
    *above, last = name.split(".")
    here, seen = values, "params.yaml"
    for key in [*above, last]:
        if not isinstance(here, dict) or key not in here:
            known = ", ".join(map(str, here)) if isinstance(here, dict) else f"the value {here!r}"
            raise WrongUse(f"param {name!r}: {seen} has no {key!r}; it has {known}")
        if key is last:
            break
        here, seen = here[key], f"{seen}, {key}"
    here[last] = value


def _has(text: str, name: str) -> bool:
    here = YAML(typ="safe").load(text)
    for key in name.split("."):
        if not isinstance(here, dict) or key not in here:
            return False
        here = here[key]
    return True


def _require_committed(root: Path) -> None:
    """Raise WrongUse for changes in tracked files, but for those that stages write."""
    if not commands.is_repository(root):
        raise WrongUse(
            f"{root}: no git repository, and an experiment needs one; run `git init` and commit, or no --set"
        )
    if changed := commands.changes(root, graph.uncached(root)):
        names = ", ".join(changed[:5])
        raise WrongUse(
            f"{root}: {names} changed since the last commit, from which an experiment starts: commit or stash first"
        )


def _require_same(root: Path, name: str, text: str) -> None:
    """Raise WrongUse if a branch of that name has other params."""
    found = subprocess.run(
        ["git", "show", f"{BRANCH}{name}:{PARAMS}"], cwd=root, capture_output=True, text=True, check=False
    )
    if found.returncode == 0 and found.stdout != text:
        raise WrongUse(
            f"experiment {name}: the branch {BRANCH}{name} has other params; take another name, or `git branch -D` it"
        )


@contextlib.contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    path = root / FOLDER / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WrongUse(f"experiment {name} runs already; wait for its end, or take another name") from None
        yield


def _made(root: Path, name: str, commit: str, text: str) -> Path:
    """A new worktree, or the one that a killed or failed run of the same experiment left."""
    folder = root / FOLDER / name
    if (folder / ".complete").exists():
        if commands.git(folder, "rev-parse", "HEAD") != commit or (folder / PARAMS).read_text() != text:
            raise WrongUse(
                f"{folder}: an unfinished experiment of this name has other params or another commit; take another "
                f"name, or `git worktree remove --force {folder}`"
            )
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    commands.git(root, "worktree", "prune")
    commands.git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    (folder / PARAMS).write_text(text)
    _share(root, folder)
    graph.share_cache(root, folder)
    (folder / ".complete").touch()
    return folder


def _share(root: Path, folder: Path) -> None:
    """Links to what all experiments of a workspace have together; what git tracks below them is taken as unchanged."""
    for name in SHARED:
        if not (root / name).is_dir():
            continue
        if tracked := commands.git(folder, "ls-files", "--", name).splitlines():
            commands.git(folder, "update-index", "--skip-worktree", *tracked)
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((root / name).resolve(), target_is_directory=True)


def _author(folder: Path) -> list[str]:
    known = (
        subprocess.run(["git", "config", "user.email"], cwd=folder, capture_output=True, check=False).returncode == 0
    )
    return [] if known else ["-c", "user.name=frostline", "-c", "user.email=frostline@localhost"]
