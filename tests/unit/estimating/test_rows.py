from typing import Any

import pytest

from frostline import files, manifest, records
from frostline.errors import WrongUse
from frostline.estimating import rows
from frostline.params.sources import DigitsParams, PromptsParams, WorldParams
from frostline.sources import embedded

SPLIT = {"seed": 0, "validation": 0.1, "test": 0.1}


def digits(**changed: Any) -> DigitsParams:
    draws = [{"frames": 1, "per_scan": 1}, {"frames": 5, "per_scan": 1}]
    values = {"kind": "digits", "path": "frostline/digits.py", "size": 32, "draws": draws, **changed}
    return records.parse(DigitsParams, values, origin="a test")


def prompts() -> PromptsParams:
    return records.parse(PromptsParams, {"kind": "prompts", "path": "p.txt", "split": SPLIT}, origin="a test")


def test_a_manifest_tells_the_rows_of_every_split(tmp_path):
    draws = [{"frames": 1, "scenes": 4}, {"frames": 5, "scenes": 9}]
    values = {"kind": "world", "path": "w", "size": 64, "first": 0, "draws": draws, "split": SPLIT}
    params = records.parse(WorldParams, values, origin="a test")
    manifest.write(tmp_path / "world", list(embedded.rows("world", params, list)), [])
    found = rows.of_source("world", params, tmp_path / "none.json", tmp_path, None)
    assert found.buckets == {(1, 64, 64): 4, (5, 64, 64): 9}
    assert (found.count, found.prompts) == (13, 0)


def test_an_index_of_caches_tells_them_where_there_is_no_manifest(tmp_path):
    counted = {"1x32x32/train": 8, "1x32x32/test": 2, "prompts/train": 5}
    files.write_json(tmp_path / "latents.json", {"sources": {"mine": {"rows": counted}}})
    found = rows.of_source("mine", digits(), tmp_path / "latents.json", tmp_path, 1000)
    assert (found.buckets, found.prompts) == ({(1, 32, 32): 10}, 5)


def test_rows_that_are_given_are_dealt_to_the_buckets_of_params(tmp_path):
    found = rows.of_source("mine", digits(), tmp_path / "none.json", tmp_path, 7)
    assert found.buckets == {(1, 32, 32): 4, (5, 32, 32): 3}
    assert rows.of_source("mine", prompts(), tmp_path / "none.json", tmp_path, 7).prompts == 7


def test_what_nobody_says_is_asked_for_by_name(tmp_path):
    with pytest.raises(WrongUse, match=r"rows of source mine: neither .*manifest\.json nor .*--rows"):
        rows.of_source("mine", digits(), tmp_path / "none.json", tmp_path, None)
    with pytest.raises(WrongUse, match="--rows 0"):
        rows.of_source("mine", digits(), tmp_path / "none.json", tmp_path, 0)
