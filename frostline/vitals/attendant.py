"""The one who looks at a training while it runs: it sees what each step is given, and asks a few questions beside it.

Nothing it does moves the training: what it draws is keyed by the step, and no gradient flows where it asks. It looks
at steps of fixed numbers, so a run that was stopped says the same in the end as one that was not.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from frostline import averages, continuation, randomness, transformer
from frostline.dataset import Batch
from frostline.errors import FrostlineError
from frostline.job import Job
from frostline.networks import Transformer
from frostline.optimizer import Optimizer
from frostline.params.trainings import StudentParams, TrainParams, TunedParams
from frostline.progress import Progress
from frostline.vitals import measures, words

EARLY, EVERY = frozenset({0, 1, 5, 20, 50, 100, 150, 199}), 500  # steps, from 0, at which it looks
SETTLED = 20  # step from which losses are compared and all weights move: before, some see no gradient yet
MOVING = 0.1  # share of the learning rate from which a step has to move weights
ERRORS = ("velocity_matching", "trajectory_matching")  # objectives of students whose loss is an error
QUESTION = 16  # numbers of an answer that processes tell one another

Call = tuple[tuple[Any, ...], Any]  # of a network: what it was given, what it answered


def looks(step: int) -> bool:
    """Whether this step is looked at."""
    return step in EARLY or step % EVERY == 0


class Attendant:
    """Looks at one training, as one of its processes sees it."""

    def __init__(self, job: Job, network: Transformer, optimizer: Optimizer, progress: Progress) -> None:
        self._job, self._network, self._optimizer, self._progress = job, network, optimizer, progress
        self._seen: set[tuple[float, ...]] = set()
        self._pending: list[tuple[tuple[int, ...], Tensor, Tensor]] = []  # draws that were not counted yet
        self._empty: Tensor | None = None
        self._draws = self._repeated = 0
        self._step = -1  # the step whose first part was seen
        self._found: dict[str, dict[str, float]] = {}
        self._before: tuple[list[Tensor], list[Tensor]] | None = None  # what moves, and what is frozen

    @property
    def job(self) -> Job:
        """The same training with an objective that is seen."""
        return dataclasses.replace(self._job, objective=self._objective)

    def _objective(self, network: nn.Module, batch: Batch, noise: Tensor, times: Tensor) -> Tensor:
        if network is not self._network or not network.training:  # a validation
            return self._job.objective(network, batch, noise, times)
        step, first = self._progress.step, self._progress.step != self._step
        self._step = step
        self._pending.append((batch.rows, times, noise.flatten(1)[:, : measures.OF_NOISE].detach().clone()))
        found = measures.empty(batch.clean)
        self._empty = found if self._empty is None else self._empty + found
        if not first or not looks(step):
            return self._job.objective(network, batch, noise, times)
        self._before = self._weights()
        calls: list[Call] = []
        hook = network.register_forward_hook(lambda _, given, said: calls.append((given, said)))
        try:
            losses = self._job.objective(network, batch, noise, times)
        finally:
            hook.remove()
        self._look(step, batch, noise, times, losses.detach(), calls)
        return losses

    def judge(self, step: int, *, moved: bool) -> None:
        """After step number ``step`` (from 0): raise FrostlineError, with the remedy, if what was seen fails a check.

        ``moved``: whether the step was taken.
        """
        if step // EVERY != (step - 1) // EVERY:
            self._seen, self._draws, self._repeated = set(), 0, 0
        self._count()
        if not looks(step) or self._before is None:
            return
        self._after(step, moved=moved)
        self._progress.checks.update(self._found)
        failed = [one for one in words.findings(self._found) if one.verdict == "fail"]
        self._found, self._before, self._empty = {}, None, None
        if failed:
            said = "; ".join(f"{one.id} {one.name}: {one.reason}. {one.remedy}" for one in failed)
            raise FrostlineError(f"{self._job.name}: step {step} fails a check, so it ends here. {said}")

    def _count(self) -> None:
        for rows, times, noise in self._pending:
            for one in measures.prints(rows, times, noise):
                self._draws += 1
                self._repeated += one in self._seen
                self._seen.add(one)
        self._pending.clear()

    def _weights(self) -> tuple[list[Tensor], list[Tensor]]:
        frozen = [tensor for tensor in self._network.parameters() if not tensor.requires_grad]
        return measures.sample(averages.moving(self._network).values()), measures.sample(frozen)

    @torch.no_grad()
    def _look(
        self,
        step: int,
        batch: Batch,
        noise: Tensor,
        times: Tensor,
        losses: Tensor,
        calls: list[Call],
    ) -> None:
        """Before the step moves anything."""
        given, said = calls[0] if calls else ((), None)  # an objective may ask a network by another door
        if step == 0 and said is not None:
            self._start(said[0])
        if step >= SETTLED and self._compares:
            fresh = randomness.normal_rows(list(batch.rows), batch.shape, self._job.params.seed, step, "attendant")
            again = self._job.objective(self._network, batch, fresh.to(noise), times)
            own = torch.stack([again.mean(), losses.mean()])
            self._found["D21"] = {"fresh_over_used": self._ratio(own)}
        if given and continuation.wanted(batch.shape[1], self._job.process):
            told = measures.conditioned(given[0], given[1], batch.clean, batch.text, noise, times, self._job.process)
            self._found["D29"] = told
        if self._job.team.world > 1:
            self._found["D24"] = {"answers_apart": self._apart(batch)}
            heard = self._all(noise.flatten()[: measures.OF_NOISE])
            self._found.setdefault("D21", {})["shared_noise"] = float((heard[:, 1:] == heard[:, :1]).all(0).sum())

    @property
    def _compares(self) -> bool:
        """Whether a loss is an error, so that one of fresh noise is like that of the step."""
        params = self._job.params
        return not isinstance(params, StudentParams) or params.objective in ERRORS

    def _start(self, said: Tensor) -> None:
        """What the first answer is to be: zeros of a new network, no change yet by an adapter."""
        params = self._job.params
        if isinstance(params, TrainParams):
            self._found["D18"] = {"first_answer": float(said.abs().max())}
        elif isinstance(params, TunedParams) and params.adapter is not None:
            self._found["D18"] = {"adapter_start": measures.adapter_start(averages.moving(self._network))}

    def _after(self, step: int, *, moved: bool) -> None:
        """After the step moved what it moves."""
        before, now = self._before or ([], []), self._weights()
        own = {id(parameter) for parameter in self._network.parameters()}
        foreign = sum(id(parameter) not in own for parameter in self._optimizer.parameters)
        self._found["D10"] = {
            "foreign_parameters": float(foreign),
            "frozen_moved": self._share(before[1], now[1]),
        }
        if moved and step >= SETTLED and self._optimizer.scale(step) >= MOVING:
            self._found["D25"] = {"changed_by_a_step": self._share(before[0], now[0])}
        self._found.setdefault("D21", {})["repeated_draws"] = self._repeated / max(1, self._draws)
        self._found["D35"] = {
            "empty_rows": 0.0 if self._empty is None else float(self._empty),
            "left_out": len(self._progress.skipped) / (step + 1),
        }

    def _share(self, before: list[Tensor], after: list[Tensor]) -> float:
        """The share of numbers that differ, of all processes' parts."""
        differing, count = self._all(measures.changed(before, after)).sum(1).tolist()
        return differing / count if count else 0.0

    def _ratio(self, pair: Tensor) -> float:
        """Of two sums over all processes, the first over the second."""
        one, other = self._all(pair).sum(1).tolist()
        return one / max(other, 1e-30)

    def _apart(self, batch: Batch) -> float:
        """How far the answers of the processes to one question are from one another, relative to the answer."""
        job, device = self._job, batch.clean.device
        noised = randomness.normal((1, *batch.shape), "attendant", "question").to(device)
        sigma = torch.full((1,), 0.5, dtype=torch.float64, device=device)
        text = job.dataset.null().to(device)
        said = transformer.velocity_fn(self._network, text, job.process)(noised, sigma).double().flatten()
        few = self._all(said[:: max(1, len(said) // QUESTION)][:QUESTION])
        scale = max(float(said.square().mean().sqrt()), 1e-12)
        return float((few - few[:, :1]).abs().max()) / scale

    def _all(self, numbers: Tensor) -> Tensor:
        """The numbers (n,) of every process: (n, world)."""
        told = numbers.detach().double().to(self._job.team.device)
        heard, _ = self._job.team.agreed(told, asked=False)
        return heard.reshape(len(told), -1).cpu()
