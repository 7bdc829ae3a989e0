"""The command line: what older users typed works, wrong use is exit 2, a refusal exit 1, nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import codec, generation, models, params
from frostline.cli import preset as commands
from frostline.wan import fetching
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["family"]

PROJECT = Path(__file__).resolve().parents[2]
SEVEN = "a handwritten digit seven"


def image(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_help_loads_nothing_heavy_and_takes_a_moment():
    code = (
        "import resource, sys; import frostline.cli as cli; sys.argv = ['frostline', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print({m.split('.')[0] for m in sys.modules} & {'torch', 'diffusers', 'transformers', 'mlflow', 'pyarrow'})\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    *_, heavy, seconds = done.stdout.splitlines()
    assert heavy == "set()"
    assert float(seconds) < 3.0  # .5 on a quiet machine
    assert "sample" in done.stdout


def test_an_older_line_works_as_it_stands(frostline, tmp_path, monkeypatch, make_model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(PROJECT / "assets")
    folded = {"guidance_form": "folded"}
    make_model(tmp_path / "models" / "guided", base=Path("assets/miniature"), sampling=folded)
    line = ["sample", "--model_path", "models/guided", "--teacher_path", "assets/miniature", "--prompt", SEVEN]
    line += ["--output_path", "result.png", "--num_inference_steps", "20", "--shift", "5.0"]
    code, out, err = frostline(*line)
    assert (code, err) == (0, "")
    assert "result.png: 1 frame(s) of 32x32, seed 0, 20 unipc steps at shift 5, guidance 2 folded in" in out
    assert image("result.png").shape == (32, 32, 3)


def test_sample_needs_no_setting_and_gives_the_librarys_pixels(frostline, tiny_model, tmp_path):
    code, out, _ = frostline(
        "sample", "--model", tiny_model, "--prompt", SEVEN, "--output", tmp_path / "a.png", "--json"
    )
    assert code == 0
    facts = json.loads(out)
    assert (facts["steps"], facts["guidance"], facts["frames"]) == (4, 2.0, 1)
    model = models.load(tiny_model)
    generator = generation.Generator(model, codec.Codec(generation.base_folder(model)))
    [wanted] = generator.sample([SEVEN], generation.Draw(seed=0, frames=1, height=32, width=32)).numpy()
    assert np.array_equal(image(tmp_path / "a.png"), wanted[0])


def test_a_fetched_model_of_two_experts_is_sampled_each_under_its_guidance(frostline, tiny_base, tmp_path, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "a14b")
    line = ("sample", "--model", tmp_path / "a14b", "--prompt", SEVEN, "--steps", 4)
    size = ("--frames", 1, "--height", 16, "--width", 16)
    code, out, err = frostline(*line, *size, "--output", tmp_path / "a.png")
    assert (code, err) == (0, "")
    assert "4 unipc steps at shift 12, guidance 4 and 3" in out
    assert frostline(*line, *size, "--offload", "--output", tmp_path / "waited.png")[0] == 0
    assert np.array_equal(image(tmp_path / "a.png"), image(tmp_path / "waited.png"))
    code, out, _ = frostline(*line, *size, "--guidance-scale", 5, "--output", tmp_path / "b.png", "--json")
    assert (json.loads(out)["guidance"], json.loads(out)["guidance_low"]) == (5.0, 5.0)
    code, out, _ = frostline(
        *line, *size, "--guidance", 5, "--guidance-scale-2", 2, "--output", tmp_path / "c.png", "--json"
    )
    assert (json.loads(out)["guidance"], json.loads(out)["guidance_low"]) == (5.0, 2.0)
    code, _, err = frostline(*line, "--output", tmp_path / "d.png")
    assert (code, "names no trained sizes; give frames, height and width" in err) == (2, True)


def test_a_fetched_model_of_two_experts_is_exported_whole(frostline, tiny_base, tmp_path, family):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "a14b")
    code, _, err = frostline("export", tmp_path / "a14b", tmp_path / "out")
    assert (code, err) == (0, "")
    assert {"transformer", "transformer_2", "README.md"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_clips(frostline, tiny_model, tmp_path, name):
    line = ("sample", "--model", tiny_model, "--prompt", SEVEN, "--frames", 5, "--output", tmp_path / name)
    code, out, _ = frostline(*line, "--negative-prompt", "a handwritten digit two", "--guidance", "3", "--seed", "7")
    assert code == 0
    assert "5 frame(s) of 32x32, seed 7" in out
    assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (["--guidance", "2"], 1, "folded into this model's weights"),
        (["--guidance-low", "3"], 1, "guidance 3 of a low-noise expert: this model is one network"),
        (["--guidance-low", "nan"], 2, "guidance_low nan"),
        (["--frames", "9"], 1, "trained on 1x32x32, 5x32x32"),
        (["--frames", "5"], 2, "name a .gif or .mp4"),
        (["--height", "33", "--width", "33", "--frames", "1"], 2, "multiples of 8"),
        (["--shift", "nan"], 2, "shift nan"),
        (["--steps", "0"], 2, "--steps"),
        (["--model", "models:/nobody@candidate"], 2, "holds no model registry"),
        (["--model", "nowhere"], 2, "nowhere: no such model folder"),
        (["--model", "models:/nobody"], 2, "write models:/NAME@ALIAS"),
        (["--base", "nowhere"], 2, "nowhere: no such folder"),
        (["--output", "picture.jpeg"], 2, "the ending '.jpeg' is not written"),
        (["--stepz", "3"], 2, "--stepz"),
    ],
)
def test_wrong_use_and_refusals_write_nothing(frostline, tiny_student, tmp_path, monkeypatch, changes, code, says):
    monkeypatch.chdir(tmp_path)
    line = {"--model": tiny_student, "--prompt": SEVEN, "--output": "out.png"}
    line.update(zip(changes[::2], changes[1::2], strict=True))
    found, _, err = frostline("sample", *(word for pair in line.items() for word in pair))
    assert (found, says in " ".join(err.replace("│", " ").split())) == (code, True), err
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_base_with_another_vae_is_refused(frostline, tiny_student, other_base, tmp_path):
    output = tmp_path / "out.png"
    code, _, err = frostline(
        "sample", "--model", tiny_student, "--base", other_base, "--prompt", SEVEN, "--output", output
    )
    assert (code, "vae_digest" in err, output.exists()) == (1, True, False)


def test_a_registered_model_is_sampled_like_its_folder(frostline, tiny_student, registry_store, tmp_path, monkeypatch):
    from frostline import tracking

    contract, _, training = models.facts(tiny_student)
    tags = {"weights_digest": training.weights_digest, "contract_digest": contract.digest}
    entry = tracking.Entry(name="sampled", alias="candidate", tags=tags, params={}, metrics={"a": 1.0}, curves={})
    tracking.register(registry_store, tiny_student, entry)
    monkeypatch.chdir(tmp_path)
    shared = ("--prompt", SEVEN, "--registry", registry_store.folder)
    for model, output in ((tiny_student, "folder.png"), ("models:/sampled@candidate", "registered.png")):
        code, _, err = frostline("sample", "--model", model, "--output", output, *shared)
        assert (code, err) == (0, "")
    assert Path("folder.png").read_bytes() == Path("registered.png").read_bytes()


def test_export(frostline, tiny_model, tmp_path):
    code, out, _ = frostline("export", tiny_model, tmp_path / "out", "--json")
    assert (code, json.loads(out)["output"]) == (0, str(tmp_path / "out"))
    assert (tmp_path / "out" / "model_index.json").is_file()
    assert frostline("export", tiny_model, tmp_path / "out")[0] == 2


@pytest.fixture
def settings(tmp_path):
    """A params.yaml and an empty folder of presets."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    return tmp_path


def preset(frostline, folder, *arguments):
    return frostline("preset", *arguments, "--params", folder / "params.yaml", "--presets", folder / "presets")


def test_a_preset_changes_its_keys_and_keeps_the_comments(frostline, settings):
    before = (settings / "params.yaml").read_text()
    (settings / "presets" / "short.yaml").write_text("train: {runs: {teacher: {steps: 7}}}\nstudents: {guided: null}\n")
    code, out, _ = preset(frostline, settings, "short")
    after = (settings / "params.yaml").read_text()
    assert code == 0
    assert "train.runs.teacher.steps: " in out
    assert "steps: 7" in after
    assert "guided:" not in after
    assert after.count("#") > before.count("#") / 2
    assert "2 value(s) changed" in out
    assert "0 value(s) changed" in preset(frostline, settings, "short")[1]


def test_a_section_of_which_nothing_is_left_is_still_yaml_below_its_comment(frostline, settings):
    path = settings / "params.yaml"
    path.write_text(path.read_text().replace("\nstudents:\n", "\nstudents: # they learn from teachers\n"))
    (settings / "presets" / "none.yaml").write_text("students: {guided: null, fast: null}\n")
    assert preset(frostline, settings, "none")[0] == 0
    assert params.load(path).students == {}
    assert "\nstudents: {} # they learn from teachers\n" in path.read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {runs: {teacher: {stepz: 7}}}", "train.runs.teacher.stepz"),
        ("- 1", "no sections"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_preset_names_the_key_and_changes_nothing(frostline, settings, text, says):
    before = (settings / "params.yaml").read_bytes()
    (settings / "presets" / "wrong.yaml").write_text(text)
    code, _, err = preset(frostline, settings, "wrong")
    assert (code, says in err) == (2, True), err
    assert (settings / "params.yaml").read_bytes() == before


def test_presets_are_listed_and_an_unknown_one_says_which_there_are(frostline, settings):
    (settings / "presets" / "short.yaml").write_text("base: elsewhere\n")
    assert preset(frostline, settings)[1] == "short\n"
    code, _, err = preset(frostline, settings, "long")
    assert (code, "which has: short" in err) == (2, True)


@pytest.mark.parametrize("path", sorted((PROJECT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_of_the_project_gives_good_params(settings, path):
    assert commands.apply(settings / "params.yaml", path)
    params.load(settings / "params.yaml")
