"""What the captions say: how long they are, which words they use, which of them are used again and again.

A word stands between spaces, less the punctuation around it; a Chinese or Japanese character is a word of its own.
"""

import collections
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from frostline.survey.material import Source

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
PIECE = re.compile(f"[{CJK}]|[^\\s{CJK}]+")
KANA = re.compile("[\u3040-\u30ff]")
SHOWN_WORDS = 40
SHOWN_CAPTIONS = 12
# Words that are in most English captions and say nothing of what is seen.
COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has have in into is it its of on or that the their there this to "
        "up was while which who with",
    )
)


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The captions of all sources."""

    lengths: dict[str, list[int]]  # in words, of the distinct captions of a source
    distinct: int
    used: int  # all captions of all rows
    words: list[tuple[str, int]]  # the most frequent, with the number of distinct captions they are in
    repeated: list[tuple[str, int]]  # captions of several rows, with the number of rows


def survey(sources: Sequence[Source]) -> Captions:
    """Count."""
    by_source = {
        source.name: collections.Counter(caption for row in source.everything for caption in row.captions)
        for source in sources
    }
    rows = sum(by_source.values(), collections.Counter[str]())
    found = collections.Counter(word for caption in rows for word in _telling(caption))
    often = sorted(((caption, n) for caption, n in rows.items() if n > 1), key=lambda pair: (-pair[1], pair[0]))
    return Captions(
        lengths={name: [length(caption) for caption in counts] for name, counts in by_source.items()},
        distinct=len(rows),
        used=rows.total(),
        words=sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_WORDS],
        repeated=often[:SHOWN_CAPTIONS],
    )


def length(caption: str) -> int:
    """Words in a caption."""
    return sum(1 for _ in words(caption))


def words(caption: str) -> Iterator[str]:
    """The words of a caption, without case."""
    return filter(None, (_bare(piece) for piece in PIECE.findall(caption.casefold())))


def _telling(caption: str) -> Iterable[str]:
    """The distinct words that say something."""
    return {word for word in words(caption) if word not in COMMON and not KANA.fullmatch(word)}


def _bare(piece: str) -> str:
    """A piece without punctuation and symbols at its ends."""
    start, end = 0, len(piece)
    while start < end and _outside(piece[start]):
        start += 1
    while end > start and _outside(piece[end - 1]):
        end -= 1
    return piece[start:end]


def _outside(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSZC"
