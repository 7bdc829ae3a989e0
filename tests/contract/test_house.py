"""Rules of the house that no other tool checks: quiet and offline settings, text without machines, pins that hold."""

import configparser
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import flows

ROOT = Path(__file__).parents[2]
PINS = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|home|opt/(?:wheels|pypi))/\w|(?:index-url|registry)\s*[=:]\s*['\"]?https?://"
)


def committed() -> list[Path]:
    """Every text file that git tracks."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    files = [ROOT / name for name in names.split("\0") if name]
    return [path for path in files if path.is_file() and b"\0" not in path.read_bytes()[:8000]]


def test_committed_text_names_no_machine_and_no_package_registry():
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in committed()
        if path != Path(__file__)
        for match in MACHINE.finditer(path.read_text(errors="replace"))
    }
    assert not found


def test_the_pattern_for_machines_finds_them():
    places = ["x = '/wo" + "rk/main'", "HOME=/ro" + "ot/x", "--index-url=https" + "://example.org"]
    assert all(MACHINE.search(place) for place in places)


def test_dvc_neither_reports_nor_looks_for_updates():
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"(?m)^\s+", "", (ROOT / ".dvc" / "config").read_text()))
    assert {name: config["core"][name] for name in ("analytics", "check_update", "autostage")} == {
        "analytics": "false",
        "check_update": "false",
        "autostage": "false",
    }


def test_importing_a_package_keeps_its_tools_quiet_and_at_home(tmp_path: Path):
    code = "import os, json, sys, stages, flows; json.dump(dict(os.environ), sys.stdout)"
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, check=True, text=True).stdout
    settings = json.loads(found)
    assert settings["PREFECT_HOME"] == str(ROOT / ".prefect")
    quiet = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    assert quiet.items() <= settings.items()


def test_a_variable_that_is_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_HOME", "elsewhere")
    flows.settle()
    assert os.environ["PREFECT_HOME"] == "elsewhere"


def test_every_requirement_is_pinned_and_every_pin_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [one for extra in project["optional-dependencies"].values() for one in extra]
    requirements = {re.sub(r"[-_.]+", "-", one.name).lower(): one for one in map(Requirement, wanted)}
    pins = {re.sub(r"[-_.]+", "-", name): version for name, version in PINS.items()}
    wrong = {
        name for name, one in requirements.items() if pins.get(name) is None or not one.specifier.contains(pins[name])
    }
    assert not wrong


def test_prefect_keeps_the_fastapi_it_can_start_with():
    assert Requirement("fastapi>=0.139,<0.151").specifier.contains(PINS["fastapi"])


def test_no_test_reaches_another_machine():
    with socket.socket() as reaching, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        reaching.connect(("192.0.2.1", 80))
