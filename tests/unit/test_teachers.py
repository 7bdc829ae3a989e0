import json
import shutil

import pytest
import torch

from frostline import codec, models, students, teachers, transformer
from frostline.errors import Refused, WrongUse
from frostline.wan import families, fetching, pins
from tests import tiny
from tests.golden.wan import small
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
    students.require_teacher(teacher, space)
    student, _ = students.begun(teacher, tiny.student_params(layers=[1]))
    text, noised = torch.zeros(1, 3, folders.EMBEDDING), torch.zeros(1, 16, 1, 4, 4)
    assert transformer.velocity_fn(student, text, process)(noised, torch.ones(1)).shape == noised.shape


def test_a_teacher_of_another_base_or_a_changed_one_is_refused(tmp_path, tiny_base, single):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    teacher = teachers.load(tmp_path / "base")
    with pytest.raises(Refused, match="vae_digest"):
        students.require_teacher(teacher, codec.latent_space(tiny_base))
    (tmp_path / "base" / "transformer" / "config.json").write_text("{}")
    with pytest.raises(Refused, match=r"transformer/config\.json: has the digest"):
        teachers.load(tmp_path / "base")


def test_two_experts_are_one_teacher_each_with_its_guidance(tmp_path, tiny_base, family):
    pinned = fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    teacher = teachers.load(tmp_path / "base")
    process, sampled = teacher.sampled()
    assert (process.expert_boundary, process.shift) == (0.875, 12.0)
    assert (sampled.scales, sampled.guidance_form) == ((4.0, 3.0), "external")
    low = teacher.second(2.5)
    assert low is not None
    assert (low.network, low.guidance, low.boundary) == (teacher.low, 2.5, 0.875)
    for network, seed in ((teacher.transformer, 1), (low.network, 2)):
        expected = folders.in_diffusers("transformer", small.native("transformer", folders.transformer_config(), seed))
        assert folders.same_bits(dict(network.state_dict()), expected)
    counted = transformer.parameters(teacher.transformer)["all"]
    assert teacher.training.parameters == {"total": 2 * counted}
    changed = {name: "0" if name.startswith("transformer_2/") else digest for name, digest in pinned.files.items()}
    other = teachers.published(pinned.model_copy(update={"files": changed}), 0)
    assert teacher.training.weights_digest not in ("", other.weights_digest), "both experts make up the weights"


def test_a_boundary_of_the_folder_s_own_is_the_contract_s(tmp_path, tiny_base, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "first")
    index = tmp_path / "first" / "model_index.json"
    (tmp_path / "first" / pins.FILE).unlink()
    index.write_text(json.dumps({**json.loads(index.read_text()), "boundary_ratio": 0.7}))
    fetching.fetch(str(tmp_path / "first"), tmp_path / "second")
    assert teachers.load(tmp_path / "second").sampled()[0].expert_boundary == 0.7


def repinned(folder, change):
    """A fetched folder of which something was changed, and the pins with it."""
    made = pins.load(folder)
    change(folder)
    (folder / pins.FILE).unlink()
    pins.save(folder, source=made.source, revision=made.revision, family=made.family, boundary=made.expert_boundary)


def without_boundary(folder):
    meaning = json.loads((folder / "contract.json").read_text())
    meaning["process"]["expert_boundary"] = None
    del meaning["sampling"]["guidance_low"]
    (folder / "contract.json").write_text(json.dumps(meaning))


def without_sampling(folder):
    meaning = json.loads((folder / "contract.json").read_text())
    (folder / "contract.json").write_text(json.dumps({**meaning, "sampling": None}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_boundary, r"two experts, and process\.expert_boundary in .*contract\.json is missing.*fetch it again"),
        (
            lambda folder: shutil.rmtree(folder / "transformer_2"),
            r"from sigma 0\.875 on, and .*transformer_2 is missing",
        ),
        (lambda folder: shutil.rmtree(folder / "transformer"), "holds no transformer"),
        (without_sampling, "no process or sampling part.*two experts have one.*fetch them again"),
    ],
)
def test_an_expert_without_what_belongs_to_it_is_refused(tmp_path, tiny_base, family, change, says):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "base")
    repinned(tmp_path / "base", change)
    with pytest.raises(Refused, match=says):
        teachers.load(tmp_path / "base").sampled()


def test_experts_that_were_swapped_are_refused(tmp_path, tiny_base, family):
    base = tmp_path / "base"
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), base)
    for old, new in (("transformer", "aside"), ("transformer_2", "transformer"), ("aside", "transformer_2")):
        (base / old).rename(base / new)
    with pytest.raises(Refused, match=r"holds the low-noise expert.*swap them back"):
        teachers.load(base)


def test_a_pipeline_folder_that_was_not_fetched_is_told_how_to_become_a_model(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(WrongUse, match=f"`frostline fetch {tmp_path} NEW_FOLDER`"):
        teachers.load(tmp_path)


def test_a_model_of_no_family_does_not_say_how_it_is_sampled(tmp_path, tiny_base):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    with pytest.raises(Refused, match="how to sample it is unknown"):
        teachers.load(tmp_path / "base").sampled()


def test_a_model_that_was_replaced_since_it_was_loaded_is_refused(make_model, tmp_path):
    loaded = teachers.load(make_model(tmp_path / "one"))
    teachers.require_same(loaded)
    shutil.copytree(make_model(tmp_path / "other", seed=1), tmp_path / "one", dirs_exist_ok=True)
    with pytest.raises(Refused, match="its weights were replaced while they were in use"):
        teachers.require_same(loaded)
