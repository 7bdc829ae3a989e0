from typing import Any

import pytest

from frostline import files, manifest, records
from frostline.errors import WrongUse
from frostline.estimating import rows
from frostline.params.sources import DigitsParams, PromptsParams
from frostline.sources import embedded

SPLIT = {"seed": 0, "validation": 0.1, "test": 0.1}


def digits(**changed: Any) -> DigitsParams:
    draws = [{"frames": 1, "per_scan": 1}, {"frames": 5, "per_scan": 1}]
    values = {"kind": "digits", "path": "frostline/digits.py", "size": 32, "draws": draws, **changed}
    return records.parse(DigitsParams, values, origin="a test")


def prompts() -> PromptsParams:
    return records.parse(PromptsParams, {"kind": "prompts", "path": "p.txt", "split": SPLIT}, origin="a test")


def test_a_manifest_tells_the_rows_of_every_split(tmp_path):
    made = list(embedded.rows("digits", digits(draws=[{"frames": 5, "per_scan": 2}]), list))
    manifest.write(tmp_path / "digits", made, [])
    found = rows.of_source("digits", digits(), tmp_path / "none.json", tmp_path, None)
    assert found.buckets == {(5, 32, 32): 2 * 1797}
    assert (found.count, found.prompts) == (2 * 1797, 0)


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
