"""Ranges of one file are cut and joined without a byte lost, doubled or moved."""

import itertools

import hypothesis
from hypothesis import strategies

from frostline.storage import ranges

DATA = bytes(range(251)) * 8
WANTED = strategies.lists(strategies.tuples(strategies.integers(0, 1900), strategies.integers(0, 107)), max_size=12)


def views(wanted: list[tuple[int, int]]) -> tuple[list[bytearray], ranges.Wanted]:
    found = [bytearray(length) for _, length in wanted]
    return found, [(place, memoryview(data)) for (place, _), data in zip(wanted, found, strict=True)]


@hypothesis.given(wanted=WANTED, most=strategies.integers(1, 300), gap=strategies.integers(0, 40))
def test_pieces_fill_every_view_and_are_no_longer_than_said(wanted: list[tuple[int, int]], most: int, gap: int):
    found, asked = views(wanted)
    pieces = list(ranges.pieces(asked, most, gap))
    for piece in pieces:
        assert 0 < piece.length <= most
        piece.deal(memoryview(DATA)[piece.start : piece.start + piece.length])
    assert found == [DATA[place : place + length] for place, length in wanted]
    covered = {place + byte for place, length in wanted for byte in range(length)}
    assert sum(piece.length for piece in pieces) <= len(covered) + gap * len(covered)


@hypothesis.given(wanted=WANTED, gap=strategies.integers(0, 40))
def test_pieces_are_as_few_as_the_gap_allows(wanted: list[tuple[int, int]], gap: int):
    pieces = sorted((piece.start, piece.length) for piece in ranges.pieces(views(wanted)[1], 1 << 20, gap))
    for (start, length), (following, _) in itertools.pairwise(pieces):
        assert following > start + length + gap


@hypothesis.given(wanted=WANTED, size=strategies.integers(1, 300))
def test_cells_lie_on_a_grid(wanted: list[tuple[int, int]], size: int):
    found, asked = views(wanted)
    for number, inside in ranges.cells(asked, size).items():
        for place, view in inside:
            assert 0 <= place < place + len(view) <= size
            view[:] = DATA[number * size + place : number * size + place + len(view)]
    assert found == [DATA[place : place + length] for place, length in wanted]
