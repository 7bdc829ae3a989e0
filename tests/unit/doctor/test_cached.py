from pathlib import Path

import pytest
import torch

from frostline import digits, randomness
from frostline.codec import Codec
from frostline.doctor import cached, of_cache, rows
from frostline.doctor.case import Given, Seen, Size
from frostline.doctor.rows import Rows
from frostline.errors import WrongUse
from tests import tiny

MINIATURE = Path(__file__).parents[3] / "assets" / "miniature"
TEXT = randomness.normal((3, 6, 8), "text")


def test_normalised_latents_pass_and_raw_ones_fail():
    clean = randomness.normal((80, 4, 1, 4, 4), "clean")
    assert cached.statistics(clean).verdict == "pass"
    assert cached.statistics(clean * 2.4 + 0.7).verdict == "fail"
    assert cached.statistics(clean[:8]).verdict == "not-applicable"


def test_rows_of_nothing_are_counted():
    raw = randomness.normal((10, 4, 1, 4, 4), "raw")
    assert cached.empty(raw).verdict == "pass"
    raw[2], raw[5, 0, 0, 0, 0] = 0.0, torch.nan
    found = cached.empty(raw)
    assert found.verdict == "fail"
    assert (found.measured["constant"], found.measured["not_finite"]) == (1.0, 1.0)


def test_captions_have_texts_of_their_own():
    assert cached.texts(["", "one", "two"], TEXT).verdict == "pass"
    alike = TEXT.clone()
    alike[2] = alike[1]
    found = cached.texts(["", "one", "two"], alike)
    assert found.verdict == "fail"
    assert "'one' and 'two'" in found.reason
    silent = TEXT.clone()
    silent[1] = 0
    assert cached.texts(["", "one", "two"], silent).measured["all_zero"] == 1.0
    assert cached.texts(["one"], TEXT[:1]).verdict == "not-applicable"


def test_items_in_two_splits_and_copies_across_them_fail():
    train, held = randomness.normal((30, 64), "train"), randomness.normal((20, 64), "held")
    items = {"train": ["a", "b"], "validation": ["c"]}
    assert cached.splits(items, {"train": train, "validation": held}).verdict == "pass"
    shared = cached.splits({**items, "validation": ["b"]}, {"train": train, "validation": held})
    assert shared.measured["shared_items"] == 1.0
    copied = torch.cat([held, train[:2] + 1e-4])
    found = cached.splits(items, {"train": train, "validation": copied})
    assert found.measured["near_duplicates"] == pytest.approx(2 / 22)
    assert found.verdict == "fail"


def test_what_a_vae_made_it_makes_again_and_another_does_not():
    """The other one has the shape and the statistics of the first, and its own weights."""
    codec, other = Codec(MINIATURE), Codec(MINIATURE)
    generator = torch.Generator().manual_seed(0)
    for weight in other.vae.parameters():
        weight.data += 0.3 * weight.std() * torch.randn(weight.shape, generator=generator)
    pixels = torch.stack([torch.from_numpy(digits.render(scan, 0, 1)) for scan in range(4)])
    raw = codec.encode(pixels)
    made = Rows(origin="", raw=raw, clean=codec.normalise(raw), text=None, null=None)
    assert cached.cycle(codec, made).verdict == "pass"
    assert cached.cycle(other, made).verdict == "fail"


def test_a_cache_of_another_vae_is_named():
    assert cached.identity("a", "a", cache="c", base="b").verdict == "pass"
    assert "the VAE a" in cached.identity("a", "b", cache="c", base="b").reason


def test_a_causal_vae_encodes_the_beginning_alone(tiny_base: Path):
    assert cached.causal(Codec(tiny_base)).verdict == "pass"


def test_a_cache_is_examined_as_it_lies(tmp_path: Path):
    place = tiny.cache(tmp_path / "tiny")
    assert rows.is_cache(place)
    with rows.opened(place) as cache:
        given = Given(subject=None, teacher=None, cache=cache, base=None, size=Size.of(deep=False))
        found = {id_: check() for id_, check in of_cache.checks(cache, given, Seen())}
    assert set(found) == {"D35", "D08", "D13", "D22"}
    assert {found[id_].verdict for id_ in ("D35", "D13", "D22")} == {"pass"}


def test_a_folder_of_caches_is_one_and_another_folder_is_none(tmp_path: Path):
    tiny.cache(tmp_path / "latents" / "tiny")
    with rows.opened(tmp_path / "latents") as cache:
        shown = cache.rows(4)
        assert shown.clean.shape[0] == 3  # the held-out rows of the smallest size
        assert shown.text is not None
        assert shown.raw.shape == shown.clean.shape
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match="neither a cache"), rows.opened(tmp_path / "empty"):
        pass
    assert not rows.is_cache(tmp_path / "empty")


def test_a_file_of_latents_is_rows(tmp_path: Path):
    import safetensors.torch

    clean = randomness.normal((5, 16, 1, 4, 4), "clean")
    file = tmp_path / "latents.safetensors"
    safetensors.torch.save_file({"latents": clean, "text": TEXT[:1].expand(5, -1, -1).contiguous()}, file)
    with rows.opened(file) as cache:
        shown = cache.rows(3)
    assert torch.equal(shown.clean, clean[:3])
    assert not torch.allclose(shown.raw, shown.clean)  # Wan's statistics are undone
    safetensors.torch.save_file({"other": clean}, file)
    with pytest.raises(WrongUse, match="`latents`"), rows.opened(file):
        pass
