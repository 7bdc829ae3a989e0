import pydantic
import pytest

from frostline import records
from frostline.errors import WrongUse


class Inner(records.Record):
    rate: float


class Outer(records.Record):
    name: str
    sizes: tuple[int, ...]
    inner: Inner


RIGHT = {"name": "a", "sizes": [1, 2], "inner": {"rate": 0.5}}


def test_a_record_never_changes_and_compares_by_value():
    first, second = (records.parse(Outer, RIGHT, origin="file") for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first.sizes == (1, 2)
    with pytest.raises(pydantic.ValidationError):
        first.name = "b"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**RIGHT, "nmae": 1}, ["file: ", "unknown key 'part.nmae'", "1"]),
        ({"name": "a", "sizes": [1]}, ["missing key 'part.inner'"]),
        ({**RIGHT, "inner": {"rate": "fast"}}, ["key 'part.inner.rate'", "'fast'"]),
        ({**RIGHT, "sizes": [1, "2"]}, ["key 'part.sizes.1'", "'2'"]),
        ({**RIGHT, "name": 3, "inner": {}}, ["key 'part.name'", "missing key 'part.inner.rate'"]),
    ],
)
def test_every_wrong_key_is_named(values, words):
    with pytest.raises(WrongUse) as caught:
        records.parse(Outer, values, origin="file", prefix="part")
    for word in words:
        assert word in str(caught.value)


def test_a_number_in_quotes_is_not_a_number():
    with pytest.raises(WrongUse, match=r"inner\.rate"):
        records.parse(Outer, {**RIGHT, "inner": {"rate": "0.5"}}, origin="file")
