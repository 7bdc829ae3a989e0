"""Where the rows of a part lie in its file: in pieces, as its row groups are."""

import bisect
from collections.abc import Iterator, Sequence

NOWHERE = -1  # in place of an open file: the system alone cannot read these rows


class Pieces:
    """Rows that lie one after another, in one piece or several."""

    def __init__(self, first: Sequence[int], places: Sequence[int], width: int) -> None:
        """``first`` is the first row of each piece, and the row count at the end; ``places`` their first bytes.

        ``width`` is the bytes of a row.
        """
        self.first, self.places, self.width = first, places, width

    def ranges(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """Place and length of each stretch of bytes that rows lie in."""
        end = start + count
        while start < end:
            piece = bisect.bisect_right(self.first, start) - 1
            here = min(end, self.first[piece + 1]) - start
            yield self.places[piece] + (start - self.first[piece]) * self.width, here * self.width
            start += here
