"""Clips by their first bytes: exact frames at their times, wherever reading begins."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from frostline import media
from frostline.media import clips, kinds
from tests.unit.media.looking import LIMITS, blob, clip, probe, refusal


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (12, 32, 48, 3), np.uint8)


@pytest.fixture
def lossless(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "clip.bin"  # the name says nothing
    media.write_lossless_mp4(path, pixels, 16)
    return path


def moving(frames: int) -> np.ndarray:
    """Noise that drifts, with a little of its own in each frame: (T, 64, 96, 3)."""
    random = np.random.default_rng(1)
    ground = random.integers(0, 220, (10, 40, 3)).repeat(8, 0).repeat(8, 1)
    shown = [ground[:64, 2 * k % 200 : 2 * k % 200 + 96] + random.integers(0, 30, (64, 96, 3)) for k in range(frames)]
    return np.stack(shown).astype(np.uint8)


def encode(
    path: Path,
    pixels: np.ndarray,
    container: str = "mp4",
    codec: str = "libx264",
    layout: str = "yuv420p",
    pts: list[int] | None = None,
    muxing: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip at 16 frames a second, or with these times in 48ths of one."""
    with av.open(str(path), "w", format=container, options=muxing or {}) as output:
        stream = output.add_stream(codec, rate=48 if pts else 16, options={"threads": "1", **(options or {})})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1], layout
        for number, frame in enumerate(pixels):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if pts:
                picture.pts, picture.time_base = pts[number], Fraction(1, 48)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def all_frames(path: Path) -> np.ndarray:
    """Decoded from the start by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_frames_are_counted_and_come_back_exactly(lossless: Path, pixels: np.ndarray):
    found = probe(lossless)
    assert found.extent == media.Extent(width=48, height=32, frames=12, fps=16.0)
    assert [time * Fraction(*found.time_base) for time in found.pts] == [Fraction(k, 16) for k in range(12)]
    np.testing.assert_array_equal(clip(lossless, 0, 12), pixels)
    np.testing.assert_array_equal(clip(lossless, 5, 5), pixels[5:10])


def test_frames_shown_twice_come_twice(lossless: Path, pixels: np.ndarray):
    pts, shown = probe(lossless).pts, (2, 2, 3, 5, 5, 9)
    found = media.read([blob(lossless)], "clip", shown, [pts[number] for number in shown], LIMITS.max_pixels)
    np.testing.assert_array_equal(found, pixels[list(shown)])


GOP = {"g": "12", "bf": "3"}
SEEKING = {
    "closed, mp4": ("mp4", "libx264", GOP, {}),
    "open, mp4": ("mp4", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}, {}),
    "rolling refresh": ("mp4", "libx264", {"x264-params": "keyint=12:bframes=0:intra-refresh=1"}, {}),
    "one key frame": ("mp4", "libx264", {"g": "1000", "bf": "3"}, {}),
    "fragments": ("mp4", "libx264", GOP, {"movflags": "frag_keyframe+empty_moov"}),
    "open, hevc": ("mp4", "libx265", {"x265-params": "keyint=12:bframes=3:open-gop=1:log-level=0:pools=1"}, {}),
    "matroska": ("matroska", "libx264", GOP, {}),
    "matroska without an index": ("matroska", "libx264", GOP, {"live": "1"}),
    "matroska, mpeg2": ("matroska", "mpeg2video", {"g": "12", "bf": "2"}, {}),
    "matroska, mpeg4": ("matroska", "mpeg4", {"g": "12", "bf": "2"}, {}),
    "webm": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}, {}),
    "avi": ("avi", "mpeg4", {"g": "12"}, {}),
    "avi, b-frames": ("avi", "mpeg4", {"g": "12", "bf": "2"}, {}),
}


@pytest.mark.parametrize("kind", SEEKING)
def test_seeking_gives_the_pixels_of_decoding_from_the_start(tmp_path: Path, kind: str):
    container, codec, options, muxing = SEEKING[kind]
    path = encode(tmp_path / "clip", moving(60), container, codec, muxing=muxing, options=options)
    whole, found = all_frames(path), probe(path)
    assert found.extent.frames == len(whole) == 60
    for first, count in ((0, 5), (9, 5), (11, 5), (12, 5), (13, 1), (22, 1), (23, 5), (37, 5), (20, 30)):
        shown = range(first, first + count)
        read = media.read([blob(path)], "clip", shown, [found.pts[k] for k in shown], LIMITS.max_pixels)
        np.testing.assert_array_equal(read, whole[first : first + count], err_msg=f"from {first}")


def test_seeking_decodes_only_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = encode(tmp_path / "clip", moving(60), options=GOP)
    pts, decoded, frames = probe(path).pts, [], clips.Clip.frames
    monkeypatch.setattr(clips.Clip, "frames", lambda self: (decoded.append(frame) or frame for frame in frames(self)))
    media.read([blob(path)], "clip", range(40, 45), pts[40:45], LIMITS.max_pixels)
    assert len(decoded) <= 12  # from the key frame 36 on


def test_a_window_beyond_the_end_and_other_times_are_refused(lossless: Path):
    pts = probe(lossless).pts
    for shown, times, reason in ((range(13), range(13), "too_short"), (range(2, 4), (pts[2], pts[3] + 1), "changed")):
        with pytest.raises(media.Unusable, match=lossless.name) as caught:
            media.read([blob(lossless)], "clip", shown, times, LIMITS.max_pixels)
        assert caught.value.reason == reason


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libx264"), ("avi", "mpeg4"), ("mov", "libx264")])
def test_other_containers_are_known(tmp_path: Path, pixels: np.ndarray, container: str, codec: str):
    path = encode(tmp_path / "clip", pixels, container, codec)
    with kinds.opened(blob(path)) as opened:
        assert kinds.clip_format(opened.head) == container
    found = probe(path)
    assert (found.medium, found.extent.frames, found.extent.fps) == ("clip", 12, 16.0)


def test_uneven_times_are_kept(tmp_path: Path, pixels: np.ndarray):
    times = [0, 1, 2, 10, 12, 13, 30, 31, 40, 47, 90, 96]
    for container in ("mp4", "matroska"):
        path = encode(tmp_path / container, pixels, container, pts=times)
        found = probe(path)
        seconds = [float(time * Fraction(*found.time_base)) for time in found.pts]
        np.testing.assert_allclose(seconds, np.array(times) / 48, atol=0.001)
        assert found.extent.fps == pytest.approx(11 / 2, rel=0.01)
        np.testing.assert_array_equal(clip(path, 6, 3), all_frames(path)[6:9])


def test_without_rising_times_frames_are_numbered():
    base, rate = Fraction(1, 1000), Fraction(25)
    assert clips.times([-40, 0, 40], base, rate) == ([-40, 0, 40], base)
    for seen in ([0, 40, 40, 80], [0, 80, 40, 120], [0, None, 80, 120], [None] * 4):
        assert clips.times(seen, base, rate) == ([0, 1, 2, 3], Fraction(1, 25))
    assert clips.times([0, 0], base, None) == ([0, 1], Fraction(0))


def test_the_rate_is_that_of_the_frames():
    assert clips.frame_rate(range(0, 1001, 40), Fraction(1, 1000), Fraction(25)) == 25
    assert clips.frame_rate([0, 33, 67, 100], Fraction(1, 1000), Fraction(30000, 1001)) == 30000 / 1001
    assert clips.frame_rate(range(0, 1001, 40), Fraction(1, 1000), Fraction(60)) == 25  # a header that is wrong
    assert clips.frame_rate([5], Fraction(1, 1000), Fraction(12)) == 12
    assert clips.frame_rate([0, 1], Fraction(0), None) == 0


def test_repeated_times_in_a_file(tmp_path: Path, pixels: np.ndarray):
    """An index whose steps are all zero: the frames are all there, and none has a time."""
    path = encode(tmp_path / "clip", pixels, options={"bf": "0"})
    data = path.read_bytes()
    place = data.index(b"stts") + 12  # count, step
    path.write_bytes(data[: place + 4] + bytes(4) + data[place + 8 :])
    found = probe(path)
    assert found.extent.frames == 12
    assert list(found.pts) == sorted(set(found.pts))
    np.testing.assert_array_equal(clip(path, 4, 5), all_frames(path)[4:9])


def test_a_playlist_behind_magic_bytes_opens_nothing(lossless: Path):
    path = lossless.with_name("list.mp4")
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0ffconcat version 1.0\nfile clip.bin\n")
    assert refusal(path).reason == "unreadable"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("container", ["mp4", "matroska", "avi", "gif"])
def test_a_cut_off_clip_is_refused(tmp_path: Path, pixels: np.ndarray, container: str, share: float):
    path = tmp_path / "clip"
    if container == "gif":
        media.write_gif(path, pixels, 16)
    else:
        muxing = {"movflags": "faststart"} if container == "mp4" else {}  # the index first: only the frames are cut
        encode(path, pixels, container, "mpeg4" if container == "avi" else "libx264", muxing=muxing)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path, "clip").reason == "unreadable"


def test_what_is_over_a_limit_is_refused(lossless: Path):
    at_most = media.Limits(max_pixels=48 * 32, max_frames=12)
    assert probe(lossless, limits=at_most).extent.frames == 12
    fewer_pixels = media.Limits(max_pixels=48 * 32 - 1, max_frames=12)
    fewer_frames = media.Limits(max_pixels=48 * 32, max_frames=11)
    assert refusal(lossless, limits=fewer_pixels).reason == "too_many_pixels"
    assert refusal(lossless, limits=fewer_frames).reason == "too_many_frames"


def test_a_clip_filmed_upright_is_turned(lossless: Path, pixels: np.ndarray):
    before = probe(lossless).measures
    identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    clockwise = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30], ">i4").tobytes()
    data = lossless.read_bytes()
    place = data.rindex(identity)  # that of the track, after that of the film
    lossless.write_bytes(data[:place] + clockwise + data[place + 36 :])
    found = probe(lossless)
    assert found.extent == media.Extent(width=32, height=48, frames=12, fps=16.0)
    assert found.measures.hashes != before.hashes
    np.testing.assert_array_equal(clip(lossless, 3, 1)[0], np.rot90(pixels[3], -1))
    media.write_lossless_mp4(lossless, np.rot90(pixels, -1, axes=(1, 2)), 16)
    assert probe(lossless).measures.hashes == found.measures.hashes


@pytest.mark.parametrize("tagged", [True, False])
def test_hd_colours_are_read_as_bt709(tmp_path: Path, tagged: bool):
    from av.video.reformatter import Colorspace

    colour, path = (200, 30, 90), tmp_path / "hd.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=16, options={"crf": "4"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 720, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((720, 64, 3), colour, np.uint8), format="rgb24")
        frame = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        if tagged:
            stream.codec_context.colorspace = frame.colorspace = Colorspace.ITU709
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert abs(clip(path, 0, 1)[0, 300, 30].astype(int) - colour).max() <= 3


def test_transparency_lies_over_white(tmp_path: Path):
    from PIL import Image

    first = Image.new("RGBA", (16, 16), (200, 0, 0, 255))
    first.paste((0, 0, 0, 0), (0, 0, 8, 16))
    second = Image.new("RGBA", (16, 16), (0, 0, 200, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], disposal=2)
    found = clip(tmp_path / "a.gif", 0, 2)
    assert found[0, 8, [2, 12]].tolist() == [[255, 255, 255], [200, 0, 0]]
    assert found[1, 8, 12].tolist() == [0, 0, 200]
    assert probe(tmp_path / "a.gif").measures.brightness == 255
