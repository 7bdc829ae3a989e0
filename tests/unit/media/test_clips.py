"""Clips by their first bytes: exact frames, and nothing that opens another file."""

from pathlib import Path

import av
import numpy as np
import pytest

from frostline import media

CAP = 1_000_000


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (12, 32, 48, 3), np.uint8)


@pytest.fixture
def clip(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "clip.bin"  # the name says nothing
    media.write_lossless_mp4(path, pixels, 16)
    return path


def refusal(path: Path, max_pixels: int = CAP) -> media.Unusable:
    with pytest.raises(media.Unusable, match=path.name) as caught:
        media.measure_clip(path, max_pixels)
    return caught.value


def encode(path: Path, pixels: np.ndarray, container: str, codec: str, **options: str) -> None:
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=16)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1], "yuv420p"
        for frame in pixels:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))


def test_frames_are_counted_and_come_back_exactly(clip: Path, pixels: np.ndarray):
    assert media.measure_clip(clip, CAP) == media.Extent(width=48, height=32, frames=12, fps=16.0)
    np.testing.assert_array_equal(media.read_clip(clip, 0, 12, CAP), pixels)
    np.testing.assert_array_equal(media.read_clip(clip, 5, 5, CAP), pixels[5:10])


def test_a_window_beyond_the_end_is_refused(clip: Path):
    with pytest.raises(media.Unusable, match="before frame 13") as caught:
        media.read_clip(clip, 8, 5, CAP)
    assert caught.value.reason == "too_short"


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libx264"), ("avi", "mpeg4"), ("mov", "libx264")])
def test_other_containers_are_known(tmp_path: Path, pixels: np.ndarray, container: str, codec: str):
    encode(tmp_path / "clip", pixels, container, codec)
    assert media.clip_format(tmp_path / "clip") == container
    assert media.measure_clip(tmp_path / "clip", CAP).frames == 12


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile clip.bin\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.bin\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_named_mp4_opens_nothing(clip: Path, playlist: str):
    path = clip.with_name("list.mp4")
    path.write_text(playlist)
    assert refusal(path).reason == "not_a_clip"


def test_a_playlist_behind_magic_bytes_opens_nothing(clip: Path):
    path = clip.with_name("list.mp4")
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0ffconcat version 1.0\nfile clip.bin\n")
    assert refusal(path).reason == "unreadable"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_off_clip_is_refused(tmp_path: Path, pixels: np.ndarray, share: float):
    path = tmp_path / "clip.mp4"
    encode(path, pixels, "mp4", "libx264", movflags="faststart")  # the index first: only the frames are cut
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path).reason == "unreadable"


def test_headers_over_the_cap_are_refused(clip: Path):
    assert media.measure_clip(clip, 48 * 32).frames == 12
    assert refusal(clip, 48 * 32 - 1).reason == "too_many_pixels"


def test_other_files_are_refused_by_reason(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no clip")
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        assert isinstance(stream, av.AudioStream)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        output.mux(stream.encode(sound))
        output.mux(stream.encode(None))
    assert refusal(tmp_path / "text.mp4").reason == "not_a_clip"
    assert refusal(tmp_path / "sound.mp4").reason == "not_a_clip"
    assert refusal(tmp_path / "absent.mp4").reason == "absent"


def test_a_clip_filmed_upright_is_turned(clip: Path, pixels: np.ndarray):
    identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    clockwise = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30], ">i4").tobytes()
    data = clip.read_bytes()
    place = data.rindex(identity)  # that of the track, after that of the film
    clip.write_bytes(data[:place] + clockwise + data[place + 36 :])
    assert media.measure_clip(clip, CAP) == media.Extent(width=32, height=48, frames=12, fps=16.0)
    np.testing.assert_array_equal(media.read_clip(clip, 3, 1, CAP)[0], np.rot90(pixels[3], -1))


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
    assert abs(media.read_clip(path, 0, 1, CAP)[0, 300, 30].astype(int) - colour).max() <= 3
