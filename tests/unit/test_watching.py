"""A training is watched by a process of its own: pictures, a page, and MLflow as far as it answers."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from frostline import files, tracking, watching
from frostline.tracking import Live
from frostline.watching import Training
from tests.waiting import SECONDS, until

ROOT = Path(__file__).parents[2]


def training(root: Path, *, steps: tuple[int, ...] = (2, 4), key: str = "key") -> Training:
    """What a training that runs leaves in its work folder."""
    work = root / ".work" / "train-tiny" / key
    for step in steps:
        (work / "preview").mkdir(parents=True, exist_ok=True)
        latents = torch.randn(2, 16, 1, 4, 4, generator=torch.Generator().manual_seed(step))
        save_file({"latents": latents}, work / "preview" / f"step-{step:08d}.safetensors")
        state = {
            "curve": [{"step": n, "loss": 1.0 / n} for n in range(1, step + 1)],
            "validation": [{"step": n, "1x32x32": 2.0 / n} for n in steps if n <= step],
        }
        files.write_json(work / f"step-{step:08d}" / "state.json", state)
    return Training(work=work)


def told(store: Any, key: str) -> Any:
    """The one run that MLflow has of a training."""
    client = store.client
    [run] = client.search_runs([client.get_experiment_by_name("frostline").experiment_id], f"tags.stage_key = '{key}'")
    return run


def pictures(store: Any, run: Any) -> list[str]:
    return sorted(Path(entry.path).name for entry in store.client.list_artifacts(run.info.run_id, "previews"))


def points(store: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return sorted((p.step, round(p.value, 6)) for p in store.client.get_metric_history(run.info.run_id, name))


def test_a_training_is_found_by_its_name_or_its_stage(tmp_path: Path):
    assert watching.find("tiny", tmp_path / ".work") is None
    made = training(tmp_path)
    assert watching.find("tiny", tmp_path / ".work") == watching.find("train-tiny", tmp_path / ".work") == made
    assert (made.name, made.key) == ("train@tiny", "key")
    assert watching.find("other", tmp_path / ".work") is None


def test_losses_are_those_of_the_newest_checkpoint(tmp_path: Path):
    made = training(tmp_path)
    assert made.losses()["loss"] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert made.losses()["validation/1x32x32"] == [(2, 1.0), (4, 0.5)]
    assert training(tmp_path / "new", steps=()).losses() == {}


def test_the_page_shows_the_newest_first_and_asks_nobody(tmp_path: Path):
    for step in (2, 10, 4):
        (tmp_path / f"step-{step:08d}.png").write_bytes(b"a picture")
    drawn = list(tmp_path.glob("*.png"))
    page = watching.write(tmp_path, "train@tiny", drawn, {"loss": [(1, 1.0), (10, 0.5)]}, runs=True).read_text()
    assert [page.index(f"Step {step}<") for step in (10, 4, 2)] == sorted(page.index(f"Step {n}<") for n in (10, 4, 2))
    assert "The newest preview is of step 10. loss at step 10: 0.5." in page
    assert page.count("<svg") == 1
    assert 'http-equiv="refresh"' in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    done = watching.write(tmp_path, "train@tiny", [], {}, runs=False).read_text()
    assert "refresh" not in done
    assert "No preview yet" in done


def test_mlflow_has_one_run_of_a_training_however_often_it_is_watched(tmp_path: Path, registry_store: Any):
    folder, losses = registry_store.folder, {"loss": [(1, 1.0), (2, 0.5)]}
    one = tmp_path / "step-00000002.png"
    one.write_bytes(b"a picture")
    live = Live(folder, "train@tiny", "once")
    live.show([one], losses)
    run = told(registry_store, "once")
    assert (run.info.status, run.data.tags["stage"]) == ("RUNNING", "train@tiny")
    live.end("KILLED")
    assert told(registry_store, "once").info.status == "KILLED"
    other = tmp_path / "step-00000004.png"
    other.write_bytes(b"another")
    again = Live(folder, "train@tiny", "once")
    again.show([one, other], {"loss": [*losses["loss"], (3, 0.4)], "validation/a": [(3, 0.9)]})
    again.end("FINISHED")
    run = told(registry_store, "once")
    assert run.info.status == "FINISHED"
    assert pictures(registry_store, run) == [one.name, other.name]
    assert points(registry_store, run, "loss") == [(1, 1.0), (2, 0.5), (3, 0.4)]
    assert points(registry_store, run, "validation/a") == [(3, 0.9)]


def test_a_server_that_is_away_is_told_of_and_hears_all_of_it_later(
    tmp_path: Path, registry_store: Any, monkeypatch: pytest.MonkeyPatch
):
    live = Live(registry_store.folder, "train@tiny", "away")
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(tracking.Away, match="does not answer"):
            live.show([], {"loss": [(1, 1.0)]})
    live.show([], {"loss": [(1, 1.0), (2, 0.5)]})
    assert points(registry_store, told(registry_store, "away"), "loss") == [(1, 1.0), (2, 0.5)]


def stage(root: Path, *arguments: str, **changed: str) -> subprocess.Popen[str]:
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    (root / "params.yaml").write_text(yaml.safe_dump({**values, "base": str(ROOT / "assets" / "miniature")}))
    command = [sys.executable, "-m", "stages.preview", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **changed}
    return subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_the_stage_shows_a_training_to_its_end_though_mlflow_is_away(tmp_path: Path):
    made = training(tmp_path)
    process = stage(tmp_path, "tiny", "--watch", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    shown = tmp_path / ".work" / "pictures" / "train-tiny"
    try:
        until((shown / "step-00000004.png").is_file)
        training(tmp_path, steps=(2, 4, 6))
        until((shown / "step-00000006.png").is_file)
        made.work.rename(tmp_path / "gone")
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "does not answer" in said
    page = (shown / "index.html").read_text()
    assert "Not running any more. The newest preview is of step 6." in page
    assert "<svg" in page  # what it knew of the losses stays


def test_the_stage_ends_its_run_when_it_is_stopped(tmp_path: Path):
    training(tmp_path, key="stopped")
    process = stage(tmp_path, "train-tiny", "--watch")
    try:
        until((tmp_path / "mlruns" / "mlflow.db").is_file)
        store = tracking.open_store(tmp_path / "mlruns")
        until(lambda: store.client.get_experiment_by_name("frostline"))
        until(lambda: _count(store) and pictures(store, told(store, "stopped")))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert told(store, "stopped").info.status == "KILLED"


def _count(store: Any) -> int:
    client = store.client
    return len(client.search_runs([client.get_experiment_by_name("frostline").experiment_id]))


def test_a_training_that_is_not_there_is_named(tmp_path: Path):
    process = stage(tmp_path, "nobody")
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "nobody: no training of that name is under way; start it, or wait for it with --watch" in said
