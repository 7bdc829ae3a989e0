"""`frostline doctor` and `frostline explain`, as they are typed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchmarks.parts import truth
from frostline import models
from tests import html_reader, tiny

Run = Callable[..., tuple[int, str, str]]
CODE = """
from benchmarks.parts import truth

def predictor():
    return truth.network(truth.PARAMETRISATIONS[{number}])

def crashing():
    def ask(latents, timestep, text):
        raise RuntimeError("out of tune")
    return ask

def nothing():
    return 3
"""


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    """Latents of the mixture in closed form, as a file."""
    known = truth.rows(64)
    assert known.text is not None
    assert known.null is not None
    tensors = {"latents": known.clean, "raw": known.raw, "text": known.text, "null": known.null}
    safetensors.torch.save_file(tensors, tmp_path / "latents.safetensors")
    return tmp_path / "latents.safetensors"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """Writes a user's module into the current folder, and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(number: int) -> str:
        name = f"own_network_{number}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(CODE.format(number=number))
        return name

    return write


def test_a_network_of_ones_own_is_told_what_it_predicts(frostline: Run, latents: Path, code: Callable[[int], str]):
    target = f"{code(5)}:predictor"
    status, out, _ = frostline("doctor", target, "--latents", latents)
    assert f"{target}: runs your code" in out
    assert "it predicts epsilon on the straight path, told 1000 sigma" in out
    assert "no cause was found" in out
    assert "not judged, no teacher was given: --teacher: D01 teacher-input" in out
    assert status == 0


def test_findings_as_json(frostline: Run, latents: Path, code: Callable[[int], str]):
    status, out, _ = frostline("doctor", f"{code(0)}:predictor", "--latents", latents, "--json")
    found = json.loads(out)
    assert (status, found["passed"], found["cause"]) == (0, True, None)
    assert found["predicts"]["reading"].startswith("velocity on the straight path")
    assert found["predicts"]["margin"] > 1.1
    assert {finding["id"] for finding in found["findings"]} == {f"D{n:02}" for n in range(1, 37)}


def test_code_that_crashes_fails_and_is_no_finding_about_the_network(
    frostline: Run, latents: Path, code: Callable[[int], str]
):
    status, out, _ = frostline("doctor", f"{code(0)}:crashing", "--latents", latents)
    assert status == 1
    assert "FAIL D36" in out
    assert "RuntimeError: out of tune" in out
    assert "the doctor itself failed at D36" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["no_such_module:f"], "No module named 'no_such_module'"),
        (["json:no_such_function"], "json has no no_such_function"),
        (["models", "--quick", "--deep"], "ask for one of the two"),
        (["a", "--html", "page.pdf"], "name a .html file"),
        (["json:loads", "--media", "."], "name the folder of the VAE with --base"),
        (["json:loads", "--base", "."], "holds no vae/config.json"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    frostline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json_code.py").write_text("def network():\n    return lambda x, t, c: x\n")
    words = [word.replace("json:loads", "json_code:network") for word in words]
    status, _, err = frostline("doctor", *words)
    assert status == 2
    assert said in err


def test_what_is_no_network_is_refused(frostline: Run, code: Callable[[int], str]):
    status, _, err = frostline("doctor", f"{code(0)}:nothing")
    assert status == 2
    assert "returned int; return a callable" in err


def test_a_cache_alone_is_examined(frostline: Run, tmp_path: Path):
    tiny.cache(tmp_path / "tiny")
    status, out, _ = frostline("doctor", tmp_path / "tiny")
    assert status == 0
    assert "ok   D22 held-out-split" in out
    assert "not judged, no network was given" in out


def test_two_caches_at_once_are_refused(frostline: Run, tmp_path: Path):
    for name in ("one", "two"):
        tiny.cache(tmp_path / name / "tiny")
    status, _, err = frostline("doctor", tmp_path / "one", tmp_path / "two")
    assert status == 2
    assert "name one cache at a time" in err


def test_a_model_without_latents_is_judged_by_its_files(frostline: Run, tmp_path: Path, tiny_model: Path):
    place = shutil.copytree(tiny_model, tmp_path / "model")
    status, out, _ = frostline("doctor", place, "--json")
    found = {finding["id"]: finding for finding in json.loads(out)["findings"]}
    assert found["D14"]["verdict"] == "pass"
    assert found["D36"]["verdict"] == "not-applicable"
    assert found["D36"]["reason"] == "no latents were given: --latents"
    assert status == 0


def test_weights_that_lack_a_tensor_are_the_cause(frostline: Run, tmp_path: Path, tiny_model: Path):
    place = shutil.copytree(tiny_model, tmp_path / "model")
    tensors = safetensors.torch.load_file(place / models.WEIGHTS)
    del tensors["blocks.0.attn1.to_q.weight"]
    safetensors.torch.save_file(tensors, place / models.WEIGHTS)
    status, out, _ = frostline("doctor", place)
    assert status == 1
    assert "the most probable cause is D14 load-audit: missing is 1, wanted == 0; missing: blocks.0.attn1.to_q" in out
    assert "Load with strict names" in out


def test_a_diffusers_folder_and_a_bare_file_are_targets(frostline: Run, tmp_path: Path, tiny_model: Path):
    bare = shutil.copytree(tiny_model / "transformer", tmp_path / "transformer")
    for target in (bare, bare / "diffusion_pytorch_model.safetensors"):
        status, out, _ = frostline("doctor", target, "--json")
        found = {finding["id"]: finding["verdict"] for finding in json.loads(out)["findings"]}
        assert (status, found["D14"], found["D26"]) == (0, "pass", "not-applicable")


def test_the_page_is_one_file_of_balanced_tags(
    frostline: Run, latents: Path, code: Callable[[int], str], tmp_path: Path
):
    status, _, _ = frostline("doctor", f"{code(0)}:predictor", "--latents", latents, "--html", tmp_path / "page.html")
    assert status == 0
    text = (tmp_path / "page.html").read_text()
    tags = html_reader.tags(text)
    assert not [name for name, _ in tags if name == "script"]
    assert not [
        attributes for name, attributes in tags if name == "img" and not str(attributes["src"]).startswith("data:")
    ]
    assert "Error by sigma" in text
    assert "What it predicts" in text


def test_every_check_is_explained(frostline: Run):
    status, out, _ = frostline("explain", "d21")
    assert status == 0
    assert out.startswith("D21 fresh-noise-gap: Does the loss hold on fresh noise?")
    assert "remedy" in out
    listed = frostline("explain")[1].splitlines()
    assert len(listed) == 36
    assert json.loads(frostline("explain", "D01", "--json")[1])["explains"]
    assert frostline("explain", "D99")[0] == 2


def test_the_doctor_needs_nothing_but_the_core(tmp_path: Path, latents: Path, code: Callable[[int], str]):
    """What the extra [pipeline] brings is not there."""
    absent = ["dvc", "prefect", "mlflow", "s3fs", "av", "scipy", "sklearn", "torchmetrics", "peft", "ruamel"]
    program = (
        "import sys\n"
        f"for name in {absent}: sys.modules[name] = None\n"
        f"sys.argv = ['frostline', 'doctor', '{code(0)}:predictor', '--latents', r'{latents}', '--json']\n"
        "from frostline.cli import main\nmain()\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["passed"]
    assert torch.tensor(found["seconds"]) >= 0
