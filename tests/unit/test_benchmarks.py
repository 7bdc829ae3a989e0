"""The frame of the benchmarks, the page made of their results, and every script's quick form, so that none rots."""

import functools
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmarks
from benchmarks import Frame, gpu_rehearsal, page
from benchmarks.parts import card, in_turn, project
from benchmarks.parts.in_turn import Cost
from frostline.errors import FrostlineError

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py") if path.stem != "page")
LONG = {
    "latents",
    "orchestration",
    "pipeline",
    "storage",
    "training",
}  # whose quick forms run stages or start servers: a minute each
PROMISED: dict[str, Any] = {"unit": "s", "n": 3, "spread": "", "note": ""}


def frame(*, quick: bool = False) -> Frame:
    return Frame("group", quick=quick)


def test_a_figure_is_met_by_value_op_and_target():
    made = frame()
    for figure, value, op in [("a", 6.0, "<="), ("b", 6.01, "<="), ("c", 6, "=="), ("d", 7, ">="), ("e", 5, ">=")]:
        made.record(figure, value, 6, op, **PROMISED)
    assert [row.met for row in made.figures] == [True, False, True, True, False]


def test_what_was_not_run_is_never_met():
    made = frame()
    made.not_run("peer", 0, ">=", unit="s", reason="the peer is not installed")
    assert not made.figures[0].met
    assert "not run" in benchmarks.line(made.figures[0], rehearsed=False)
    assert "not installed" in benchmarks.line(made.figures[0], rehearsed=False)


@pytest.mark.parametrize("op", ["<", "=", "about"])
def test_unknown_operators_are_refused(op: str):
    with pytest.raises(ValueError, match="one of"):
        frame().record("a", 1, 1, op, **PROMISED)


def test_a_figure_is_recorded_once():
    made = frame()
    made.record("a", 1, 1, "==", **PROMISED)
    with pytest.raises(ValueError, match="twice"):
        made.record("a", 2, 1, "==", **PROMISED)


def test_results_have_the_promised_form_and_merge_by_figure(tmp_path: Path):
    path, first, second = tmp_path / "group.json", frame(), frame()
    for figure in ("a", "b"):
        first.record(figure, 1, 1, "==", **PROMISED)
    for figure in ("b", "c"):
        second.record(figure, 2, 1, "==", **PROMISED)
    benchmarks.save(first, path, "first")
    benchmarks.save(second, path, "second")
    found = json.loads(path.read_text())
    assert set(found) == {"commit", "date", "machine", "versions", "command", "figures"}
    assert [(row["figure"], row["value"]) for row in found["figures"]] == [("a", 1), ("b", 2), ("c", 2)]
    assert set(found["figures"][0]) >= {"figure", "value", "target", "op", "unit", "n", "spread", "note"}
    assert "met" not in found["figures"][0]


def test_quick_writes_nothing_and_only_runs_what_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    ran: list[str] = []
    parts = {"one": lambda _: ran.append("one"), "two": lambda _: ran.append("two")}
    benchmarks.main("group", parts, ["--quick", "--only", "two"])
    assert ran == ["two"]
    assert not list(tmp_path.iterdir())
    benchmarks.main("group", parts, [])
    assert ran == ["two", "one", "two"]
    assert [path.name for path in tmp_path.iterdir()] == ["group.json"]


def results() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / benchmarks.RESULTS).glob("*.json"))}


def test_the_committed_page_is_the_one_of_the_committed_results():
    assert (ROOT / page.PAGE).read_text() == page.render(results()), "run `python -m benchmarks.page`"


def test_the_page_names_missed_and_missing_figures():
    made = frame()
    made.record("slow", 7, 6, "<=", unit="s", n=3, spread="", note="a | b")
    made.not_run("absent", 6, "<=", unit="s", reason="no peer")
    rows = [vars(row) for row in made.figures]
    text = page.render({"group": {**benchmarks.head("c" * 40, "python -m x"), "figures": rows}})
    [slow] = [line for line in text.splitlines() if line.startswith("| slow")]
    assert "**missed**" in slow
    assert "a \\| b" in slow
    [absent] = [line for line in text.splitlines() if line.startswith("| absent")]
    assert absent.count("not run") == 3  # measured, verdict, note


def test_outputs_differ_by_bytes_and_by_absence(tmp_path: Path):
    for name, weights in (("one", "same"), ("two", "other")):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "weights").write_text(weights)
        (tmp_path / name / "dvc.lock").write_text("lock")
        (tmp_path / name / "mlruns").mkdir()
        (tmp_path / name / "mlruns" / "id").write_text(name)
    (tmp_path / "two" / "models" / "more").touch()
    one, two = (project.outputs(tmp_path / name) for name in ("one", "two"))
    assert set(one) == {"dvc.lock", "models/weights"}
    assert project.differing(one, two) == ["models/more", "models/weights"]
    assert project.differing(one, dict(one)) == []


def test_a_command_is_timed_with_all_it_started_and_a_failing_one_is_told(tmp_path: Path):
    spin = f"{sys.executable} -c 'import time; end = time.process_time() + .3\nwhile time.process_time() < end: pass'"
    ran = project.run(["sh", "-c", spin], tmp_path, dict(os.environ))
    assert ran.cpu >= 0.3
    assert ran.wall >= 0.3
    with pytest.raises(project.Failed, match="why it failed"):
        project.run(["sh", "-c", "echo why it failed; exit 3"], tmp_path, dict(os.environ))


def test_stages_that_ran_are_read_from_what_dvc_says():
    text = "'prepare@digits' didn't change, skipping\nRunning stage 'train@teacher':\n> x\nRunning stage 'register':\n"
    assert project.Ran(1.0, 1.0, text).stages == ["train@teacher", "register"]


def test_a_ratio_counts_round_by_round_and_is_bounded_by_the_sign_test_of_its_median():
    drift = [1.0 + n for n in range(12)]  # of the machine: under both alike
    ratios = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 50.0]
    found = in_turn.ratio([Cost(a * b, 0) for a, b in zip(drift, ratios, strict=True)], [Cost(a, 0) for a in drift])
    assert (found.median, found.low, found.high) == pytest.approx((2.55, 2.2, 2.9))  # 3rd and 10th of 12: 96.1 %


def test_a_ratio_of_few_rounds_is_bounded_by_the_extremes():
    found = in_turn.ratio([Cost(cpu, 0) for cpu in (3.0, 1.0, 2.0)], [Cost(1.0, 0)] * 3)
    assert (found.low, found.median, found.high) == (1.0, 2.0, 3.0)


def test_every_way_has_its_turn_in_every_round_and_warming_up_is_not_counted():
    turns: list[tuple[str, int]] = []

    def way(name: str, number: int) -> Cost:
        turns.append((name, number))
        return Cost(float(number), 0.0)

    ways = {name: functools.partial(way, name) for name in ("one", "two")}
    found = in_turn.rounds(ways, 8, warm=1)
    assert [cost.cpu for cost in found["one"]] == [cost.cpu for cost in found["two"]] == [float(n) for n in range(1, 9)]
    assert [number for _, number in turns] == [number for number in range(9) for _ in range(2)]
    assert {turns[start][0] for start in range(0, len(turns), 2)} == {"one", "two"}  # neither is always first


def test_work_costs_the_seconds_of_this_process_and_the_wall():
    def work() -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        time.sleep(0.1)

    took = in_turn.cost(work)
    assert 0.05 <= took.cpu < took.wall
    assert took.wall >= 0.15


def test_what_does_not_fit_a_card_is_recorded_as_not_done_and_the_next_goes_on():
    made = frame(quick=True)
    with card.of(made, "large", 24, "too much") as used:
        raise FrostlineError("out of memory by 3 GB")
    with card.of(made, "small", 24, "enough") as used:
        used.steps, used.seconds = 4, 2.0
    large, small = made.figures
    assert large.value is None
    assert "did not complete on 24 GB: out of memory by 3 GB" in large.note
    assert (small.n, small.met) == (4, True)
    assert small.note.startswith("enough; 4 steps in 2.0 s, 0.500 s each")
    with pytest.raises(ZeroDivisionError), card.of(made, "wrong", 24, "a mistake"):
        _ = 1 / 0


@pytest.mark.parametrize("part", gpu_rehearsal.PARTS)
def test_without_a_gpu_nothing_of_a_rehearsal_is_run_and_all_of_it_listed(part, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = frame()
    gpu_rehearsal.PARTS[part](made)
    assert made.figures
    assert all("no GPU here" in figure.note and not figure.met for figure in made.figures)


def test_every_script_says_what_it_measures():
    assert "pipeline" in SCRIPTS
    for name in SCRIPTS:
        assert importlib.import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in SCRIPTS]
)
def test_the_quick_form_runs_and_writes_nothing(name: str):
    before = results()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "rehearsed" in done.stdout
    assert "MISSED" not in done.stdout
    assert results() == before
