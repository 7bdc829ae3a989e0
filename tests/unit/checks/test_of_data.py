import dataclasses
from pathlib import Path

import numpy as np
import pytest

from frostline import caching, codec, dataset, files, params
from frostline.caching import wanted
from frostline.caching.pool import Pool
from frostline.checks import of_data
from frostline.codec import Codec
from frostline.dataset import Dataset
from frostline.errors import Refused
from frostline.manifest import Columns, Row
from frostline.tiling import WHOLE, Tiling
from tests import tiny
from tests.unit.caching.rows import pixels, row

DEFAULT = params.load(Path(__file__).parents[3] / "params.yaml")
SETTINGS = DEFAULT.model_copy(update={"cache": DEFAULT.cache.model_copy(update={"encode_batch": 8})})


def darker(given):
    return pixels(given) // 2


def write(source, rows, base, root, pixels=pixels, settings=SETTINGS):
    """Make the cache of a source."""
    made = Codec(base)
    pool = Pool(root / "pool", made.latent_space)
    caching.write_source(source, Columns.of(Row, rows), pixels, made, settings.cache, pool, root / "latents" / source)


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


def test_latents_of_another_kind_of_device_are_known_as_their_rows(tiny_base, tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(wanted, "_computed_on", lambda *_: "cuda")
        write("tiny", ROWS, tiny_base, tmp_path)
    files.write_json(tmp_path / "index.json", dataset.index(tmp_path / "latents", ["tiny"]))
    cached = Dataset(tmp_path / "index.json", tmp_path / "latents")
    here = {wanted.latent_id(one, cached.space, SETTINGS.cache, "cpu") for one in ROWS}
    assert here.isdisjoint(cached.ids("latent_id"))
    assert verdicts(of_data.findings(cached, Codec(tiny_base), ROWS, pixels, SETTINGS))["D11"] == "pass"


def test_large_frames_are_encoded_again_in_the_windows_of_the_cache(tiny_base, tmp_path):
    large = row(0, height=120, width=152, crop=(0, 0, 152, 120))
    shown = np.random.default_rng(0).integers(0, 256, (1, 120, 152, 3), dtype=np.uint8)
    cut = SETTINGS.model_copy(update={"cache": tiny.cache_params(most_pixels=104 * 104)})
    asked = []

    class Noting(Codec):
        def encode(self, pixels, tiled=WHOLE):
            asked.append(tiled)
            return super().encode(pixels, tiled)

    write("tiny", [large], tiny_base, tmp_path, lambda _: shown, cut)
    files.write_json(tmp_path / "index.json", dataset.index(tmp_path / "latents", ["tiny"]))
    cached = Dataset(tmp_path / "index.json", tmp_path / "latents")
    found = of_data.findings(cached, Noting(tiny_base), [large], lambda _: shown, cut)
    assert verdicts(found)["D11"] == "pass"
    assert asked == [Tiling(tile=104)]


def test_a_cache_of_another_manifest_is_refused(rows, tiny_base):
    with pytest.raises(Refused, match="another manifest"):
        of_data.findings(rows, Codec(tiny_base), [row(99)], pixels, SETTINGS)
