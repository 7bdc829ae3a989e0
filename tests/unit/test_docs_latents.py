"""What docs/latents.md shows works: the program runs, the tables name every column."""

import dataclasses
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from frostline import caching, latents, records
from frostline.caching.pool import Pool
from frostline.codec import Codec
from frostline.manifest import Columns, Row
from frostline.params.sources import DigitsParams
from frostline.sources import embedded
from frostline.store.reading import Latents
from tests import tiny

PAGE = (Path(__file__).parents[2] / "docs" / "latents.md").read_text("utf-8")
DIGITS = {"kind": "digits", "path": "frostline/digits.py", "size": 32, "draws": [{"frames": 1, "per_scan": 1}]}


@pytest.fixture(scope="module")
def project(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cache of some digits and a prompt."""
    folder = tmp_path_factory.mktemp("project")
    source = records.parse(DigitsParams, DIGITS, origin="x")
    drawn = embedded.rows("digits", source, lambda scans: scans[:12])
    rows = [*drawn, *(_prompt(row) for row in drawn[:1])]
    codec, params = Codec(tiny_base), tiny.cache_params(encode_batch=4, preview_prompts=["one"])
    pool, output = Pool(folder / "pool", codec.latent_space), folder / "data" / "latents" / "digits"
    columns = Columns.of(Row, rows)
    caching.write_source("digits", columns, lambda row: embedded.pixels(source, row), codec, params, pool, output)
    return folder


def _prompt(row: Row) -> Row:
    return dataclasses.replace(row, id="prompt", medium="prompt")


def run(folder: Path, program: str, **given: Any) -> dict[str, Any]:
    """What a program leaves in its variables."""
    (folder / "program.py").write_text(program)
    return runpy.run_path(str(folder / "program.py"), given)


def test_the_program_reads_what_a_training_reads(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(project)
    found = run(tmp_path, program)
    cache = Latents(project / "data" / "latents" / "digits")
    number = [fact["id"] for fact in cache.facts("id")].index(found["row"]["id"])
    assert torch.equal(found["latent"], latents.normalise(cache.raw([number]), cache.space)[0])
    assert np.array_equal(cache.texts.read(cache.text_number(number)).view(np.float32), found["text"])


def test_bfloat16_without_torch(tmp_path: Path):
    (text,) = re.findall(r"`(\(numpy\.frombuffer\(data.*?\))`", PAGE)
    values = torch.tensor([1.5, -2.25, 1e-3]).bfloat16()
    data = values.view(torch.uint8).numpy().tobytes()
    assert run(tmp_path, f"found = {text}", numpy=np, data=data)["found"].tolist() == values.float().tolist()


@pytest.mark.parametrize("kind", ["items", "prompts", "captions", "text"])
def test_every_column_stands_in_its_table(project: Path, kind: str):
    table = re.findall(rf"^\| {kind} \| type \|(.*?)^$", PAGE, re.DOTALL | re.MULTILINE)[0]
    named = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    part = next((project / "data" / "latents" / "digits" / kind).rglob("*.parquet"))
    assert named == set(pq.read_schema(part).names)
