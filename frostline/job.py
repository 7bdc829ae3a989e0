"""One training: what moves, towards what, on which rows, by which processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import budgets
from frostline.companions import Companion
from frostline.contract import Contract, Process
from frostline.dataset import Dataset
from frostline.errors import FrostlineError
from frostline.mirror import Mirror
from frostline.networks import Transformer
from frostline.objectives import Objective, times
from frostline.objectives.times import Times
from frostline.params.trainings import BucketShare, LoopParams, TokenShare
from frostline.processes import ALONE, Team
from frostline.proofs import Proof


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training, ready to run."""

    name: str
    network: Transformer
    objective: Objective
    dataset: Dataset
    params: LoopParams
    contract: Contract
    identity: dict[str, Any]  # what a checkpoint must agree with, beside the dataset
    work: Path
    team: Team = ALONE
    mirror: Mirror | None = None  # where checkpoints are sent to as well
    offload: bool = False  # do weights wait in the host's memory?
    companions: tuple[Companion, ...] = ()  # networks that the objective asks as well, and that move
    proof: Proof | None = None  # what a student's samples are held against while it learns
    drawn: Times | None = None  # at which sigmas rows are asked, where it is not one that the contract draws

    @property
    def belongs_to(self) -> dict[str, Any]:
        """What a checkpoint must agree with: a step counts in one dataset and means nothing in another.

        Nor does it where the rows of a step are others, as they may be where processes are and tokens make the rows.
        """
        counted = [name for name, share in self.params.buckets.items() if isinstance(share, TokenShare)]
        rows = {"rows": {name: self.buckets[name].batch for name in counted}} if counted else {}
        return {"dataset": self.dataset.digest, **self.identity, **rows}

    @property
    def buckets(self) -> dict[str, BucketShare]:
        """How much each bucket takes, with the rows of one step; raises WrongUse if its tokens make none."""
        parts = self.team.world * self.params.compute.accumulate
        return budgets.resolved(self.params.buckets, self.dataset.space, self.process.patch_size, parts)

    @property
    def times(self) -> Times:
        """At which sigmas rows are asked."""
        return times.of(self.process) if self.drawn is None else self.drawn

    @property
    def process(self) -> Process:
        """What the network learns to predict; raises FrostlineError if the contract does not say."""
        if self.contract.process is None:
            raise FrostlineError(f"{self.name}: a training needs the process part of a contract")
        return self.contract.process
