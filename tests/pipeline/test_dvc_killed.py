"""A stage ends with the `dvc repro` that started it, whatever shell DVC puts between the two."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import until

DVC = [sys.executable, "-m", "dvc"]
STAGE = """import os, pathlib, time
from frostline import workspace
workspace.die_with_parent()
beside = pathlib.Path(".pid")
beside.write_text(str(os.getpid()))
beside.rename("pid")
time.sleep(120)
"""
GRAPH = """stages:
  one:
    cmd: exec {python} stage.py
    outs: [one.txt]
"""


@pytest.mark.parametrize("shell", [None, "/bin/bash"])
def test_a_stage_ends_with_a_killed_dvc_whatever_the_shell(tmp_path: Path, shell: str | None):
    environment = {name: value for name, value in os.environ.items() if name != "SHELL"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])} | ({"SHELL": shell} if shell else {})
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=tmp_path, env=environment, check=True)
    (tmp_path / "dvc.yaml").write_text(GRAPH.format(python=sys.executable))
    (tmp_path / "stage.py").write_text(STAGE)
    with subprocess.Popen([*DVC, "repro"], cwd=tmp_path, env=environment) as dvc:
        until(lambda: (tmp_path / "pid").exists() or dvc.poll() is not None)
        assert dvc.poll() is None
        stage = psutil.Process(int((tmp_path / "pid").read_text()))
        dvc.send_signal(signal.SIGKILL)
    gone, _ = psutil.wait_procs([stage], timeout=60)
    assert gone, "the stage outlived the dvc that started it"
