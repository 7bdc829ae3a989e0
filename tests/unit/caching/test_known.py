from pathlib import Path

import numpy as np
import pytest

from frostline.caching import known
from frostline.caching.known import Ids, Known

ROOT = Path("pool")


class Held:
    """A pool of which the test says what is in it."""

    def __init__(self):
        self.files = {}
        self.asked = []

    def put(self, name, *ids, counts=None):
        keys = np.array([[one, one] for one in ids], np.uint64).reshape(-1, 2)
        self.files[name] = Ids(keys=keys, counts=np.array(counts or [1] * len(ids), np.int32))

    def parts(self, kind, but=frozenset()):
        return [ROOT / name for name in sorted(self.files) if name.startswith(kind) and name not in but]

    def fresh(self, kind, but=frozenset()):
        return self.parts(f"fresh/{kind}", but)

    def ids(self, path):
        self.asked.append(self.name(path))
        return self.files[self.name(path)]

    def name(self, path):
        return path.relative_to(ROOT).as_posix()


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def seen(held):
    return Known(held, "captions", "captions")


def wanted(*ids):
    return np.array([[one, one] for one in ids], np.uint64).reshape(-1, 2)


def places(found):
    """File, first row and number of rows of each id; None of what is missing."""
    each = zip(found.file.tolist(), found.start.tolist(), found.count.tolist(), strict=True)
    return [None if file < 0 else (str(found.paths[file].relative_to(ROOT)), start, n) for file, start, n in each]


def test_ids_are_found_where_they_lie_and_parts_are_preferred_to_units(held, seen):
    held.put("captions/a", 1, 2, counts=[3, 4])
    held.put("fresh/captions/u", 2, 3)
    seen.look()
    found = seen.find(wanted(3, 2, 9, 1))
    assert places(found) == [("fresh/captions/u", 1, 1), ("captions/a", 3, 4), None, ("captions/a", 0, 3)]
    assert found.missing.tolist() == [2]
    assert found.unsettled.tolist() == [0, 2]


def test_every_file_is_asked_once(held, seen):
    held.put("captions/a", 1)
    seen.look()
    held.put("captions/b", 2)
    seen.look()
    assert held.asked == ["captions/a", "captions/b"]
    assert places(seen.find(wanted(1, 2))) == [("captions/a", 0, 1), ("captions/b", 0, 1)]


def test_units_are_forgotten_when_parts_have_their_ids_and_those_of_a_process_ahead_are_looked_at_again(held, seen):
    seen.look()
    held.put("fresh/captions/mine", 1, 2)
    held.put("fresh/captions/ahead", 3)
    seen.look_at_units()
    assert places(seen.find(wanted(1, 3))) == [("fresh/captions/mine", 0, 1), ("fresh/captions/ahead", 0, 1)]
    held.put("captions/p", 1, 2)
    seen.settle(wanted(1, 2), [(ROOT / "captions/p", wanted(2), np.array([1]))])
    assert places(seen.find(wanted(1, 2, 3))) == [None, ("captions/p", 1, 1), None]
    held.asked.clear()
    seen.look()
    assert held.asked == ["fresh/captions/ahead"]
    assert places(seen.find(wanted(3))) == [("fresh/captions/ahead", 0, 1)]


def test_many_looks_are_put_together(held, seen):
    for number in range(3 * known.MERGED):
        held.put(f"captions/{number:03d}", number)
        seen.look()
        seen.settle(wanted(), [(ROOT / f"captions/x{number}", wanted(100 + number), np.array([7]))])
    found = places(seen.find(wanted(*range(3 * known.MERGED), 100, 123)))
    assert found[:3] == [("captions/000", 0, 1), ("captions/001", 0, 1), ("captions/002", 0, 1)]
    assert found[-2:] == [("captions/x0", 7, 1), ("captions/x23", 7, 1)]
