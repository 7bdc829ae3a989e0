"""params.yaml as a whole: what is wrong in it is named, by file, key and value."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from frostline import contract, params, records
from frostline.errors import WrongUse
from frostline.params.trainings import Every

DEFAULT = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def values():
    return copy.deepcopy(yaml.safe_load(DEFAULT.read_text()))


def refusal(tmp_path, values):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(WrongUse) as caught:
        params.load(tmp_path / "params.yaml")
    return str(caught.value)


def test_the_project_s_own_params_load():
    loaded = params.load(DEFAULT)
    assert loaded.run("teacher").vae_loss_weight == 0.0
    assert loaded.student("guided").teacher == "models/teacher"


def test_an_unknown_key_is_named(tmp_path, values):
    values["train"]["runs"]["teacher"]["optimizer"]["muon_rat"] = 0.1
    said = refusal(tmp_path, values)
    assert "unknown key 'train.runs.teacher.optimizer.muon_rat'" in said
    assert "params.yaml" in said


def test_a_missing_key_is_named(tmp_path, values):
    del values["students"]["guided"]["guidance"]
    assert "missing key 'students.guided.guidance'" in refusal(tmp_path, values)


@pytest.mark.parametrize("wrong", ["1000", 1000.5, True, -3, None])
def test_a_mistyped_key_is_named_with_its_value(tmp_path, values, wrong):
    values["train"]["runs"]["teacher"]["steps"] = wrong
    said = refusal(tmp_path, values)
    assert "key 'train.runs.teacher.steps'" in said
    assert repr(wrong) in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"guidance_interval": [0.9, 0.1]}, "holds no sigma"),
        ({"sampling": {"sampler": "unipc", "steps": 20, "shift": 3.0, "guidance": 2.0}}, "guidance is folded in"),
        ({"buckets": {"1x32": {"share": 1.0, "batch": 2}}}, "1x32"),
    ],
)
def test_a_student_that_would_be_guided_wrongly_or_nowhere_is_refused(tmp_path, values, change, says):
    values["students"]["guided"].update(change)
    assert says in refusal(tmp_path, values)


def test_a_student_of_two_experts_names_two_guidances_and_where_it_starts(tmp_path, values):
    student = values["students"]["guided"]
    plain = params.load(DEFAULT).student("guided")
    assert (plain.scales, plain.start_expert) == ((2.0,), None)
    assert not {"start_expert", "offload_teacher"} & plain.model_dump(mode="json").keys()
    assert contract.digest(plain.model_copy(update={"offload_teacher": True})) != contract.digest(plain)
    student |= {"guidance": [4, 3.0], "start_expert": "low_noise"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    told = params.load(tmp_path / "params.yaml").student("guided")
    assert (told.scales, told.start_expert) == ((4.0, 3.0), "low_noise")
    for wrong in ([4.0], [4.0, 3.0, 2.0], [4.0, -1.0], "4"):
        student["guidance"] = wrong
        assert "key 'students.guided.guidance" in refusal(tmp_path, values)
    student |= {"guidance": [4.0, 3.0], "start_expert": "low"}
    assert "key 'students.guided.start_expert' has the value 'low'" in refusal(tmp_path, values)


def test_a_training_has_a_shape_and_one_that_goes_on_has_a_start(tmp_path, values):
    run = values["train"]["runs"]["teacher"]
    values["tuned"] = {
        "warm": {key: value for key, value in run.items() if key != "model"} | {"start": "models/teacher"}
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    loaded = params.load(tmp_path / "params.yaml")
    assert loaded.tuning("warm").start == "models/teacher"
    names = ["teacher", "warm", "fast", "guided"]  # students as the file written here has them
    for name in names:
        (tmp_path / "models" / name).mkdir(parents=True)
    assert [path.name for path in loaded.models(tmp_path / "models")] == names
    values["tuned"]["warm"]["model"] = run["model"]
    assert "unknown key 'tuned.warm.model'" in refusal(tmp_path, values)
    del values["tuned"]["warm"]["model"], values["tuned"]["warm"]["start"]
    assert "missing key 'tuned.warm.start'" in refusal(tmp_path, values)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("tuned.warm.start", {"tuned": {"warm": {"start": "models/warm"}}}),
        ("students.guided.teacher", {"students": {"guided": {"teacher": "./models/guided/"}}}),
    ],
)
def test_a_model_that_would_begin_at_itself_is_refused(tmp_path, values, key, change):
    run = values["train"]["runs"]["teacher"]
    values["tuned"] = {"warm": {name: value for name, value in run.items() if name != "model"} | {"start": "models/t"}}
    for section, entries in change.items():
        for name, entry in entries.items():
            values[section][name].update(entry)
    assert f"{key}: " in (said := refusal(tmp_path, values))
    assert "is the folder it makes; name another model" in said


def test_all_wrong_keys_are_named_at_once(tmp_path, values):
    values["cache"]["encode_batch"] = 0
    values["evaluate"]["sed"] = 1
    said = refusal(tmp_path, values)
    assert "cache.encode_batch" in said
    assert "evaluate.sed" in said


@pytest.mark.parametrize("section", [("train", "runs", "teacher"), ("students", "guided")])
@pytest.mark.parametrize("name", ["vae_loss_weight", "kl_loss_weight"])
def test_a_loss_on_the_frozen_vae_is_refused_with_the_reason(tmp_path, values, section, name):
    place = values
    for key in section:
        place = place[key]
    place[name] = 0.1
    said = refusal(tmp_path, values)
    for words in (".".join(section), f"{name} must be 0.0", "the VAE is frozen and its latents are cached"):
        assert words in said


def test_an_interval_is_in_steps_or_in_epochs():
    assert records.parse(Every, {"steps": 30}, origin="x").in_steps(7) == 30
    assert records.parse(Every, {"epochs": 3}, origin="x").in_steps(7) == 21
    for wrong in ({}, {"steps": 1, "epochs": 1}):
        with pytest.raises(WrongUse, match=r"x: its keys.*either steps or epochs"):
            records.parse(Every, wrong, origin="x")
    with pytest.raises(WrongUse, match="steps"):
        records.parse(Every, {"steps": 0}, origin="x")


def test_frames_that_the_vae_would_cut_are_refused(tmp_path, values):
    values["sources"]["digits"]["draws"][1]["frames"] = 6
    said = refusal(tmp_path, values)
    assert "sources.digits.draws.1.frames" in said
    assert "5 or 9, not 6" in said


def test_what_guidance_steers_away_from_may_be_left_out_and_says_something_otherwise(tmp_path, values):
    assert params.load(DEFAULT).cache.negative_prompt is None
    values["cache"]["negative_prompt"] = " "
    assert "cache.negative_prompt" in refusal(tmp_path, values)
    values["cache"]["negative_prompt"] = "blurred"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    assert params.load(tmp_path / "params.yaml").cache.negative_prompt == "blurred"


def test_an_unknown_name_says_which_there_are():
    loaded = params.load(DEFAULT)
    for ask, has in ((loaded.source, "digits"), (loaded.run, "teacher"), (loaded.student, "guided")):
        with pytest.raises(WrongUse, match=has):
            ask("nobody")


def test_a_folder_of_an_older_run_is_not_taken_for_a_model(tmp_path):
    (tmp_path / "teacher").mkdir()
    loaded = params.load(DEFAULT)
    assert [path.name for path in loaded.models(tmp_path)] == ["teacher", "guided", "fast"]
    (tmp_path / "older").mkdir()
    with pytest.raises(WrongUse, match="older"):
        loaded.models(tmp_path)


@pytest.mark.parametrize(("text", "says"), [(None, "no such file"), ("a: [", "not YAML"), ("", "holds no sections")])
def test_a_file_that_holds_no_params_is_named(tmp_path, text, says):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(WrongUse, match=says):
        params.load(path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": "data/latents"}, r"trajectory_matching learns from one of \['data/trajectories/teacher'\]"),
        ({"data": "data/trajectories/other"}, "trajectory_matching learns from one of"),
        ({"buckets": {"1x64x64": {"share": 1.0, "batch": 4}}}, r"\['1x64x64'\] is in none of the rows"),
    ],
)
def test_a_student_learns_from_rows_that_are_made(tmp_path, values, changed, says):
    values["students"]["fast"] |= changed
    assert re.search(says, refusal(tmp_path, values))


def test_a_student_of_trajectories_needs_some(tmp_path, values):
    values["trajectories"] = {}
    assert "add NAME to `trajectories`" in refusal(tmp_path, values)
    values["students"]["guided"]["data"] = "data/trajectories/teacher"
    del values["students"]["fast"]
    assert "velocity_matching learns from one of ['data/latents']" in refusal(tmp_path, values)


def test_a_training_on_data_is_no_flow_map(tmp_path, values):
    values["train"]["runs"]["teacher"]["sampling"]["sampler"] = "flow_map"
    assert "a training on data makes a velocity: ask for unipc or euler" in refusal(tmp_path, values)
