import hypothesis
import pyarrow as pa
import pytest
import xxhash
from hypothesis import strategies

from frostline import codec, digests
from frostline.caching import columns, wanted
from tests import tiny

TEXTS = ["", "a", "two words", "grüße", "\x00", "x" * 1000]


@pytest.mark.parametrize("column", [pa.array(TEXTS), pa.chunked_array([TEXTS[:2], TEXTS[2:]]), pa.array(TEXTS)[2:5]])
def test_digests_of_a_column_are_those_of_its_texts(column):
    texts = column.to_pylist()
    assert columns.digests(column).to_pylist() == [digests.of_bytes(text.encode()) for text in texts]
    assert columns.draws(column).tolist() == [xxhash.xxh3_64_intdigest(text.encode()) / 2.0**64 for text in texts]


def test_columns_without_rows_have_no_digests():
    assert columns.digests(pa.array([], pa.string())).to_pylist() == []
    assert columns.draws(pa.array([], pa.string())).tolist() == []


def test_columns_are_joined_with_spaces():
    assert columns.joined("how", pa.array([1, -2]), pa.array(["a", ""])).to_pylist() == ["how 1 a", "how -2 "]


@hypothesis.given(strategies.lists(strategies.one_of(strategies.text(), strategies.text("ab &\t\n;lt"))))
def test_captions_are_read_as_the_codec_cleans_them(captions):
    params, space = tiny.cache_params(), tiny.space()
    ids = wanted.of_captions(pa.array(captions, pa.string()), space, params, "cpu").to_pylist()
    plain = [wanted.text_id(codec.clean(caption), space, params, "cpu") for caption in captions]
    assert ids == plain


TABLE = pa.table(
    {
        "text": [f"{number:05d}" for number in range(100)],
        "list": [[f"a{number}"] * (number % 3) for number in range(100)],
        "number": list(range(100)),
    }
)


def test_a_table_has_one_digest_however_it_came_about():
    ways = [
        TABLE.slice(10, 50),
        TABLE.slice(10, 50).combine_chunks(),
        TABLE.take(pa.array(range(10, 60))),
        pa.concat_tables([TABLE.slice(10, 20), TABLE.slice(30, 30)]),
        pa.Table.from_pylist(TABLE.slice(10, 50).to_pylist(), schema=TABLE.schema),
    ]
    assert len({columns.digest(way) for way in ways}) == 1


@pytest.mark.parametrize(
    "other",
    [
        TABLE.slice(0, 99),
        TABLE.rename_columns(["text", "list", "other"]),
        TABLE.set_column(2, "number", TABLE["number"].cast(pa.float64())),
        TABLE.set_column(1, "list", [TABLE["list"].to_pylist()[::-1]]),
        TABLE.set_column(0, "text", [["0", "000100001", *TABLE["text"].to_pylist()[2:]]]),
    ],
)
def test_another_table_has_another_digest(other):
    assert columns.digest(other) != columns.digest(TABLE)
