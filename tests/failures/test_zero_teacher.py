"""The first post-mortem, rebuilt small: a teacher that sees zeros, a student of pure noise, a sampler of diffusion.

Each part is real: Wan transformers, a projection that was initialised with zeros and frozen, DDIM of diffusers. The
loss is perfect. The doctor is given the files, and must not stop at the sampler, which is wrong too.
"""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from benchmarks.parts import sick
from frostline import sampling
from frostline.doctor import examination, rows, subjects
from frostline.doctor.case import Given, Size
from frostline.doctor.examination import Examined
from frostline.doctor.subjects import Subject

STEPS = 60
OF = sick.data(3)


@functools.cache
def teacher() -> sick.Trained:
    """What the student should have learned from: never asked about anything but zeros."""
    return sick.train(OF, 3, 150)


def projected(weight: float) -> Subject:
    """The teacher behind a projection of its latents."""
    network = teacher().network

    @torch.inference_mode()
    def ask(given: torch.Tensor, told: torch.Tensor, text: torch.Tensor | None) -> torch.Tensor:
        return network(weight * given, told, text, return_dict=False)[0]

    return Subject(name="the teacher", ask=ask)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the zero teacher, with a loss close to nothing."""

    taught_by = teacher().network

    def step(network, _clean, noise, sigma, text, _number):
        with torch.no_grad():
            target = sick.ask(taught_by, 0 * noise, sigma, text)
        return (sick.ask(network, noise, sigma, text) - target).square().mean((1, 2, 3, 4))

    made = sick.train(OF, 4, STEPS, step)
    assert made.losses[-1] < 0.15 * made.losses[0]  # the loss was perfect
    meaning = sick.contract(sampling={"guidance": 1.0, "guidance_form": "folded"})
    model = sick.write_model(tmp_path_factory.mktemp("zero") / "student", made, meaning, objective="velocity_matching")
    DDIMScheduler().save_pretrained(model / "scheduler")
    return model


@pytest.fixture
def examined(tmp_path: Path) -> Callable[[Path, Subject], Examined]:
    """What the doctor finds of a student and its teacher."""

    def examine(model: Path, taught_by: Subject) -> Examined:
        with rows.opened(sick.write_latents(tmp_path / "latents.safetensors", OF)) as cache:
            given = Given(
                subject=subjects.open_(str(model)), teacher=taught_by, cache=cache, base=None, size=Size.of(deep=False)
            )
            return examination.examine(given, lambda _: None)

    return examine


def test_the_teacher_is_the_cause_and_the_sampler_a_second_one(student: Path, examined: Callable[..., Examined]):
    found = examined(student, projected(0.0))
    assert found.crashed == ()
    assert found.diagnosis.cause == "D01"
    assert "D02" in found.diagnosis.symptoms
    assert "D03" in found.diagnosis.others


def test_the_announced_cure_the_scheduler_is_no_cure(student: Path, examined: Callable[..., Examined], tmp_path: Path):
    """With the teacher's own flow scheduler in its place the samples stay noise, and the cause stays the cause."""
    mended = shutil.copytree(student, tmp_path / "mended")
    sampling.unipc_scheduler(solver_order=2, shift=1.0).save_pretrained(mended / "scheduler")
    found = examined(mended, projected(0.0))
    assert found.diagnosis.cause == "D01"
    assert "D03" not in found.diagnosis.others


def test_the_teacher_itself_is_healthy(student: Path, examined: Callable[..., Examined]):
    """Without the projection D01 passes; a student that learned from zeros explains nothing of it."""
    found = examined(student, projected(1.0))
    verdicts = {finding.id: finding.verdict for finding in found.findings if finding.id in ("D01", "D20")}
    assert verdicts == {"D01": "pass", "D20": "fail"}
