"""One training: what moves, towards what, on which rows, by which processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import WanTransformer3DModel

from frostline.contract import Contract, Process
from frostline.dataset import Dataset
from frostline.errors import FrostlineError
from frostline.objectives import Objective
from frostline.params.trainings import LoopParams
from frostline.processes import ALONE, Team


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training, ready to run."""

    name: str
    network: WanTransformer3DModel
    objective: Objective
    dataset: Dataset
    params: LoopParams
    contract: Contract
    identity: dict[str, Any]  # what a checkpoint must agree with, beside the dataset
    work: Path
    team: Team = ALONE
    offload: bool = False  # do weights wait in the host's memory?

    @property
    def belongs_to(self) -> dict[str, Any]:
        """What a checkpoint must agree with: a step counts in one dataset and means nothing in another."""
        return {"dataset": self.dataset.digest, **self.identity}

    @property
    def process(self) -> Process:
        """What the network learns to predict; raises FrostlineError if the contract does not say."""
        if self.contract.process is None:
            raise FrostlineError(f"{self.name}: a training needs the process part of a contract")
        return self.contract.process
