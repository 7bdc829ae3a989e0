"""Where a training can go on from: whole checkpoints or none, each with digests of what it holds.

<work>/step-00000500/*.distcp, .metadata   weights, average, optimiser: torch's distributed checkpoint, a file for each
                                           process; read by any number of processes
<work>/step-00000500/state.json            step, curves, identity of the training, digests of the files

What several processes hold in parts is copied and then written while steps go on; a checkpoint takes its name when all
of it is on the disk.
"""

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed import checkpoint

from frostline import digests, files
from frostline.errors import Refused
from frostline.params.trainings import KeepParams
from frostline.processes import ALONE, Team

STATE = "state.json"
Tensors = Mapping[str, Mapping[str, Tensor]]  # by group and name


class Checkpoints:
    """The checkpoints of one training in its work folder."""

    def __init__(self, work: Path, identity: Mapping[str, Any], keep: KeepParams, team: Team = ALONE) -> None:
        """``identity`` is what a checkpoint must agree with: contract, data, params."""
        self.work, self.identity, self.keep, self.team = work, dict(identity), keep, team
        self._writing: Future[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    @property
    def newest(self) -> Path | None:
        """The checkpoint to go on from."""
        found = _all(self.work)
        return found[-1] if found else None

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, loss: float | None) -> None:
        """Write the checkpoint after ``step`` steps, then forget those that need not be kept.

        ``loss`` is that of the validation at this step, if there was one. Sharded tensors may change once this returns,
        and are on the disk after ``wait``.
        """
        self.wait()
        beside = self.work / f".step-{step:08d}"
        facts = {**state, "identity": self.identity, "step": step, "validation_loss": loss}
        self.team.first(lambda: _fresh(beside))
        nested = {group: dict(named) for group, named in tensors.items()}
        if self.team.mesh is None:
            with _alone():
                checkpoint.save(nested, checkpoint_id=beside, no_dist=True)
            self._complete(None, beside, facts)
        else:
            under_way = checkpoint.async_save(nested, checkpoint_id=beside, process_group=self.team.aside)
            self._writing = self._writer.submit(self._complete, under_way, beside, facts)

    def wait(self) -> None:
        """Return when what is being written is whole; raises what went wrong with it."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None
            self.team.wait()

    def restore(self, tensors: Tensors) -> dict[str, Any] | None:
        """Fill tensors from the newest checkpoint and give its state, or None if there is none.

        Raises Refused if it belongs to another training (contract, data, params) or is damaged.
        """
        folder = self.newest
        if folder is None:
            return None
        state = files.read_json(folder / STATE)
        _require_same(folder, self.identity, state["identity"])
        if self.team.leads:
            _require_whole(folder, state["files"])
        nested = {group: dict(named) for group, named in tensors.items()}
        with _alone():
            checkpoint.load(nested, checkpoint_id=folder, no_dist=self.team.mesh is None)
        return state

    def _complete(self, under_way: Any, beside: Path, facts: dict[str, Any]) -> None:
        """Seal a checkpoint that is on the disk, give it its name, and remove what is no longer kept."""
        if under_way is not None:
            under_way.result()
        if not self.team.leads:
            return
        found = {path.name: digests.of_file(path) for path in sorted(beside.iterdir())}
        files.write_json(beside / STATE, {**facts, "files": found})
        files.sync(beside)
        files.take_place(beside, beside.with_name(beside.name.removeprefix(".")))
        for old in sorted(set(_all(self.work)) - _kept(_all(self.work), self.keep)):
            shutil.rmtree(old)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Without torch's warning that there is one process only, which it is told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _kept(found: list[Path], keep: KeepParams) -> set[Path]:
    """The newest, those of the lowest validation loss, and the milestones."""
    states = {path: files.read_json(path / STATE) for path in found}
    losses = {path: state["validation_loss"] for path, state in states.items() if state["validation_loss"] is not None}
    best = sorted(losses, key=lambda path: (losses[path], path))[: keep.best]
    every = keep.milestones
    return {*found[-keep.last :], *best, *(path for path in found if every and states[path]["step"] % every == 0)}


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _require_same(folder: Path, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    wrong = [key for key in ours if theirs.get(key) != ours[key]]
    if wrong:
        lines = "; ".join(f"{key}: {ours[key]} (ours) against {theirs.get(key)} (theirs)" for key in wrong)
        raise Refused(
            f"{folder}: a checkpoint of another training: {lines}; a work folder's name is the key of its training, "
            "so somebody put it there: move it away"
        )


def _require_whole(folder: Path, stated: Mapping[str, str]) -> None:
    for name, digest in stated.items():
        found = digests.of_file(folder / name)
        if found != digest:
            raise Refused(f"{folder / name}: digest {found} is not the {digest} it was saved with; remove {folder}")


def _all(work: Path) -> list[Path]:
    return sorted(path for path in work.glob("step-*") if path.is_dir())
