"""What docs/data.md shows works: its params parse and name every key, captions are captions, the program runs."""

import json
import re
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import yaml

from frostline import captioning, media, records, storage
from frostline.importing import Sources
from frostline.params.sources import CommandCaptioner, SourceParams
from frostline.sources.entries import Entry
from frostline.sources.listing import captions

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
KINDS = typing.get_args(typing.get_args(SourceParams)[0])


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def examples() -> dict[str, SourceParams]:
    found = [records.parse(Sources, yaml.safe_load(block), origin="docs/data.md").sources for block in blocks("yaml")]
    return {name: source for sources in found for name, source in sources.items()}


def keys(record: type[records.Record] | Any) -> set[str]:
    """All keys of a record, those of the records in it too."""
    if not (isinstance(record, type) and issubclass(record, pydantic.BaseModel)):
        return {key for part in typing.get_args(record) for key in keys(part)}
    inner = {key for field in record.model_fields.values() for key in keys(field.annotation)}
    return inner | set(record.model_fields)


def test_every_kind_of_source_has_an_example():
    shown = {type(source) for source in examples().values()}
    assert shown == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_stands_on_the_page(kind: type[records.Record]):
    assert [key for key in sorted(keys(kind)) if not re.search(rf"\b{key}\b", PAGE)] == []


def test_examples_of_captions_are_captions():
    lines = [json.loads(line) for block in blocks("json") for line in block.splitlines()]
    found = [captions.of_value(line["text"], "docs/data.md") for line in lines]
    assert [[caption.weight for caption in of_line] for of_line in found] == [[1.0], [1.0, 1.0], [2.0, 1.0]]


@pytest.mark.parametrize("text", re.findall(r"captioner: (\{.*?\})", PAGE))
def test_captioners_are_captioners(text: str):
    sidecar = yaml.safe_load(blocks("yaml")[0])
    sidecar["sources"]["cats"]["captioner"] = yaml.safe_load(text)
    assert records.parse(Sources, sidecar, origin="docs/data.md").sources["cats"]


def test_the_program_captions(tmp_path: Path):
    (program,) = blocks("python")
    (tmp_path / "caption.py").write_text(program)
    media.write_png(tmp_path / "1.png", np.zeros((8, 8, 3), np.uint8))
    picture = storage.blob(str(tmp_path), "1.png")
    entry = Entry(
        locator="1.png", file="1.png", blobs=(picture,), medium="image", item=None, captions=(), attributes="{}"
    )
    command = CommandCaptioner(command=(sys.executable, str(tmp_path / "caption.py")))
    assert captioning.fill([entry], command, tmp_path / "work", str(tmp_path)) == {"1.png": "a cat"}
