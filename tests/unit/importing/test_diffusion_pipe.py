"""Configs of diffusion-pipe: what its keys mean is what the sources say, and what cannot be honoured is named."""

import functools

import pytest

from frostline import errors
from frostline.params.sources import SidecarParams
from tests.unit.importing.conftest import only

PATH = "[[directory]]\npath = 'media/takes'\n"
ASPECTS = "enable_ar_bucket = true\nmin_ar = 0.5\nmax_ar = 2.0\nnum_ar_buckets = 3\n"


@pytest.fixture
def read(import_text):
    return functools.partial(import_text, "diffusion-pipe")


def test_a_folder_of_images(read):
    source = read("resolutions = [512]\n" + PATH).sources["takes"]
    assert isinstance(source, SidecarParams)
    assert (source.path, source.extension, source.lines) == ("media/takes", ".txt", "one_caption")
    assert source.buckets == ((1, 512, 512),)
    assert source.clips.fps is None
    assert source.max_rejected == 0


def test_aspects_are_spaced_evenly_in_the_logarithm_and_keep_the_area(read):
    source = only(read("resolutions = [512]\n" + ASPECTS + PATH))
    assert source.buckets == ((1, 720, 368), (1, 512, 512), (1, 368, 720))


@pytest.mark.parametrize(
    ("keys", "buckets"),
    [
        ("ar_buckets = [1.0, 2.0]", ((1, 512, 512), (1, 368, 720))),
        ("ar_buckets = [[448, 576]]", ((1, 576, 448),)),  # 512 squared at 448 : 576, and 580.6 is nearest to 576
    ],
)
def test_aspects_may_be_listed(read, keys, buckets):
    assert only(read("resolutions = [512]\nenable_ar_bucket = true\n" + keys + "\n" + PATH)).buckets == buckets


def test_a_pair_is_an_area(read):
    assert only(read("resolutions = [[1280, 720]]\n" + PATH)).buckets == ((1, 960, 960),)
    wide = "enable_ar_bucket = true\nar_buckets = [[1280, 720]]\n"
    assert only(read("resolutions = [[1280, 720]]\n" + wide + PATH)).buckets == ((1, 720, 1280),)


def test_every_resolution_is_a_source(read):
    imported = read("resolutions = [256, 512]\n" + PATH)
    assert {name: source.buckets for name, source in imported.sources.items()} == {
        "takes-256px": ((1, 256, 256),),
        "takes-512px": ((1, 512, 512),),
    }


def test_there_is_always_a_length_of_images(read):
    source = only(read("resolutions = [256]\nframe_buckets = [33, 65]\n" + PATH))
    assert [frames for frames, _, _ in source.buckets] == [1, 33, 65]
    assert (source.clips.fps, source.clips.window_choice, source.clips.use_sliding_window) == (16.0, "first", False)


def test_sizes_may_be_listed(read):
    source = only(read("size_buckets = [[512, 256, 33], [512, 256, 1], [250, 512, 33]]\nresolutions = [64]\n" + PATH))
    assert source.buckets == ((33, 256, 512), (1, 256, 512), (33, 512, 256))


def test_a_directory_says_it_anew(read):
    second = (
        "[[directory]]\npath = 'media/takes/'\nresolutions = [256]\nframe_buckets = [1]\nenable_ar_bucket = false\n"
    )
    imported = read("resolutions = [512]\nframe_buckets = [1, 33]\n" + ASPECTS + PATH + second)
    assert len(imported.sources["takes"].buckets) == 6
    assert imported.sources["takes-2"].buckets == ((1, 256, 256),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_repeats", "5"),
        ("num_repeats", "0.5"),
        ("mask_path", "'m'"),
        ("default_mask_file", "'m.png'"),
        ("control_path", "'c'"),
        ("caption_prefix", "'a photo of '"),
        ("shuffle_tags", "true"),
        ("cache_shuffle_num", "10"),
        ("skip_empty_caption", "false"),
        ("online_captions", "true"),
        ("subsample_ratio", "0.5"),
    ],
)
def test_what_would_change_the_data_is_refused_by_key_and_value(read, key, value):
    shown = value.replace("true", "True").replace("false", "False")
    for text, name in (
        (f"resolutions = [64]\n{PATH}{key} = {value}\n", f"directory.0.{key}"),
        (f"resolutions = [64]\n{key} = {value}\n{PATH}", key),
    ):
        with pytest.raises(errors.WrongUse) as caught:
            read(text)
        assert str(caught.value).startswith(f"dataset.toml: key '{name}' has the value {shown}: ")


def test_values_that_change_nothing_are_taken(read):
    text = "num_repeats = 1.0\nshuffle_tags = false\ncache_shuffle_num = 0\n"
    text += "skip_empty_caption = true\ncaption_prefix = ''\n"
    assert read("resolutions = [64]\n" + text + PATH).sources == read("resolutions = [64]\n" + PATH).sources


@pytest.mark.parametrize("key", ["shuffle_metadata = false", "cache_shuffle_delimiter = ';'"])
def test_what_means_nothing_here_is_noted(read, key):
    bare, noted = read("resolutions = [64]\n" + PATH), read("resolutions = [64]\n" + PATH + key)
    assert noted.sources == bare.sources
    assert [note.split(":")[0] for note in noted.notes if note not in bare.notes] == [key.split(" ")[0]]


def test_captions_in_one_file_are_refused_where_it_is_at_hand(read, tmp_path):
    (tmp_path / "media" / "takes").mkdir(parents=True)
    (tmp_path / "media" / "takes" / "captions.json").write_text("{}")
    with pytest.raises(
        errors.WrongUse, match=r"'directory.0.path' has the value 'media/takes': .*captions.json is there"
    ):
        read("resolutions = [64]\n" + PATH)


def test_the_config_of_a_training_says_which_file_to_import(read):
    with pytest.raises(errors.WrongUse, match=r"key 'dataset' has the value 'data.toml': .*import the dataset config"):
        read("output_dir = 'o'\ndataset = 'data.toml'\n[model]\ntype = 'wan'\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resolutions = [64]\nframe_buckets = [1, 34]\n" + PATH, "key 'frame_buckets.1' has the value 34: .*33 or 37"),
        (PATH + "frame_buckets = [16]", "key 'directory.0.frame_buckets.0' has the value 16: .*13 or 17"),
        (PATH + "size_buckets = [[64, 64, 7]]", "key 'directory.0.size_buckets.0.2' has the value 7: .*5 or 9"),
        (
            "size_buckets = [[512, 256, 5], [256, 512, 9]]\n" + PATH,
            "key 'directory.0.size_buckets' has the value .*give every length the same aspects",
        ),
        (PATH, "missing key 'resolutions' for 'directory.0'"),
        (
            "resolutions = [64]\nenable_ar_bucket = true\nmin_ar = 0.5\n" + PATH,
            "missing key 'max_ar' for 'directory.0'",
        ),
        ("resolutions = [0]\n" + PATH, "key 'resolutions.0' has the value 0"),
        ("resolutions = [[64]]\n" + PATH, "key 'resolutions.0' has the value"),
        ("resolutions = [64]\nresolution = 3\n" + PATH, "unknown key 'resolution'"),
        ("resolutions = [64]\n" + PATH + "max_frames = 3", "unknown key 'directory.0.max_frames'"),
        ("resolutions = [64]\n[[directory]]\nnum_repeats = 1", "missing key 'directory.0.path'"),
        ("resolutions = [64]\n", "missing key 'directory'"),
        ("directory = 'media'\n", "key 'directory' has the value 'media'"),
        ("resolutions = [8]\n" + PATH, "buckets.0.1' has the value 0"),
        ("resolutions = ", "not TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(read, text, message):
    with pytest.raises(errors.WrongUse, match=message) as caught:
        read(text)
    assert str(caught.value).startswith("dataset.toml: ")
