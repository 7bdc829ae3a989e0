import shutil

import pytest

from frostline import caching, digests, files
from frostline.caching.pool import Pool
from frostline.caching.shards import Share
from frostline.codec import Codec
from frostline.errors import Refused
from frostline.manifest import Columns, Row
from frostline.store.layout import MANIFEST
from tests import tiny
from tests.unit.caching.rows import pixels, prompt, row

SETTINGS = tiny.cache_params(preview_prompts=["zero"], stored_dtype="bfloat16")
ROWS = [
    *(row(n, caption=("one", "two", f"number {n}")[n % 3], item=f"item-{n // 2}") for n in range(30)),
    *(row(n, frames=5, caption="three moving left") for n in (30, 31, 32)),
    prompt(33, "four"),
]
SHARES = 3


@pytest.fixture(scope="module")
def codec(tiny_base):
    return Codec(tiny_base)


def columns():
    return Columns.of(Row, ROWS)


def make(codec, folder, shares=None, rows=None):
    """Make the cache of the rows below a folder with a pool of its own; gives the items that were encoded."""
    asked = []

    def counted(given):
        asked.append(given.item)
        return pixels(given)

    pool = Pool(folder / "pool", codec.latent_space)
    made = rows or columns()
    caching.write_source("tiny", made, counted, codec, SETTINGS, pool, folder / "tiny", shares=shares)
    return sorted(asked)


def share(codec, folder, number, of=SHARES):
    """Make a share as a worker does, with a pool of its own, and bring what it wrote to a folder of shares."""
    dealt = Share(columns(), number, of)
    pool = Pool(folder / f"worker-{number}", codec.latent_space)
    return caching.write_share("tiny", dealt, pixels, codec, SETTINGS, pool, folder / "shares" / str(number))


@pytest.fixture(scope="module")
def whole(codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    make(codec, folder)
    return folder / "tiny"


@pytest.fixture(scope="module")
def dealt(codec, tmp_path_factory):
    """All shares of the rows."""
    folder = tmp_path_factory.mktemp("dealt")
    for number in range(1, SHARES + 1):
        share(codec, folder, number)
    return folder / "shares"


def test_every_row_is_in_one_share_and_those_of_an_item_are_together():
    each = [Share(columns(), number, 4) for number in (1, 2, 3, 4)]
    shares = [[one for part in dealt.parts() for one in part.records()] for dealt in each]
    assert sorted(one.id for of_one in shares for one in of_one) == sorted(one.id for one in ROWS)
    items = [{one.item for one in of_one} for of_one in shares]
    assert sum(map(len, items)) == len({one.item for one in ROWS})
    assert [len(share) for share in each] == [len(of_one) for of_one in shares]
    assert all(shares)


def test_columns_of_a_share_are_those_of_its_rows():
    names = [one for part in Share(columns(), 1, 2).parts(["id"]) for one in part.values("id")]
    assert names == [one.id for part in Share(columns(), 1, 2).parts() for one in part.records()]


def test_with_all_shares_nothing_is_encoded_and_the_bytes_are_those_without(codec, whole, dealt, tmp_path):
    assert make(codec, tmp_path, dealt) == []
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(whole)
    listed = {part["name"] for part in files.read_json(tmp_path / "tiny" / MANIFEST)["parts"]}
    kept = {path.relative_to(tmp_path / "pool").as_posix() for path in (tmp_path / "pool").rglob("*.parquet")}
    assert kept == listed


def test_without_one_share_its_rows_alone_are_encoded_to_the_same_bytes(codec, whole, dealt, tmp_path):
    shutil.copytree(dealt, tmp_path / "shares")
    shutil.rmtree(tmp_path / "shares" / "2")
    missing = [one.item for part in Share(columns(), 2, SHARES).parts() for one in part.records() if one.frames]
    assert make(codec, tmp_path, tmp_path / "shares") == sorted(missing)
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(whole)


def test_a_folder_without_shares_is_as_none(codec, whole, tmp_path):
    make(codec, tmp_path, tmp_path / "nothing")
    assert digests.of_folder(tmp_path / "tiny") == digests.of_folder(whole)


def test_a_share_is_the_same_whatever_its_worker_encoded_before(codec, dealt, tmp_path):
    make(codec, tmp_path)
    pool = Pool(tmp_path / "pool", codec.latent_space)
    caching.write_share("tiny", Share(columns(), 1, SHARES), pixels, codec, SETTINGS, pool, tmp_path / "share")
    assert digests.of_folder(tmp_path / "share") == digests.of_folder(dealt / "1")


def test_a_share_without_rows_is_a_cache_without_parts(codec, tmp_path):
    many = 1000
    empty = next(number for number in range(1, many) if not len(Share(columns(), number, many)))
    made = share(codec, tmp_path, empty, many)
    assert (made["parts"], made["rows"]) == ([], {})
    make(codec, tmp_path, tmp_path / "shares")


def test_shares_that_differ_from_their_manifest_are_refused_by_name(codec, dealt, tmp_path):
    shutil.copytree(dealt, tmp_path / "shares")
    part = min((tmp_path / "shares" / "1" / "items" / "1x16x16").iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(Refused, match=rf"{part.name}: digest \w+ is not"):
        make(codec, tmp_path, tmp_path / "shares")
    part.unlink()
    with pytest.raises(Refused, match=f"{part.name}: missing"):
        make(codec, tmp_path, tmp_path / "shares")
    assert not (tmp_path / "tiny").exists()


def test_shares_of_another_base_are_refused(other_base, dealt, tmp_path):
    with pytest.raises(Refused, match=r"(?s)do not belong together.*vae_digest"):
        make(Codec(other_base), tmp_path, dealt)
