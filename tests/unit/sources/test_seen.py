"""Columns that grow hold what was put into them."""

import numpy as np
import pytest

from frostline.media import Measures
from frostline.sources.entries import Entry
from frostline.sources.seen import Seen, Sights
from frostline.storage import Blob

CLIP = (1, 2**64 - 1, 3)


def entry(name: str, item: str | None = None) -> Entry:
    blob = Blob(f"/media/{name}", 0, 1, "stamp")
    return Entry(locator=name, file=name, blobs=(blob,), medium=None, item=item, captions=(), attributes="{}")


def measures(*hashes: int, motion: float = 0.0) -> Measures:
    return Measures(brightness=float(hashes[0]), sharpness=0.5, motion=motion, hashes=hashes)


@pytest.fixture
def sights() -> Sights:
    """Two images and a clip between them."""
    found = Sights()
    found.add(entry("a.png"), "image", "content a", measures(7))
    found.add(entry("b.mp4", item="film"), "clip", "content b", measures(*CLIP, motion=2.5))
    found.add(entry("c.png"), "image", "content c", measures(9))
    return found


def test_what_was_seen_comes_back_as_records(sights: Sights):
    assert len(sights) == 3
    image, clip, _ = sights.columns().records()
    assert (image.locator, image.medium, image.key, image.content) == ("a.png", "image", "content a", "content a")
    assert clip == Seen(
        locator="b.mp4",
        medium="clip",
        key="film",
        content="content b",
        hashes=np.array(CLIP, np.uint64).tobytes(),
        brightness=1.0,
        sharpness=0.5,
        motion=2.5,
    )
    assert Sights().columns().records() == []


def test_hashes_of_media_with_as_many_each(sights: Sights):
    np.testing.assert_array_equal(sights.hashes(np.array([2, 0])), np.array([[9], [7]], np.uint64), strict=True)
    np.testing.assert_array_equal(sights.hashes(np.array([1])), np.array([CLIP], np.uint64), strict=True)
