import shutil
from pathlib import Path

import pytest

from frostline import files
from frostline.doctor import settings


def test_settings_that_are_read_pass(tiny_model: Path):
    found = settings.unread(tiny_model)
    assert settings.has_any(tiny_model)
    assert (found.verdict, found.measured["unread"]) == ("pass", 0.0)
    assert found.measured["keys"] > 20


@pytest.mark.parametrize(
    ("place", "key"), [("scheduler/scheduler_config.json", "flow_shfit"), ("transformer/config.json", "num_layer")]
)
def test_a_setting_that_nobody_reads_is_named_with_its_file(tiny_model: Path, tmp_path: Path, place: str, key: str):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    files.write_json(folder / place, {**files.read_json(folder / place), key: 3.0})
    found = settings.unread(folder)
    assert found.verdict == "fail"
    assert f"nobody reads {key} in {place}" in found.reason


def test_a_folder_without_configurations_is_not_judged(tmp_path: Path):
    assert not settings.has_any(tmp_path)
    files.write_json(tmp_path / "config.json", {"model_type": "t2v", "dim": 5120})  # Wan's own layout names no class
    assert not settings.has_any(tmp_path)
