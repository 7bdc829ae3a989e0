import numpy as np
import pyarrow as pa
import pytest

from frostline import digests
from frostline.store import keys

DIGESTS = [digests.of_bytes(bytes([n])) for n in range(200)]


def test_a_digest_is_its_own_key():
    found = keys.of(pa.array(DIGESTS))
    assert found.shape == (200, 2)
    assert found.tobytes().hex() == "".join(DIGESTS)
    assert keys.is_of(found[7], memoryview(b"\x07"))
    assert not keys.is_of(found[7], memoryview(b"\x08"))


@pytest.mark.parametrize("cut", [slice(0, 0), slice(3, 50), slice(199, 200)])
def test_a_slice_of_a_column_has_its_own_keys(cut):
    column = pa.chunked_array([DIGESTS[:40], DIGESTS[40:]])[cut]
    assert np.array_equal(keys.of(column), keys.of_texts(DIGESTS[cut]))


def test_texts_that_are_no_digests_have_keys_too_beside_those_that_are():
    mixed = ["", "text-1", *DIGESTS[:2], "z" * 32]
    found = keys.of(pa.array(mixed))
    assert len({row.tobytes() for row in found}) == len(mixed)
    assert np.array_equal(found[2:4], keys.of(pa.array(DIGESTS[:2])))
    assert found[1].tobytes().hex() == digests.of_bytes(b"text-1")


def test_keys_are_found_where_they_stand_and_others_nowhere():
    known, wanted = keys.of_texts(DIGESTS[:150]), keys.of_texts([DIGESTS[149], DIGESTS[150], DIGESTS[0], DIGESTS[7]])
    assert keys.Index(known).find(wanted).tolist() == [149, -1, 0, 7]
    assert keys.Index(known[:0]).find(wanted).tolist() == [-1] * 4
    assert keys.Index(known).find(wanted[:0]).tolist() == []


def test_keys_that_agree_in_their_first_half_alone_are_not_the_same():
    known = keys.of_texts(DIGESTS)
    other = known[:1].copy()
    other[0, 1] += np.uint64(1)
    assert keys.Index(known).find(other).tolist() == [-1]
