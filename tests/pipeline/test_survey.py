"""`python -m stages.survey` as DVC runs it: a page and its numbers, and how the page looks to a browser."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from frostline.errors import Refused, WrongUse
from tests import prepared, stage_process

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WORDS = ["--manifests", "manifest", "--sheets", "sheets", "--page"]


@pytest.fixture(scope="module")
def folder(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a base, params, and two sources as prepare leaves them."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(tiny_base, folder / "base")
    values = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"base": "base"}
    values["sources"] = {"pictures": prepared.source(), "films": prepared.source()}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    rejected = [prepared.rejected("dark.mp4", "black", "dark.mp4: brightness 3")]
    prepared.write(folder, "pictures", prepared.splits([prepared.row(n) for n in range(60)]))
    prepared.write(folder, "films", prepared.splits([prepared.clip(n) for n in range(20)]), rejected)
    return folder


@pytest.fixture(scope="module")
def reports(folder: Path) -> Path:
    done = stage_process.run(folder, "survey", *WORDS, "first")
    assert done.returncode == 0, done.stderr
    assert "look at first/index.html" in done.stdout
    assert "mend: trainings: teacher trains on 9x32x32, of which there is no training row." in done.stdout
    return folder / "first"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the project to break."""
    return shutil.copytree(folder, tmp_path / "project", ignore=shutil.ignore_patterns("first"))


@pytest.fixture
def survey(copy: Path, main_in: Callable[..., None]) -> Callable[[], None]:
    """Runs the stage on the copy in this process."""
    return functools.partial(main_in, copy, "survey", *WORDS, "reports")


def test_it_writes_a_page_and_its_numbers(reports: Path):
    assert {path.name for path in reports.iterdir()} == {"index.html", "data.json"}
    found = json.loads((reports / "data.json").read_text())
    assert (found["rows"], found["rejected"], set(found["sources"])) == (80, 1, {"pictures", "films"})
    assert found["cost"]["latent_bytes"] > 0
    assert found["cost"]["trainings"]["teacher"]["1x32x32"]["tokens_per_row"] == 16


def test_the_same_inputs_give_the_same_bytes_and_name_no_place(reports: Path, copy: Path, survey: Callable[[], None]):
    survey()
    for name in ("index.html", "data.json"):
        assert (copy / "reports" / name).read_bytes() == (reports / name).read_bytes()
        assert str(reports.parent) not in (reports / name).read_text()


def test_a_refusal_leaves_the_page_of_before(copy: Path, survey: Callable[[], None]):
    survey()
    before = (copy / "reports" / "index.html").read_bytes()
    (copy / "manifest" / "films" / "items.parquet").write_bytes(b"another table")
    with pytest.raises(Refused, match=r"films/items\.parquet"):
        survey()
    assert (copy / "reports" / "index.html").read_bytes() == before
    assert {path.name for path in (copy / "reports").iterdir()} == {"index.html", "data.json"}


def test_a_source_that_was_not_prepared_is_named(copy: Path, survey: Callable[[], None]):
    shutil.rmtree(copy / "sheets" / "films")
    with pytest.raises(WrongUse, match=r"sheets/films/sheets\.json: no such file"):
        survey()
    assert not (copy / "reports").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_finds_the_parts_of_the_page(reports: Path, tmp_path: Path):
    dom = chromium(tmp_path, "--dump-dom", reports / "index.html")
    for part in ("findings", "counts", "sheets", "distributions", "captions", "left-out", "costs"):
        assert f'<section id="{part}"' in dom
    assert len(re.findall(r'<li class="cell">', dom)) == 24 + 20 + 1
    assert "dark.mp4: brightness 3" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_nothing_is_wider_than_the_screen(reports: Path, tmp_path: Path):
    """A page around ours measures it, in frames as wide as screens; the script is the test's, not the page's."""
    measure = "const d = this.contentDocument.documentElement; r.append(`${d.clientWidth}: ${d.scrollWidth}; `)"
    frames = [
        f'<iframe style="width:{width}px;height:900px;border:0" onload="{measure}" '
        f'src="{(reports / "index.html").as_uri()}"></iframe>'
        for width in (390, 1600)
    ]
    (tmp_path / "around.html").write_text(f"<p id=r></p>{''.join(frames)}")
    dom = chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", tmp_path / "around.html")
    found = {int(screen): int(page) for screen, page in re.findall(r"(\d+): (\d+); ", dom)}
    assert len(found) == 2
    assert list(found) == list(found.values())


def chromium(folder: Path, *words: str | Path) -> str:
    """What headless Chromium prints, with a profile of its own and no network."""
    *options, page = words
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--proxy-server=127.0.0.1:9", "--virtual-time-budget=2000", *map(str, options), Path(page).as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
