import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline import workspace
from frostline.errors import Preempted, Refused

HOLDS = """
import sys
from frostline import workspace
with workspace.lock("data/out"):
    print("held", flush=True)
    sys.stdin.read()
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
"""
CHILD = """
import time
from frostline import workspace
workspace.die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
KEPT = """
import resource, sys
from frostline import workspace
if sys.argv[1] == "kept":
    workspace.keep_memory()
for turn in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytes(b"1") * (48 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(here, script, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_refused_the_lock_until_the_first_is_gone(here):
    with started(here, HOLDS) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Refused, match="data/out"), workspace.lock("data/out"):
            pass
        with workspace.lock("data/other"):
            pass
        other.kill()
    with workspace.lock("data/out"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_stage_ends_when_its_parent_is_killed(here):
    with started(here, PARENT, CHILD) as parent:
        assert parent.stdout is not None
        child, ready = parent.stdout.readline().split()
        assert ready == "ready"
        assert alive(int(child))
        parent.kill()
    assert gone(int(child))


def alive(process):
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a dead one may wait for its new parent
    except FileNotFoundError:
        return False


def gone(process):
    deadline = time.monotonic() + 20
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(process)


def test_the_same_key_finds_its_work_and_other_keys_go(here):
    first = workspace.work_folder("train-a", "one")
    (first / "progress").touch()
    other = workspace.work_folder("train-b", "one")
    assert (workspace.work_folder("train-a", "one") / "progress").exists()
    second = workspace.work_folder("train-a", "two")
    assert not first.exists()
    assert not list(second.iterdir())
    assert other.exists()


def test_what_a_killed_writer_left_half_written_is_gone(here):
    work = workspace.work_folder("cache-a", "one")
    (work / "items").mkdir()
    for name in ("items/.part.parquet.x1", "items/part.parquet"):
        (work / name).touch()
    (work / ".step-1.x2" / ".deeper").mkdir(parents=True)
    found = workspace.work_folder("cache-a", "one")
    assert sorted(path.relative_to(found).as_posix() for path in found.rglob("*")) == ["items", "items/part.parquet"]


def test_finished_work_takes_the_place_of_the_old_output(here):
    work = workspace.work_folder("cache-a", "one")
    (work / "new").touch()
    (here / "data" / "out").mkdir(parents=True)
    (here / "data" / "out" / "old").touch()
    workspace.publish(work, "data/out")
    assert [path.name for path in (here / "data" / "out").iterdir()] == ["new"]
    assert not work.exists()


def test_a_signal_is_a_question_answered_between_steps():
    before = signal.getsignal(signal.SIGTERM)
    with workspace.Preemption() as preemption:
        preemption.stop_if_asked("nowhere")
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Preempted, match=r"here.*again") as caught:
            preemption.stop_if_asked("here")
    assert caught.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is before


def test_settings_that_are_already_made_stay(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    workspace.settle()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["DO_NOT_TRACK"] == "1"


@pytest.mark.skipif(os.confstr("CS_GNU_LIBC_VERSION") is None, reason="another C library keeps memory as it likes")
def test_memory_that_is_freed_is_there_for_who_asks_next(here):
    pages = {how: int(started(here, KEPT, how).communicate(timeout=60)[0]) for how in ("kept", "as it is")}
    assert pages["as it is"] > (40 << 20) / 4096
    assert pages["kept"] < pages["as it is"] / 100
