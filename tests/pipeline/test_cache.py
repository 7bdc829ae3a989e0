"""`python -m stages.cache`: killed, then run twice at once, it ends in the bytes of an undisturbed run."""

import shutil
import time
from pathlib import Path

import pytest
import yaml

from frostline import digests
from tests import stage_process
from tests.stage_process import ROOT

CACHE = ["digits", "--manifest", "data/manifest/digits", "--latents", "data/latents/digits"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a manifest of two images of every scan: two units of work."""
    project = tmp_path_factory.mktemp("project")
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["base"] = str(ROOT / values["base"])
    values["sources"]["digits"]["draws"] = [{"frames": 1, "per_scan": 2}]
    values["cache"]["threads"] = 1
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    result = stage_process.run(project, "prepare", "digits", "--manifest", "data/manifest/digits")
    assert result.returncode == 0, result.stderr
    return project


def project_of(manifest: Path, folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "manifest").symlink_to(manifest / "data" / "manifest")
    (folder / "params.yaml").symlink_to(manifest / "params.yaml")
    return folder


def test_killed_and_then_run_twice_at_once_it_ends_in_the_same_bytes(manifest: Path, tmp_path: Path):
    straight, broken = (project_of(manifest, tmp_path / name) for name in ("straight", "broken"))
    assert stage_process.run(straight, "cache", *CACHE).returncode == 0

    killed, deadline = stage_process.start(broken, "cache", *CACHE), time.monotonic() + stage_process.SECONDS
    fresh = broken / ".work" / "latents" / "fresh" / "latents"
    while not (kept := list(fresh.glob("[!.]*.parquet"))) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    stage_process.ended(killed)
    assert len(kept) == 1
    assert not (broken / "data" / "latents").exists()

    both = [stage_process.start(broken, "cache", *CACHE) for _ in range(2)]
    results = [stage_process.ended(process) for process in both]
    assert [result.returncode for result in results] == [0, 0], results
    for name in ("data/latents/digits", ".work/latents/items", ".work/latents/text"):
        assert digests.of_folder(broken / name) == digests.of_folder(straight / name)
    assert not list((broken / ".work" / "latents" / "fresh").rglob("*.parquet"))
    assert not list((broken / "data").rglob(".*.parquet"))


def test_shares_of_other_machines_are_taken_and_what_one_of_them_lacks_is_encoded(manifest: Path, tmp_path: Path):
    straight, main = (project_of(manifest, tmp_path / name) for name in ("straight", "main"))
    assert stage_process.run(straight, "cache", *CACHE).returncode == 0
    for share in ("1", "2", "3", "4"):
        worker = project_of(manifest, tmp_path / f"worker-{share}")
        words = ["digits", share, "--manifest", "data/manifest/digits", "--shard", f"shards/{share}"]
        result = stage_process.run(worker, "shard", *words)
        assert result.returncode == 0, result.stderr
        (worker / "shards" / share).rename(main / f"share-{share}")

    def made(*shares: str) -> str:
        """Makes the cache from some shares on a machine that knows nothing; gives what it said it encoded."""
        for name in (".work", "data/latents", "data/shards"):
            shutil.rmtree(main / name, ignore_errors=True)
        for share in shares:
            shutil.copytree(main / f"share-{share}", main / "data" / "shards" / "digits" / share)
        result = stage_process.run(main, "cache", *CACHE, "--shards", "data/shards/digits")
        assert result.returncode == 0, result.stderr
        assert digests.of_folder(main / "data/latents/digits") == digests.of_folder(straight / "data/latents/digits")
        return result.stderr

    assert "encoding" not in made("1", "2", "3", "4")
    assert "encoding 1x32x32" in made("1", "2", "4")
