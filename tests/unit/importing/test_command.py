"""`frostline import-dataset`: what it prints and writes is params; exit 2 and nothing written where it cannot be."""

import json
from pathlib import Path

import pytest
import yaml

from benchmarks.parts import importers
from frostline import importing, params, records
from frostline.cli import preset

PROJECT = Path(__file__).resolve().parents[3]
MUSUBI = """
[general]
resolution = [640, 368]
caption_extension = ".txt"
enable_bucket = true
batch_size = 2
[[datasets]]
image_directory = "photos/Été"
[[datasets]]
video_directory = "film/takes"
target_frames = [5, 25]
frame_extraction = "uniform"
frame_sample = 3
source_fps = 24.0
[[datasets]]
video_jsonl_file = "film/list.jsonl"
frame_extraction = "full"
"""
PIPE = """
resolutions = [256, [832, 480]]
enable_ar_bucket = true
min_ar = 0.5
max_ar = 2.0
num_ar_buckets = 5
frame_buckets = [1, 33]
[[directory]]
path = 'film/takes'
[[directory]]
path = 'photos'
frame_buckets = [1]
"""
CONFIGS = [("musubi-tuner", MUSUBI), ("diffusion-pipe", PIPE)]


@pytest.fixture
def config(tmp_path):
    """Writes a config."""

    def write(text):
        path = tmp_path / "dataset.toml"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.mark.parametrize(("tool", "text"), CONFIGS)
def test_what_is_printed_is_params_again(frostline, config, tool, text):
    code, out, err = frostline("import-dataset", tool, config(text))
    assert (code, err) == (0, "")
    read = records.parse(importing.Sources, yaml.safe_load(out), origin="printed")
    assert read.sources == importing.read(tool, config(text)).sources
    assert len(read.sources) == 4


@pytest.mark.parametrize(("tool", "text"), CONFIGS)
def test_notes_and_lines_fit_a_file_for_people(frostline, config, tool, text):
    _, out, _ = frostline("import-dataset", tool, config(text))
    head = out.split("sources:")[0]
    assert head.splitlines()[0] == f"# dataset.toml of {tool}, read by `frostline import-dataset`"
    assert all(line.startswith("#") for line in head.splitlines())
    assert "# * max_rejected: " in head
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize(("tool", "text"), CONFIGS)
def test_what_is_written_can_be_laid_over_params(frostline, config, tmp_path, tool, text):
    settings = tmp_path / "params.yaml"
    settings.write_text((PROJECT / "params.yaml").read_text())
    written = tmp_path / "presets" / "mine.yaml"
    code, out, _ = frostline("import-dataset", tool, config(text), "--output", written)
    assert (code, f"{written}: 4 source(s): " in out) == (0, True)
    assert preset.apply(settings, written)
    laid = settings.read_bytes()
    assert preset.apply(settings, written) == {}
    assert settings.read_bytes() == laid
    expected = importing.read(tool, config(text)).sources
    assert {name: params.load(settings).source(name) for name in expected} == expected


def test_a_program_may_read_it(frostline, config):
    code, out, _ = frostline("import-dataset", "diffusion-pipe", config(PIPE), "--json")
    facts = json.loads(out)
    assert (code, len(facts["sources"])) == (0, 4)
    assert any(note.startswith("resolutions: ") for note in facts["notes"])


def test_wrong_use_writes_nothing(frostline, config, tmp_path):
    output = tmp_path / "out.yaml"
    lines = [
        (("kohya", config(PIPE)), "tool 'kohya': not one of musubi-tuner, diffusion-pipe"),
        (("musubi-tuner", tmp_path / "absent.toml"), "absent.toml: no such file"),
        (("musubi-tuner", tmp_path), "no such file"),
        (("diffusion-pipe", config(PIPE + "mask_path = 'm'\n")), "key 'directory.1.mask_path' has the value 'm'"),
    ]
    for arguments, says in lines:
        code, out, err = frostline("import-dataset", *arguments, "--output", output)
        assert (code, out, says in err, output.exists()) == (2, "", True, False), err


def test_a_file_that_is_there_is_kept(frostline, config, tmp_path):
    output = tmp_path / "params.yaml"
    output.write_text("base: mine\n")
    code, _, err = frostline("import-dataset", "diffusion-pipe", config(PIPE), "--output", output)
    assert (code, "is there already" in err, output.read_text()) == (2, True, "base: mine\n")


def test_names_are_unique_and_plain(config):
    paths = ["a/Caf\u00e9 1", "b/Caf\u00e9 1", "c/\u5199\u771f", "C:\\media\\x", "s3://bucket/x/"]
    text = "resolutions = [64]\n" + "".join(f"[[directory]]\npath = '{path}'\n" for path in paths)
    imported = importing.read("diffusion-pipe", config(text))
    assert list(imported.sources) == ["caf-1", "caf-1-2", "dataset", "x", "x-2"]
    assert [source.path for source in imported.sources.values()] == paths


def test_examples_of_a_folder_are_tabled(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.toml").write_text(PIPE)
    (tmp_path / "b.md").write_text(
        f"# Page\n\n```toml\n{PIPE}control_path = 'c'\n```\n\n```toml\n[[directory]]\n```\n\n```toml\na = 3\n```\n"
    )
    (tmp_path / "c.toml").write_text("a = [")
    found = [(row.file, row.verdict) for row in importers.table("diffusion-pipe", tmp_path)]
    assert found == [
        ("b.md:3", "key named"),
        ("b.md:19", "key named"),
        ("c.toml", "not understood"),
        ("deep/a.toml", "imported"),
    ]
