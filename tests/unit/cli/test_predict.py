"""`frostline predict`: clips and folders of frames go on; wrong use is said before anything is drawn."""

import json

import numpy as np
import pytest

from frostline import media
from frostline.media import Limits
from frostline.storage import blob


def moving(frames, height=32, width=32):
    """A white bar that moves to the right, a pixel a frame."""
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    for number in range(frames):
        pixels[number, :, 4 + number : 8 + number] = 255
    return pixels


def probed(path):
    """The blobs of a clip, and what is known of it."""
    blobs = (blob(str(path.parent), path.name),)
    return blobs, media.probe(blobs, None, Limits(max_pixels=1 << 20, max_frames=99), None)


def shown(path):
    """The frames of a clip."""
    blobs, found = probed(path)
    return media.read(blobs, found.medium, range(found.extent.frames), found.pts, 1 << 20)


@pytest.fixture
def clip(tmp_path):
    media.write_lossless_mp4(tmp_path / "clip.mp4", moving(9), 8)
    return tmp_path / "clip.mp4"


def test_a_clip_goes_on_beside_what_really_followed(frostline, tiny_continuing, clip, tmp_path):
    words = ["--model", tiny_continuing, "--context", clip, "--prompt", "moving right"]
    outputs = ["--output", tmp_path / "next.mp4", "--beside", tmp_path / "both.mp4"]
    code, out, err = frostline("predict", *words, *outputs, "--at", 2, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["given_frames"], facts["made_frames"], facts["steps"]) == (1, 4, 4)
    assert shown(tmp_path / "next.mp4").shape == (4, 32, 32, 3)
    both = shown(tmp_path / "both.mp4").astype(int)
    assert both.shape == (5, 32, 66, 3)
    true = moving(9)[1:6].astype(int)
    assert np.abs(both[:, :, :32] - true).mean() < 12  # but for the codec
    assert np.abs(both[0, :, 34:] - true[0]).mean() < 12


def test_the_same_frames_as_a_folder_or_at_another_rate_give_the_same(frostline, tiny_continuing, clip, tmp_path):
    for number, frame in enumerate(moving(9)):
        media.write_png(tmp_path / "frames" / f"{number:03d}.png", frame)
    found = []
    for context, rate in ((clip, []), (tmp_path / "frames", []), (clip, ["--fps", 4])):
        path = tmp_path / f"{len(found)}.gif"
        code, _, err = frostline("predict", "--model", tiny_continuing, "--context", context, "--output", path, *rate)
        assert (code, err) == (0, "")
        found.append(shown(path))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])  # every second frame of nine: the last is the same


@pytest.mark.parametrize(("asked", "fps"), [([], 24.0), (["--fps", 12], 12.0)])
def test_what_is_made_goes_on_at_the_rate_that_was_taken(frostline, tiny_continuing, tmp_path, asked, fps):
    media.write_lossless_mp4(tmp_path / "clip.mp4", moving(9), 24)
    words = ["--model", tiny_continuing, "--context", tmp_path / "clip.mp4", "--output", tmp_path / "next.mp4"]
    assert frostline("predict", *words, *asked)[0] == 0
    assert probed(tmp_path / "next.mp4")[1].extent.fps == pytest.approx(fps)


def test_a_clip_of_another_size_is_cut_and_resized(frostline, tiny_continuing, tmp_path):
    media.write_lossless_mp4(tmp_path / "wide.mp4", moving(3, 64, 128), 8)
    code, out, _ = frostline(
        "predict", "--model", tiny_continuing, "--context", tmp_path / "wide.mp4", "--output", tmp_path / "a.gif"
    )
    assert (code, out) == (0, f"{tmp_path}/a.gif: 4 frame(s) of 32x32 after 1 of {tmp_path}/wide.mp4, seed 0\n")


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"--output": "a.png"}, 2, "a.png: the ending '.png' is no clip's; use .gif or .mp4"),
        ({"--beside": "a.avi"}, 2, "a.avi: the ending '.avi' is no clip's"),
        ({"--context": "nowhere.mp4"}, 2, "nowhere.mp4: no such clip or folder of frames"),
        ({"--at": "10"}, 2, "9 frame(s), and the model goes on from 1 before frame 10; give a longer clip"),
        ({"--fps": "4", "--at": "6"}, 2, "5 frame(s) at 4 a second"),
    ],
)
def test_wrong_use_is_said(frostline, tiny_continuing, clip, tmp_path, monkeypatch, changed, code, says):
    monkeypatch.chdir(tmp_path)
    words = {"--model": tiny_continuing, "--context": clip, "--output": "a.gif"} | changed
    found, _, err = frostline("predict", *(word for pair in words.items() for word in pair))
    assert (found, says in err) == (code, True), err
    assert not (tmp_path / "a.gif").exists()


def test_a_model_that_makes_clips_from_words_is_refused(frostline, tiny_model, clip, tmp_path):
    code, _, err = frostline("predict", "--model", tiny_model, "--context", clip, "--output", tmp_path / "a.gif")
    assert code == 1
    assert "it makes clips from words alone; sample it with `frostline sample`" in err
