"""The second post-mortem, rebuilt small: a validation that resets the random state, a latent scale in training only, an
average that is validated and never saved. Freezing the VAE, which was announced as the cure, mends none of them.
"""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchmarks.parts import sick
from frostline import files, models
from frostline.doctor import examination, rows, subjects
from frostline.doctor.case import Given, Size
from frostline.doctor.examination import Examined

STEPS = 170
OF = sick.data(5)


def replaying() -> sick.Step:
    """Every step is the first one again: the same rows, noise and timesteps."""
    first: list[tuple[torch.Tensor, ...]] = []

    def step(network, clean, noise, sigma, text, number):
        if not first:
            first.append(tuple(tensor[:4] for tensor in (clean, noise, sigma, text)))
        clean, noise, sigma, text = first[0]
        return sick.flow_matching(network, clean, noise, sigma, text, number).repeat(8)

    return step


def examined(model: Path, latents: Path) -> Examined:
    with rows.opened(latents) as cache:
        given = Given(
            subject=subjects.open_(str(model)), teacher=None, cache=cache, base=None, size=Size.of(deep=False)
        )
        return examination.examine(given, lambda _: None)


def failed(found: Examined) -> set[str]:
    return {finding.id for finding in found.findings if finding.verdict == "fail"}


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sick.write_latents(tmp_path_factory.mktemp("latents") / "latents.safetensors", OF)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training with fresh noise."""
    return sick.write_model(tmp_path_factory.mktemp("healthy") / "model", sick.train(OF, 5, STEPS))


@pytest.fixture(scope="module")
def memorised() -> sick.Trained:
    """A training whose loss is perfect on the one batch it ever saw."""
    made = sick.train(OF, 5, STEPS, replaying())
    assert made.losses[-1] < 0.2 * made.losses[0]
    return made


def test_a_healthy_training_has_no_finding(healthy: Path, latents: Path):
    found = examined(healthy, latents)
    assert failed(found) == set()
    assert found.crashed == ()


def test_replayed_noise_is_the_cause_whatever_it_does_to_samples(
    tmp_path: Path, latents: Path, memorised: sick.Trained
):
    found = examined(sick.write_model(tmp_path / "model", memorised), latents)
    assert found.diagnosis.cause == "D21"
    assert {"D20"} <= set(found.diagnosis.symptoms)


def test_a_latent_scale_of_the_training_alone_is_found(tmp_path: Path, healthy: Path):
    """The network learned on latents times .18; those of the cache, which its samples are decoded as, are not."""
    scaled = safetensors.torch.load_file(sick.write_latents(tmp_path / "right.safetensors", OF))
    scaled["latents"] = scaled["latents"] / 0.18215
    safetensors.torch.save_file(scaled, tmp_path / "latents.safetensors")
    found = examined(healthy, tmp_path / "latents.safetensors")
    assert found.diagnosis.cause == "D08"


def test_an_average_that_was_validated_and_never_saved_is_found(tmp_path: Path, latents: Path, healthy: Path):
    model = shutil.copytree(healthy, tmp_path / "model")
    record = files.read_json(model / models.RECORD)
    files.write_json(model / models.RECORD, {**record, "weights_digest": "0" * 32})
    assert examined(model, latents).diagnosis.cause == "D23"


def test_all_three_are_named_and_not_one_alone(tmp_path: Path, memorised: sick.Trained):
    """What hid them from one another: whoever mended one found the samples as bad as before."""
    model = sick.write_model(tmp_path / "model", memorised)
    record = files.read_json(model / models.RECORD)
    files.write_json(model / models.RECORD, {**record, "weights_digest": "0" * 32})
    scaled = safetensors.torch.load_file(sick.write_latents(tmp_path / "right.safetensors", OF))
    scaled["latents"] = scaled["latents"] / 0.18215
    safetensors.torch.save_file(scaled, tmp_path / "latents.safetensors")
    found = examined(model, tmp_path / "latents.safetensors")
    named = {found.diagnosis.cause, *found.diagnosis.others}
    assert {"D08", "D23"} <= named
    assert "D21" in failed(found)
