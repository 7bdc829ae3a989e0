import pytest
import torch

from frostline import codec, models, teachers, trainings, transformer
from frostline.errors import Refused
from frostline.wan import families, fetching
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["family"]


@pytest.fixture
def single(monkeypatch, family):
    """The small model with one expert counts as published."""
    made = family.model_copy(update={"expert_boundary": None, "guidance": (5.0,)})
    monkeypatch.setattr(families, "FAMILIES", (made,))
    return made


def test_a_model_made_here_is_a_teacher(tiny_model):
    assert teachers.load(tiny_model).contract == models.load(tiny_model).contract


def test_a_fetched_model_is_a_teacher_that_is_sampled_as_published(tmp_path, tiny_base, single):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    teacher = teachers.load(tmp_path / "base")
    process, sampled = teacher.sampled()
    assert (process.shift, process.patch_size, process.expert_boundary) == (12.0, (1, 2, 2), None)
    assert (sampled.sampler, sampled.steps, sampled.guidance, sampled.guidance_form) == ("unipc", 40, 5.0, "external")
    assert teacher.training.stage == "published"
    space = codec.latent_space(tmp_path / "base", stored_dtype="float32")
    trainings.require_teacher(teacher, space)
    student, _ = transformer.from_layers(teacher.transformer, [1])
    text, noised = torch.zeros(1, 3, folders.EMBEDDING), torch.zeros(1, 16, 1, 4, 4)
    assert transformer.velocity_fn(student, text, process)(noised, torch.ones(1)).shape == noised.shape


def test_a_teacher_of_another_base_or_a_changed_one_is_refused(tmp_path, tiny_base, single):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    teacher = teachers.load(tmp_path / "base")
    with pytest.raises(Refused, match="vae_digest"):
        trainings.require_teacher(teacher, codec.latent_space(tiny_base))
    (tmp_path / "base" / "transformer" / "config.json").write_text("{}")
    with pytest.raises(Refused, match=r"transformer/config\.json: has the digest"):
        teachers.load(tmp_path / "base")


def test_two_experts_are_no_single_teacher(tmp_path, tiny_base, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    with pytest.raises(Refused, match="two experts, each with its own guidance"):
        teachers.load(tmp_path / "base")


def test_a_model_of_no_family_does_not_say_how_it_is_sampled(tmp_path, tiny_base):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    with pytest.raises(Refused, match="how to sample it is unknown"):
        teachers.load(tmp_path / "base").sampled()
