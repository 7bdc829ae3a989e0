"""`frostline estimate`, as it is typed."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The project with nothing made in it."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_names_what_is_missing(frostline):
    code, out, err = frostline("estimate")
    assert (code, out) == (2, "")
    assert err.startswith(
        "error: rows of source digits: neither data/manifest/digits/manifest.json nor data/latents.json"
    )


def test_it_tells_every_stage_with_formulas(frostline):
    code, out, err = frostline("estimate", "--rows", 1000, "--device", "cpu")
    assert (code, err) == (0, "")
    assert "cache@digits: 1,000 rows by --rows" in out
    assert "= 4 × 593,232: float32 masters" in out
    assert "no peak is known of a CPU" in out
    assert "hours" not in out.split("train@teacher")[1]
    plain = frostline("estimate", "--rows", 1000, "--device", "cpu", "--no-formulas")[1]
    assert "float32 masters" not in plain
    assert [line.split("=")[0].rstrip() for line in out.splitlines()[3:]] == plain.splitlines()[3:]


def test_numbers_come_as_json_and_money_follows_the_price(frostline):
    args = ["estimate", "--rows", 1000, "--device", "cuda", "--peak-tflops", 100, "--utilisation", 0.5, "--json"]
    free = json.loads(frostline(*args)[1])["stages"]["train@teacher"]["figures"]
    paid = json.loads(frostline(*args, "--price-per-hour", 3)[1])["stages"]["train@teacher"]["figures"]
    assert "money" not in free
    seconds = paid["all steps"]["value"] / (100e12 * 0.5) + paid["Muon, all steps"]["value"] / (67e12 * 0.5)
    assert paid["device hours"]["value"] == pytest.approx(seconds / 3600)
    assert paid["money"]["value"] == pytest.approx(3 * seconds / 3600)


def test_a_published_model_needs_no_folder(frostline, project):
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["base"] = values["students"]["guided"]["teacher"] = "bases/14b"
    values["train"]["runs"] = {}
    del values["students"]["fast"], values["trajectories"]["teacher"]
    values["students"]["guided"]["buckets"] = {"81x480x832": {"share": 1.0, "batch": 1}}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    code, out, err = frostline("estimate", "--rows", 100, "--device", "cuda", "--family", "wan2.1-t2v-14b")
    assert (code, err) == (0, "")
    assert "14,288,491,584" in out
    code, _, err = frostline("estimate", "--rows", 100, "--family", "wan3")
    assert code == 2
    assert "--family wan3: known are wan2.1-t2v-1.3b" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--utilisation", 0), ("--utilisation", 1.5), ("--peak-tflops", -1), ("--price-per-hour", -2), ("--rows", 0)],
)
def test_numbers_that_cannot_be_are_refused(frostline, option, value):
    code, out, err = frostline("estimate", "--rows", 100, option, value)
    assert (code, out) == (2, "")
    assert f"{option} {value}" in err
