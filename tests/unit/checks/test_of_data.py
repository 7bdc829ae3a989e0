import dataclasses
from pathlib import Path

import pytest

from frostline import caching, codec, dataset, files, params
from frostline.caching.pool import Pool
from frostline.checks import of_data
from frostline.codec import Codec
from frostline.dataset import Dataset
from frostline.errors import Refused
from frostline.manifest import Columns, Row
from tests.unit.caching.rows import pixels, row

DEFAULT = params.load(Path(__file__).parents[3] / "params.yaml")
SETTINGS = DEFAULT.model_copy(update={"cache": DEFAULT.cache.model_copy(update={"encode_batch": 8})})


def darker(given):
    return pixels(given) // 2


def write(source, rows, base, root):
    """Make the cache of a source."""
    made = Codec(base)
    pool = Pool(root / "pool", made.latent_space)
    caching.write_source(source, Columns.of(Row, rows), pixels, made, SETTINGS.cache, pool, root / "latents" / source)


ROWS = [row(number) for number in range(12)]


@pytest.fixture(scope="module")
def rows(tiny_base, tmp_path_factory):
    root = tmp_path_factory.mktemp("of_data")
    write("tiny", ROWS, tiny_base, root)
    files.write_json(root / "index.json", dataset.index(root / "latents", ["tiny"]))
    return Dataset(root / "index.json", root / "latents")


def verdicts(found):
    return {finding.id: finding.verdict for finding in found}


def test_what_was_cached_is_what_the_base_makes(rows, tiny_base):
    found = verdicts(of_data.findings(rows, Codec(tiny_base), ROWS, pixels, SETTINGS))
    assert found["D11"] == "pass"
    assert found["D09"] == "fail"  # a VAE of random weights gives no picture back


def test_media_that_changed_behind_the_cache_are_found(rows, tiny_base):
    assert verdicts(of_data.findings(rows, Codec(tiny_base), ROWS, darker, SETTINGS))["D11"] == "fail"


def test_a_cache_of_another_base_is_refused_naming_the_field(rows, other_base):
    theirs = codec.latent_space(other_base).vae_digest
    with pytest.raises(Refused, match="vae_digest") as caught:
        of_data.findings(rows, Codec(other_base), ROWS, pixels, SETTINGS)
    assert theirs in str(caught.value)


def test_prompts_without_media_are_looked_for_and_give_no_findings(rows, tiny_base, tmp_path):
    given = [dataclasses.replace(row(0), id="prompt", medium="prompt", captions=("seven",))]
    write("said", given, tiny_base, tmp_path)
    files.write_json(tmp_path / "index.json", dataset.index(tmp_path / "latents", ["said"]))
    said = Dataset(tmp_path / "index.json", tmp_path / "latents")
    assert of_data.findings(said, Codec(tiny_base), given, pixels, SETTINGS) == []
    other = [dataclasses.replace(given[0], captions=("eight",))]
    for cache, asked in ((said, other), (rows, given)):
        with pytest.raises(Refused, match="1 of 1 rows have no cached latent or text"):
            of_data.findings(cache, Codec(tiny_base), asked, pixels, SETTINGS)


def test_a_cache_of_another_manifest_is_refused(rows, tiny_base):
    with pytest.raises(Refused, match="another manifest"):
        of_data.findings(rows, Codec(tiny_base), [row(99)], pixels, SETTINGS)
