"""Where a training can go on from: whole checkpoints or none, each with digests of what it holds.

<work>/step-00000500/*.distcp, .metadata   weights, average, optimiser: torch's distributed checkpoint, a file for each
                                           process; read by any number of processes
<work>/step-00000500/state.json            step, curves, identity of the training, digests of the files

What a training holds is copied and then written while steps go on; a checkpoint takes its name when all of it is on the
disk. With a mirror it is then sent there while steps go on, and brought from there where the disk holds
none, or an older one.
"""

import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed import checkpoint

from frostline import digests, files
from frostline.errors import Refused
from frostline.mirror import STATE, Mirror
from frostline.params.trainings import KeepParams
from frostline.processes import ALONE, Team
from frostline.storage import Unreachable

Tensors = Mapping[str, Mapping[str, Tensor]]  # by group and name


class Checkpoints:
    """The checkpoints of one training in its work folder."""

    def __init__(
        self,
        work: Path,
        identity: Mapping[str, Any],
        keep: KeepParams,
        team: Team = ALONE,
        mirror: Mirror | None = None,
    ) -> None:
        """``identity`` is what a checkpoint must agree with: contract, data, params."""
        self.work, self.identity, self.keep, self.team, self.mirror = work, dict(identity), keep, team, mirror
        self._writing: Future[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        # There is one process only, and torch is told.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)

    @property
    def newest(self) -> Path | None:
        """The checkpoint to go on from."""
        found = _all(self.work)
        return found[-1] if found else None

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, loss: float | None) -> None:
        """Write the checkpoint after ``step`` steps, then forget those that need not be kept.

        ``loss`` is that of the validation at this step, if there was one. Tensors may change once this returns, and are
        on the disk after ``wait``, which also raises what went wrong.
        """
        self.wait()
        beside = self.work / f".step-{step:08d}"
        facts = {**state, "identity": self.identity, "step": step, "validation_loss": loss}
        self.team.first(lambda: _fresh(beside))
        if self.team.mesh is None:
            copied = {group: {name: t.clone() for name, t in named.items()} for group, named in tensors.items()}
            self._writing = self._writer.submit(self._write, copied, beside, facts)
        else:
            nested = {group: dict(named) for group, named in tensors.items()}
            under_way = checkpoint.async_save(nested, checkpoint_id=beside, process_group=self.team.aside)
            self._writing = self._writer.submit(self._finish, under_way, beside, facts)

    def wait(self) -> None:
        """Return when what is being written is whole, and sent; raises what went wrong with it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()
            self.team.wait()

    def close(self) -> None:
        """Return when nothing is being written any more, whatever became of it; nothing is saved after that."""
        self._writer.shutdown()

    def restore(self, tensors: Tensors) -> dict[str, Any] | None:
        """Fill tensors from the newest checkpoint and give its state, or None if there is none.

        Raises Refused if it belongs to another training (contract, data, params) or is damaged, and what a mirror
        raises that does not answer: a training that began anew would not be the one that is there.
        """
        self.team.first(self._bring)
        folder = self.newest
        if folder is None:
            return None
        state = files.read_json(folder / STATE)
        _require_same(folder, self.identity, state["identity"])
        if self.team.leads:
            _require_whole(folder, state["files"])
        nested = {group: dict(named) for group, named in tensors.items()}
        checkpoint.load(nested, checkpoint_id=folder, no_dist=self.team.mesh is None)
        return state

    def _write(self, tensors: dict[str, dict[str, Tensor]], beside: Path, facts: dict[str, Any]) -> None:
        """Write what one process holds, then do the rest."""
        checkpoint.save(tensors, checkpoint_id=beside, no_dist=True)
        self._complete(beside, facts)
        self._send()

    def _finish(self, under_way: Any, beside: Path, facts: dict[str, Any]) -> None:
        """Wait until all processes' parts are on the disk, then let one of them do the rest."""
        under_way.result()
        if self.team.leads:
            self._complete(beside, facts)
            self._send()

    def _complete(self, beside: Path, facts: dict[str, Any]) -> None:
        """Seal a checkpoint that is on the disk, give it its name, and remove what is no longer kept."""
        found = {path.name: digests.of_file(path) for path in sorted(beside.iterdir())}
        files.write_json(beside / STATE, {**facts, "files": found})
        files.sync(beside)
        files.take_place(beside, beside.with_name(beside.name.removeprefix(".")))
        states = {path.name: files.read_json(path / STATE) for path in _all(self.work)}
        for old in sorted(states.keys() - _kept(states, self.keep)):
            shutil.rmtree(self.work / old)

    def _send(self) -> None:
        """Send the newest checkpoint, and remove there what is no longer kept; a store that is away is told of."""
        newest = self.newest
        if self.mirror is None or newest is None:
            return
        try:
            self.mirror.send(newest)
            states = {name: self.mirror.state(name) for name in self.mirror.names()}
            self.mirror.forget(states.keys() - _kept(states, self.keep))
        except Unreachable as error:
            print(f"{newest.name} is on this disk and not sent: {error}; training goes on", flush=True)

    def _bring(self) -> None:
        """Bring the newest checkpoint of the mirror, where the disk holds none that is as new."""
        found = self.mirror.names() if self.mirror else []
        if self.mirror is None or not found or (self.newest is not None and self.newest.name >= found[-1]):
            return
        name, state = found[-1], self.mirror.state(found[-1])
        _require_same(f"{self.mirror.address}/{name}", self.identity, state["identity"])
        beside = self.work / f".{name}"
        _fresh(beside)
        self.mirror.bring(name, state, beside)
        for file in beside.iterdir():
            files.sync(file)
        files.sync(beside)
        files.take_place(beside, self.work / name)
        print(f"{name} was brought from {self.mirror.address}", flush=True)


def _kept(states: Mapping[str, Mapping[str, Any]], keep: KeepParams) -> set[str]:
    """Of checkpoints by name: the newest, those of the lowest validation loss, and the milestones."""
    losses = {name: state["validation_loss"] for name, state in states.items() if state["validation_loss"] is not None}
    best = sorted(losses, key=lambda name: (losses[name], name))[: keep.best]
    every = keep.milestones
    milestones = (name for name, state in states.items() if every and state["step"] % every == 0)
    return {*sorted(states)[-keep.last :], *best, *milestones}


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _require_same(folder: Path | str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    wrong = [key for key in ours if theirs.get(key) != ours[key]]
    if wrong:
        lines = "; ".join(f"{key}: {ours[key]} (ours) against {theirs.get(key)} (theirs)" for key in wrong)
        raise Refused(
            f"{folder}: a checkpoint of another training: {lines}; a work folder's name is the key of its training, "
            "so somebody put it there: move it away, or, where rows differ that tokens make, train by as many processes"
        )


def _require_whole(folder: Path, stated: Mapping[str, str]) -> None:
    for name, digest in stated.items():
        found = digests.of_file(folder / name)
        if found != digest:
            raise Refused(f"{folder / name}: digest {found} is not the {digest} it was saved with; remove {folder}")


def _all(work: Path) -> list[Path]:
    return sorted(path for path in work.glob("step-*") if path.is_dir())
