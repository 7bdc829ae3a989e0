"""`frostline cache`: what it prints and how it ends, on a source that is drawn, cached by the stage's own calls."""

import copy
import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from frostline import caching, dataset, digests, files, manifest, params
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.sources import embedded, reading

ROOT = Path(__file__).parents[3]
WORLD = {
    "kind": "world",
    "path": "frostline/world",
    "size": 64,
    "first": 0,
    "draws": [{"frames": 1, "scenes": 6}, {"frames": 5, "scenes": 3}],
    "split": {"seed": 0, "validation": 0.2, "test": 0.2},
}
Run = Callable[..., tuple[int, str, str]]


def encode(folder: Path, base: Path, reencoded: Callable[[Row], Any] | None = None) -> None:
    """What prepare, cache and index do for a source of params.yaml."""
    settings = params.load(folder / "params.yaml")
    source, codec = settings.source("scenes"), Codec(base)
    rows = embedded.rows("scenes", source, list)  # pyright: ignore[reportArgumentType] (it is the world)
    manifest.write(folder / "data" / "manifest" / "scenes", rows, [])
    caching.write_source(
        "scenes",
        Columns.of(Row, rows),
        reencoded or (lambda row: reading.pixels(source, row)),
        codec,
        settings.cache,
        Pool(folder / ".work" / "latents", codec.latent_space),
        folder / "data" / "latents" / "scenes",
    )
    files.write_json(folder / "data" / "latents.json", dataset.index(folder / "data" / "latents", ["scenes"]))


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one cached source; read it, never write in it."""
    folder = tmp_path_factory.mktemp("project")
    values = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))
    values |= {"base": str(tiny_base), "sources": {"scenes": WORLD}}
    values["cache"] |= {"encode_batch": 4, "threads": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    encode(folder, tiny_base)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def damage(project: Path) -> str:
    """Flip a bit of a clip's latent, in the cache and in the pool; gives the item."""
    (part,) = (project / "data/latents/scenes/items/5x64x64").iterdir()
    row = pq.read_table(part).to_pylist()[1]
    for path in (part, project / ".work/latents/items/5x64x64" / part.name):
        data = bytearray(path.read_bytes())
        data[data.find(row["latent"])] ^= 1
        path.write_bytes(data)
    return row["item"]


def test_a_whole_project_is_whole_to_the_last_bit(frostline: Run, project: Path):
    assert frostline("cache", "verify") == (0, "scenes: 4 parts, 9 rows\nwhole\n", "")
    code, out, _ = frostline("cache", "verify", "--deep", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["caches"] == {"scenes": {"parts": 4, "rows": 9}}
    assert (facts["whole"], facts["findings"], facts["done"], facts["next"]) == (True, [], [], [])


def test_a_damaged_row_is_one_line_and_exit_code_1(frostline: Run, project: Path):
    item = damage(project)
    assert frostline("cache", "verify")[0] == 0
    code, out, err = frostline("cache", "verify", "scenes", "--deep")
    assert (code, err) == (1, "")
    (line,) = [line for line in out.splitlines() if line.startswith("data/") and f"item {item}" in line]
    assert "its latent is not what its digest says; `frostline cache verify --repair` takes it away" in line
    assert "something is wrong with it, so nothing was made again" in out
    assert out.endswith("\nnot whole\n")
    code, out, _ = frostline("cache", "verify", "--deep", "--json")
    assert code == 1
    assert {finding["verdict"] for finding in json.loads(out)["findings"]} == {"damaged", "note"}


def test_repair_says_what_it_did_and_what_to_run(frostline: Run, project: Path, made: Path, tiny_base: Path):
    item = damage(project)
    code, out, _ = frostline("cache", "verify", "--repair")
    assert code == 1
    assert "taken away; 2 row(s) of it saved" in out
    assert "\nrun next: dvc repro\n" in out
    asked: list[str] = []
    source = params.load("params.yaml").source("scenes")
    encode(project, tiny_base, lambda row: [asked.append(row.item), reading.pixels(source, row)][1])
    assert asked == [item]
    assert digests.of_folder(project / "data") == digests.of_folder(made / "data")
    assert frostline("cache", "verify", "--deep")[0] == 0


def test_rows_and_texts_of_another_encoder_are_found_though_all_digests_are_right(
    frostline: Run, project: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Codec, "encode", _halved(Codec.encode))
    plain = Codec.encode_text
    monkeypatch.setattr(Codec, "encode_text", lambda self, texts: [one * 0.9 for one in plain(self, texts)])
    shutil.rmtree(project / ".work")
    encode(project, tiny_base)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    code, out, _ = frostline("cache", "verify", "--deep", "--reencode", "0")
    assert (code, out) == (0, "scenes: 4 parts, 9 rows\nwhole\n")
    code, out, _ = frostline("cache", "verify", "--deep", "--reencode", "3", "--json")
    found = json.loads(out)["findings"]
    assert code == 1
    assert len(found) == 6
    assert {finding["verdict"] for finding in found} == {"differs"}
    assert sum("differs by 0.5 of its norm, more than rounding (0.02)" in finding["what"] for finding in found) == 3
    assert sum("differs by 0.1 of its norm, more than rounding (0.001)" in finding["what"] for finding in found) == 3
    latents = {finding["path"].split("/")[4] for finding in found if "items" in finding["path"]}
    assert latents == {"1x64x64", "5x64x64"}


def _halved(plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, pixels, tiled: plain(self, pixels, tiled) * 0.5


def test_a_cache_of_another_manifest_is_found(frostline: Run, project: Path):
    rows = manifest.read(project / "data/manifest/scenes")
    manifest.write(project / "data/manifest/scenes", rows[:1], [])
    code, out, _ = frostline("cache", "verify", "--deep", "--reencode", "9")
    assert code == 1
    assert out.count("no longer a row of the source's manifest; make the cache again with `dvc repro`") == 8


def test_without_base_or_manifest_all_else_is_looked_at(frostline: Run, project: Path):
    shutil.rmtree(project / "data/manifest")
    code, out, _ = frostline("cache", "verify", "--deep")
    assert (code, "no manifest is here, so nothing was made again" in out) == (0, True)
    values = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(values | {"base": "nowhere"}))
    code, out, _ = frostline("cache", "verify", "--deep")
    assert (code, "nowhere: no base is here, so nothing was made again" in out) == (0, True)
    shutil.rmtree(project / "data/latents")
    code, _, err = frostline("cache", "verify")
    assert (code, "no base and no manifest of a cache is here" in err) == (2, True)


def test_another_base_in_params_is_found(frostline: Run, project: Path, other_base: Path):
    values = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(values | {"base": str(other_base)}))
    code, out, _ = frostline("cache", "verify")
    assert (code, "of another latent space than the base: vae_digest differ" in out) == (1, True)


def test_a_name_that_params_lack_is_wrong_use(frostline: Run, project: Path):
    code, _, err = frostline("cache", "verify", "cats")
    assert (code, "sources has no 'cats'" in err) == (2, True)


@pytest.mark.parametrize("command", [["verify", "--repair"], ["prune"]])
def test_nothing_is_removed_while_another_process_uses_the_pool(frostline: Run, project: Path, command: list[str]):
    damage(project)
    before = digests.of_folder(project)
    with (project / ".work/latents/locks/pool").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        code, _, err = frostline("cache", *command)
        assert (code, "another process uses it" in err) == (1, True)
        assert frostline("cache", "verify")[0] == 0
    assert digests.of_folder(project) == before


def test_prune_counts_and_removes_and_a_dry_run_only_counts(frostline: Run, project: Path):
    unit = project / ".work/latents/fresh/latents/0.parquet"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_bytes(b"x" * 1_200_000)
    code, out, _ = frostline("cache", "prune", "--dry-run")
    assert (code, unit.exists()) == (0, True)
    assert out == "fresh latents: 1 file(s), 1.2 MB\n.work/latents: 1 file(s) would go, 1.2 MB of disk\n"
    code, out, _ = frostline("cache", "prune", "--json")
    assert (code, unit.exists()) == (0, False)
    facts = json.loads(out)
    assert facts["kinds"] == {"fresh latents": {"files": 1, "bytes": 1_200_000}}
    assert (facts["freed"], facts["dry_run"]) == (1_200_000, False)
    assert frostline("cache", "prune")[1] == ".work/latents: 0 file(s) removed, 0.0 MB of disk\n"
    assert frostline("cache", "verify", "--deep")[0] == 0


def test_many_rows_of_a_file_are_a_few_lines(frostline: Run, project: Path):
    (part,) = (project / "data/latents/scenes/items/1x64x64").iterdir()
    rows = pq.read_table(part).to_pylist()
    data = bytearray(part.read_bytes())
    for row in rows:
        data[data.find(row["latent"])] ^= 1
    part.write_bytes(data)
    lines = frostline("cache", "verify", "scenes", "--deep")[1].splitlines()
    assert sum(str(part.name) in line for line in lines) == 6
    assert any("3 more; --json lists all" in line for line in lines)
