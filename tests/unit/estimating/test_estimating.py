"""Whole estimates: the project as it stands, and published models without a weight."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline import estimating, files, records
from frostline.errors import WrongUse
from frostline.estimating import bases, machines
from frostline.estimating.rows import Rows
from frostline.params import Params
from frostline.wan import families

ROOT = Path(__file__).parents[3]
ROWS = {"digits": Rows(source="digits", buckets={(1, 32, 32): 100, (5, 32, 32): 50}, prompts=0, origin="a test")}
PUBLISHED = {
    "wan2.1-t2v-1.3b": 1_418_996_800,
    "wan2.1-t2v-14b": 14_288_491_584,
    "wan2.1-i2v-14b": 16_394_878_784,
    "wan2.2-t2v-a14b": 2 * 14_288_491_584,
    "wan2.2-i2v-a14b": 2 * 14_288_901_184,
    "wan2.2-ti2v-5b": 4_999_787_712,
}


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def settings(**changed: Any) -> Params:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    return records.parse(Params, {**values, **changed}, origin="a test")


def of_a_family(family: families.Family, frames: int = 81, **compute: Any) -> Params:
    """A student of a published model at its own size, and no training."""
    height, width = family.sizes[0]
    student = settings().student("guided").model_dump(mode="json", exclude={"validate_every": {"epochs"}})
    student |= {
        "teacher": "bases/published",
        "layers": list(range(0, family.transformer.layers, 2)),
        "buckets": {f"{frames}x{height}x{width}": {"share": 1.0, "batch": 8}},
        "compute": {"dtype": "auto", "accumulate": 1, "recompute": True, "compile": False, **compute},
    }
    launch = {"device": "cuda", "nodes": 1, "gpus_per_node": 8, "rendezvous": None}
    train = {"launch": launch, "runs": {}}
    return settings(base="bases/published", train=train, trajectories={}, students={"half": student})


def machine(of: Params, **changed: Any) -> machines.Machine:
    launch = of.train.launch
    given = {"bfloat16": None, "float32": None, "utilisation": None, "price": None, **changed}
    return machines.of_params(launch, "cuda" if launch.device == "cuda" else "cpu", **given)


def test_the_project_as_it_stands():
    of = settings()
    found = {stage.name: stage for stage in estimating.estimate(of, machine(of), ROWS).stages}
    students = ["trajectories@teacher", "distill@guided", "distill@fast"]
    assert list(found) == ["cache@digits", "train@teacher", *students]
    teacher, student = found["train@teacher"], found["distill@guided"]
    assert teacher.value("parameters") == student.value("parameters of the teacher") == 593_232
    assert teacher.value("weights") == 4 * 593_232
    assert student.value("parameters") < teacher.value("parameters")
    fast, width = found["distill@fast"], 64
    assert fast.value("parameters") == teacher.value("parameters") + width * (256 + width + 2)  # what embeds an end
    assert "parameters of the teacher" not in {figure.name for figure in fast.figures}  # nobody asks it any more
    followed, params = found["trajectories@teacher"], of.trajectories["teacher"]
    rows = {bucket: count + params.validation for bucket, count in params.rows.items()}
    latents = {"1x32x32": 1, "5x32x32": 2, "9x32x32": 3}
    size = sum(rows[bucket] * frames * 16 * 4 * 4 * 2 for bucket, frames in latents.items())
    assert followed.value("bytes written") == (params.points + 1) * size
    assert found["cache@digits"].value("latents 5x32x32 on disk") == 50 * 16 * 2 * 4 * 4 * 2
    frozen = json.loads((ROOT / "assets/miniature/foundation.json").read_text())
    assert found["cache@digits"].value("parameters of the VAE") == 698_252, frozen
    assert not any(figure.unit in ("hours", "money") for stage in found.values() for figure in stage.figures)


def tuned(of: Params, start: str) -> dict[str, Any]:
    """A training that goes on from a model, with all else of the project's own."""
    run = of.run("teacher").model_dump(mode="json", exclude={"model": True, "validate_every": {"epochs"}})
    return run | {"start": start}


def test_what_goes_on_from_a_model_has_its_network_however_far_back_it_began():
    plain = settings()
    of = settings(tuned={"warm": tuned(plain, "models/teacher"), "warmer": tuned(plain, "models/warm")})
    found = {stage.name: stage for stage in estimating.estimate(of, machine(of), ROWS).stages}
    assert list(found)[:4] == ["cache@digits", "train@teacher", "tune@warm", "tune@warmer"]
    for name in ("tune@warm", "tune@warmer"):
        assert found[name].figures == found["train@teacher"].figures


@pytest.mark.parametrize("start", ["models/absent", "models/warmer"])
def test_what_begins_with_nothing_that_is_known_is_named(start):
    of = settings(tuned={"warm": tuned(settings(), start), "warmer": tuned(settings(), "models/warm")})
    with pytest.raises(WrongUse, match=r"models/\w+, which a stage begins with"):
        estimating.estimate(of, machine(of), ROWS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_without_its_weights(name):
    family = bases.family(name)
    of = of_a_family(family)
    [student] = estimating.estimate(of, machine(of, price=2.0), {}, family=family).stages
    assert student.value("parameters of the teacher") == PUBLISHED[name]
    assert student.value("teacher") == 4 * PUBLISHED[name] / 8
    assert student.value("average") == 4 * student.value("parameters") / 8
    assert student.value("money") == pytest.approx(2 * student.value("device hours"))
    assert student.value("hours") == pytest.approx(student.value("device hours") / 8)
    bucket = next(iter(of.students["half"].buckets))
    kept, again = (student.value(f"activations {bucket} {way}") for way in ("kept", "recomputed"))
    assert again < 0.2 * kept
    assert student.value("memory per device") > again
    [step] = [figure for figure in student.figures if figure.name.startswith("a step")]
    assert (" + 2 × 2 × " in step.formula) == (family.experts == 2)
    assert any("two experts" in note for note in student.notes) == (family.experts == 2)
    assert any("sees images" in note for note in student.notes) == (not family.trained)


def test_a_folder_of_configurations_is_a_base(tmp_path):
    family = families.FAMILIES[0]
    files.write_json(tmp_path / "vae" / "config.json", {"_class_name": "AutoencoderKLWan", **family.vae.config()})
    files.write_json(tmp_path / "text_encoder" / "config.json", {**family.text_encoder.config(), "dtype": "bfloat16"})
    files.write_json(tmp_path / "transformer" / "config.json", family.transformer.config())
    of = of_a_family(family)
    here = of.model_copy(
        update={
            "base": str(tmp_path),
            "students": {"half": of.students["half"].model_copy(update={"teacher": str(tmp_path)})},
        }
    )
    by_folder, by_name = (
        estimating.estimate(here, machine(of), {}),
        estimating.estimate(of, machine(of), {}, family=family),
    )
    numbers = [[(f.name, f.value) for stage in one.stages for f in stage.figures] for one in (by_folder, by_name)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "bases/none"}, r"bases/none/vae/config\.json: missing.*--family.*wan2\.2-ti2v-5b"),
        (
            {"students": {"guided": {"teacher": "bases/none"}}},
            r"bases/none, which a stage begins with: neither.*teacher",
        ),
        ({"students": {"guided": {"layers": [0, 9]}}}, r"layers \[0, 9\]: the teacher has layers 0 to 7"),
        ({"train": {"runs": {"teacher": {"compute": {"accumulate": 5}}}}}, r"batch is 48: 1 processes.*multiple of 5"),
        ({"train": {"runs": {"teacher": {"compute": {"dtype": "bfloat16"}}}}}, "bfloat16 for one process on a CPU"),
        ({"train": {"runs": {"teacher": {"model": {"patch_size": [2, 3, 1]}}}}}, "do not divide into patches"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change, message):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    of = records.parse(Params, laid(values, change), origin="a test")
    with pytest.raises(WrongUse, match=message):
        estimating.estimate(of, machine(of), ROWS)


def test_a_bucket_of_tokens_takes_what_one_of_its_rows_takes():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    counted = {"5x32x32": {"share": 1.0, "tokens": 800}}  # of 32 each
    said = {"5x32x32": {"share": 1.0, "batch": 25}}
    found = []
    for buckets in (counted, said):
        values["train"]["runs"]["teacher"]["buckets"] = buckets
        of = records.parse(Params, values, origin="a test")
        found.append(estimating.estimate(of, machine(of), ROWS))
    assert found[0] == found[1]
    values["train"]["runs"]["teacher"]["buckets"] = {"5x32x32": {"share": 1.0, "tokens": 31}}
    of = records.parse(Params, values, origin="a test")
    with pytest.raises(WrongUse, match=r"buckets.5x32x32.tokens is 31: a row has 32 tokens"):
        estimating.estimate(of, machine(of), ROWS)


def laid(values: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    return {**values, **{key: laid(values[key], value) for key, value in change.items()}}
