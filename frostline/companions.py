"""Networks beside the one that is trained, which its objective asks: kept in checkpoints, resumed to the bit.

Critic  distribution matching: learns the velocity of what the student makes, some updates before each of its steps
Target  consistency: an average of the student, quicker than the one that is sampled
Warmth  flow maps: no network, but the weight of the derivative, which grows with the steps
"""

import abc
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from frostline import averages, gradients, randomness, sharding
from frostline.dataset import Batch
from frostline.ema import Average
from frostline.errors import FrostlineError
from frostline.networks import Transformer
from frostline.objectives import Objective, flow_map
from frostline.objectives.times import Times
from frostline.optimizer import Optimizer
from frostline.params.trainings import CriticParams, LoopParams
from frostline.processes import Team
from frostline.progress import CURVE_POINTS

LAGGING = 1.05  # a critic that learns so much in one step of the student runs behind it


class Companion(abc.ABC):
    """What a training keeps beside its network."""

    def lead(self, batch: Batch, step: int) -> None:  # noqa: B027 (not all of them learn)
        """Learn, before the network does in a step."""

    def follow(self, network: Transformer, step: int) -> None:  # noqa: B027 (nor do all follow)
        """Move, after the network has moved in a step."""

    @abc.abstractmethod
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a checkpoint keeps of it, by group and name."""

    def restore(self, tensors: Mapping[str, dict[str, Tensor]]) -> None:  # noqa: B027
        """Take back what ``tensors`` gave, where filling them in place was not enough."""

    def looked(self) -> dict[str, float]:
        """What is to be known of it, for the curve of the training."""
        return {}


@final
class Critic(Companion):
    """A second network that learns by steps of its own."""

    def __init__(
        self,
        network: Transformer,
        objective: Objective,
        times: Times,
        params: CriticParams,
        loop: LoopParams,
        team: Team,
    ) -> None:
        """``network`` begins as the teacher; ``objective`` is that of ``objectives.critic``, bound to the student."""
        self.network = sharding.place(network.requires_grad_(True), loop.compute, team).train()
        self._objective, self._times, self._updates = objective, times, params.updates
        self._seed, self._parts, self._team = loop.seed, loop.compute.accumulate, team
        self.optimizer = Optimizer(self.network, params.optimizer, loop.steps * params.updates)
        self._every = max(1, loop.steps // CURVE_POINTS)  # steps between two looks
        self._told = torch.zeros(2, dtype=torch.float64)  # losses before and after the updates it looked at

    def lead(self, batch: Batch, step: int) -> None:
        """See Companion; raises FrostlineError for a loss that is no number."""
        looks = step % self._every == 0
        before = self._look(batch, step) if looks else 0.0
        for turn in range(self._updates):
            self._update(batch, step, step * self._updates + turn)
        if looks:
            self._told.copy_(torch.tensor([before, self._look(batch, step)]))

    def _update(self, batch: Batch, step: int, number: int) -> None:
        losses = self._losses(batch, number, "critic")
        if not torch.isfinite(losses).all() or not torch.isfinite(self.optimizer.clip()):
            raise FrostlineError(
                f"step {step}: the loss or gradient of the critic is no number, on rows {list(batch.rows)}; lower the "
                "rate of critic.optimizer or of the student, which begins the training anew"
            )
        self.optimizer.step(number)

    def _look(self, batch: Batch, step: int) -> float:
        """Its loss on draws that it never learns by, the same before and after the updates of a step."""
        loss = float(self._losses(batch, step, "critic looked at").mean())
        self.optimizer.forget()
        return loss

    def _losses(self, batch: Batch, number: int, purpose: str) -> Tensor:
        """Losses of all rows of one draw, with their gradients."""
        rows = len(batch.rows) * self._team.world
        times = self._times.draw(rows, randomness.generator(self._seed, number, purpose))
        noise = (self._seed, number, f"{purpose}, noise")
        own = gradients.take(self._objective, self.network, batch, times, noise, team=self._team, parts=self._parts)
        return self._team.agreed(own, asked=False)[0]

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """See Companion."""
        return {
            "critic": averages.moving(self.network),
            "critic_optimizer": self.optimizer.tensors(),
            "critic_losses": {"told": self._told},
        }

    def restore(self, tensors: Mapping[str, dict[str, Tensor]]) -> None:
        """See Companion."""
        self.optimizer.restore(tensors["critic_optimizer"])

    def looked(self) -> dict[str, float]:
        """Its loss before and after the updates of a step, on the same draws: one that lags has much more before."""
        before, after = self._told.tolist()
        return {"critic_before": before, "critic_after": after}


@final
class Target(Companion):
    """An average of the network that is trained, which is asked and never sampled."""

    def __init__(self, network: Transformer, decay: float, loop: LoopParams, team: Team) -> None:
        """``network`` is the one that is to be trained, before it is placed."""
        self._average = Average(network, decay)
        sharding.place(self._average.network, loop.compute.model_copy(update={"recompute": False}), team)

    @property
    def network(self) -> Transformer:
        """What is asked."""
        return self._average.network

    def follow(self, network: Transformer, step: int) -> None:
        """See Companion."""
        self._average.follow(network, step)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """See Companion."""
        return {"target": self._average.network.state_dict()}


@final
class Warmth(Companion):
    """How much the derivative of a flow map counts at a step."""

    def __init__(self, steps: int) -> None:
        """It counts in full after ``steps``."""
        self._steps, self._step = steps, 0

    def __call__(self) -> float:
        """The weight now, from 0 to 1."""
        return flow_map.warmed(self._step, self._steps)

    def lead(self, batch: Batch, step: int) -> None:  # noqa: ARG002 (a step's number is all that counts)
        """See Companion."""
        self._step = step

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """See Companion: nothing, the step says it all."""
        return {}


def lagging(told: Mapping[str, float]) -> str | None:
    """What is to be done about a critic that runs behind, from what it told; None where it does not."""
    before, after = told.get("critic_before"), told.get("critic_after")
    if before is None or after is None or before < LAGGING * after:
        return None
    return (
        f"the critic lags: its loss is {before:.3g} before its updates of a step and {after:.3g} after them, so the "
        "student is led by what it made some steps ago; raise critic.updates, or lower the student's rate"
    )
