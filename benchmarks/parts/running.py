"""Faults of a training that runs, planted in the real loop: at which step it is stopped, and what is said."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.parts import learnable_cache, small_project
from frostline import continuation, engine, path, randomness, records, trainings, transformer
from frostline.dataset import Batch, Dataset
from frostline.errors import FrostlineError
from frostline.job import Job
from frostline.objectives import flow_matching
from frostline.optimizer import Optimizer
from frostline.params.trainings import TrainParams

STEPS, SEED, KIND = 200, 31, "digits"
STOPPED = re.compile(r"step (\d+) fails a check")


class Case(NamedTuple):
    """One fault: the check that must stop the training, and what makes it of a healthy job, for as long as it runs."""

    name: str
    cause: str
    plant: Callable[[Job], contextlib.AbstractContextManager[Job]]


def cases() -> list[Case]:
    """All faults, in turn over the checks."""
    kinds: list[tuple[str, str, Any, tuple[Any, ...]]] = [
        ("random state set back every {} steps", "D21", _replayed, (1, 3, 20, 90)),
        ("updates of {} that weights swallow", "D25", _swallowed, (1e-9, 1e-10, 1e-12, 0.0)),
        ("{} tensors of a VAE in the optimiser", "D10", _foreign, (1, 2, 10, 100)),
        ("frozen weights that shrink by {}", "D10", _frozen_moves, (1e-6, 1e-4, 1e-2, 0.5)),
        ("a head that starts at {}", "D18", _loud, (1e-6, 1e-3, 0.1, 1.0)),
        ("a context noised by {}", "D29", _noised_context, (1e-4, 0.01, 0.3, 1.0)),
        ("a context told {} of sigma", "D29", _told_context, (1e-3, 0.1, 0.5, 1.0)),
        ("{} rows of zeros", "D35", _zero_rows, (1, 4, 40, 200)),
    ]
    return [
        Case(name.format(variants[turn]), cause, plant(variants[turn]))
        for turn in range(4)
        for name, cause, plant, variants in kinds
    ]


def stopped(case: Case, folder: Path) -> tuple[int | None, str]:
    """The step at which the training is stopped, None if it is not within STEPS; and what is said."""
    place = folder / re.sub(r"\W+", "-", case.name)
    learnable_cache.make(place, KIND, SEED)
    healthy = job(place, continues=case.cause == "D29")
    with case.plant(healthy) as sick_job:
        try:
            engine.run(sick_job)
        except FrostlineError as error:
            found = STOPPED.search(str(error))
            return (int(found[1]) if found else None), str(error)
    return None, ""


def job(place: Path, *, continues: bool = False) -> Job:
    """A healthy training of the cache in a folder."""
    clips = {small_project.CLIPS: {"share": 1.0, "batch": 8}}
    changed: dict[str, Any] = {"buckets": clips, "context": 1} if continues else {}
    values = {**small_project.run(SEED), "steps": STEPS, "validate_every": {"steps": STEPS}, **changed}
    params = records.parse(TrainParams, values, origin="running")
    data = Dataset(place / "data" / "latents.json", place / "data" / "latents")
    meaning = trainings.teacher_contract(params, data.space)
    return Job(
        name="train sick",
        network=transformer.create(params.model, data.space, seed=SEED),
        objective=flow_matching.objective(trainings.process_of(meaning)),
        dataset=data,
        params=params,
        contract=meaning,
        identity={},
        work=place / "work",
    )


def _with(job: Job, **changed: Any) -> Job:
    return Job(**{**{name: getattr(job, name) for name in job.__dataclass_fields__}, **changed})


def _replayed(every: int) -> Any:
    """Rows, noise and sigmas of a step are those of so many steps ago."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        read, rows, generator = engine.loading.read, randomness.normal_rows, randomness.generator

        def again(batches: Any, first: int, end: int, **given: Any) -> Iterator[Batch]:
            for step in range(first, end):
                with contextlib.closing(read(batches, step % every, step % every + 1, **given)) as found:
                    yield next(found)

        def of_step(made: Callable[..., Any]) -> Callable[..., Any]:
            def keyed(*key: Any) -> Any:
                old = key[-1] in ("noise", "sigma")
                return made(*key[:-2], key[-2] % every, key[-1]) if old else made(*key)

            return keyed

        with (
            mock.patch.object(engine.loading, "read", again),
            mock.patch.object(randomness, "normal_rows", of_step(rows)),
            mock.patch.object(randomness, "generator", of_step(generator)),
        ):
            yield job

    return plant


def _swallowed(rate: float) -> Any:
    """Each step moves weights by so little that float32 rounds it away."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        step = Optimizer.step

        def small(self: Optimizer, number: int) -> None:
            before = [parameter.detach().clone() for parameter in self.parameters]
            step(self, number)
            with torch.no_grad():
                for parameter, old in zip(self.parameters, before, strict=True):
                    parameter.copy_(old + rate * (parameter - old).sign())

        with mock.patch.object(Optimizer, "step", small):
            yield job

    return plant


def _foreign(count: int) -> Any:
    """The optimiser holds weights of a VAE beside those of the network."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        begun = Optimizer.__init__

        def wider(self: Optimizer, *given: Any) -> None:
            begun(self, *given)
            others = [nn.Parameter(torch.ones(3, 3)) for _ in range(count)]
            for other in others:
                other.grad = torch.zeros_like(other)
            self.parameters.extend(others)
            self.parts["adamw"][0].add_param_group({"params": others})

        with mock.patch.object(Optimizer, "__init__", wider):
            yield job

    return plant


def _frozen_moves(share: float) -> Any:
    """Weights that are not trained are decayed all the same."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        frozen = job.network.patch_embedding.weight.requires_grad_(False)
        step = Optimizer.step

        def decaying(self: Optimizer, number: int) -> None:
            step(self, number)
            with torch.no_grad():
                frozen.mul_(1 - share)

        with mock.patch.object(Optimizer, "step", decaying):
            yield job

    return plant


def _loud(size: float) -> Any:
    """An initialisation that ran after the head was made zero."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        nn.init.normal_(job.network.proj_out.weight, std=size)
        yield job

    return plant


def _noised_context(level: float) -> Any:
    """The training noises its context by so much; the sampler does not."""
    return _conditioned(lambda context, noise: path.noised(context, noise, _all(context, level)), told=0.0)


def _told_context(share: float) -> Any:
    """Tokens of the context are told so much of the sigma of the rest."""
    return _conditioned(lambda context, _: context, told=share)


def _conditioned(change: Callable[[Tensor, Tensor], Tensor], *, told: float) -> Any:
    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        def losses(network: nn.Module, batch: Batch, noise: Tensor, sigma: Tensor) -> Tensor:
            context = continuation.of(batch.clean, job.process)
            given = path.noised(batch.clean, noise, sigma)
            frames = 0 if context is None else context.shape[2]
            if context is not None:
                given = continuation.held(given, change(context, noise[:, :, :frames]))
            at = (1000 * sigma).float()
            each = continuation.timesteps(at, told * at, given.shape, frames, job.process.patch_size)
            said = network(given, each, batch.text, return_dict=False)[0]
            error = (said - path.velocity(batch.clean, noise))[:, :, frames:]
            return error.square().flatten(1).mean(1)

        yield _with(job, objective=losses)

    return plant


def _all(rows: Tensor, level: float) -> Tensor:
    return torch.full((len(rows),), level, dtype=torch.float64)


def _zero_rows(count: int) -> Any:
    """A loader that swallowed errors left so many rows of zeros in the cache."""

    @contextlib.contextmanager
    def plant(job: Job) -> Iterator[Job]:
        data = job.dataset
        wrong = set(data.rows(small_project.PICTURES, "train")[:count].tolist())

        def broken(given: Batch) -> Batch:
            gone = torch.tensor([row in wrong for row in given.rows]).view(-1, 1, 1, 1, 1)
            return Batch(
                rows=given.rows,
                clean=torch.where(gone, torch.zeros_like(given.clean), given.clean),
                text=given.text,
                dropped=given.dropped,
            )

        read = engine.loading.read

        def all_read(*given: Any, **named: Any) -> Iterator[Batch]:
            with contextlib.closing(read(*given, **named)) as found:
                yield from map(broken, found)

        with mock.patch.object(engine.loading, "read", all_read):
            yield job

    return plant
