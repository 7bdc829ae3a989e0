"""Configs of musubi-tuner: what its keys mean is what the sources say, and what cannot be honoured is named."""

import functools
import json

import pytest

from frostline import errors
from frostline.params.sources import GridParams, SidecarParams, TableParams
from frostline.sources import buckets
from tests.unit.importing.conftest import only

IMAGES = '[[datasets]]\nimage_directory = "pets/Cats & Dogs"\ncaption_extension = ".txt"\nresolution = 256\n'
CLIPS = '[[datasets]]\nvideo_directory = "film/takes"\ncaption_extension = ".caption"\nresolution = [416, 240]\n'
FIVE = "target_frames = [5]\n"
SQUARES = {(128, 512), (144, 448), (160, 400), (176, 368), (192, 336), (208, 304), (224, 288), (240, 272), (256, 256)}


@pytest.fixture
def read(import_text):
    return functools.partial(import_text, "musubi-tuner")


def test_a_folder_of_images(read):
    imported = read(IMAGES)
    source = imported.sources["cats-dogs"]
    assert isinstance(source, SidecarParams)
    assert (source.path, source.extension, source.lines) == ("pets/Cats & Dogs", ".txt", "one_caption")
    assert source.buckets == ((1, 256, 256),)
    assert (source.crop.place, source.crop.flip) == ("centre", False)
    assert source.max_rejected == 0


def test_filters_are_off(read):
    filters = only(read(IMAGES)).filters
    lowest = {name: value for name, value in filters if name.startswith("minimum_") or name == "duplicate_distance"}
    assert set(lowest.values()) == {0}
    assert filters.keep_duplicates
    assert filters.caption_characters[0] == 0


def test_bucketing_makes_every_size_the_tool_makes(read):
    source = only(read(IMAGES + "enable_bucket = true\n"))
    assert set(source.buckets) == {(1, *size) for size in SQUARES} | {(1, *size[::-1]) for size in SQUARES}


def test_what_a_dataset_does_not_say_is_said_in_general_or_by_the_tool(read):
    general = '[general]\nresolution = [640, 368]\ncaption_extension = ".txt"\n'
    imported = read(
        general + '[[datasets]]\nimage_directory = "a"\n[[datasets]]\nimage_directory = "b"\nresolution = 64\n'
    )
    assert [source.buckets for source in imported.sources.values()] == [((1, 368, 640),), ((1, 64, 64),)]
    assert only(read('[[datasets]]\nimage_directory = "a"\ncaption_extension = ".t"\n')).buckets == ((1, 544, 960),)


def test_every_length_is_a_source(read):
    imported = read(CLIPS + "target_frames = [25, 5, 25]\n")
    assert {name: source.buckets for name, source in imported.sources.items()} == {
        "takes-5f": ((5, 240, 416),),
        "takes-25f": ((25, 240, 416),),
    }


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", {"use_sliding_window": False, "window_choice": "first", "windows_per_scene": 1}),
        ('frame_extraction = "chunk"', {"use_sliding_window": True, "window_stride": 25}),
        ('frame_extraction = "slide"\nframe_stride = 10', {"use_sliding_window": True, "window_stride": 10}),
        (
            'frame_extraction = "uniform"\nframe_sample = 4',
            {"use_sliding_window": False, "window_choice": "uniform", "windows_per_scene": 4},
        ),
        ('frame_extraction = "uniform"', {"use_sliding_window": False, "window_choice": "first"}),
    ],
)
def test_windows(read, keys, expected):
    clips = only(read(CLIPS + "target_frames = [25]\n" + keys)).clips.model_dump()
    assert {key: clips[key] for key in expected} == expected


def test_full_has_every_length_up_to_the_longest(read):
    source = only(read(CLIPS + 'frame_extraction = "full"\nmax_frames = 15\n'))
    assert source.buckets == tuple((frames, 240, 416) for frames in (5, 9, 13))


@pytest.mark.parametrize("resolution", [[256, 256], [960, 544], [832, 480], [416, 240], [1280, 720]])
def test_full_with_many_sizes_is_a_grid_of_the_very_same(read, resolution):
    keys = f"resolution = {resolution}\nenable_bucket = true\n"
    folders = 'image_directory = "a"', 'video_directory = "a"\nframe_extraction = "full"'
    still, moving = (read(f'[[datasets]]\ncaption_extension = ".txt"\n{folder}\n{keys}') for folder in folders)
    grid = only(moving).buckets
    assert isinstance(grid, GridParams)
    assert grid.frames == tuple(range(5, 130, 4))
    sizes = {(height, width) for _, height, width in only(still).buckets}
    assert set(buckets.all_of(grid)) == {(frames, *size) for frames in grid.frames for size in sizes}


@pytest.mark.parametrize(("keys", "fps"), [("", None), ("source_fps = 30.0", 16.0), ("source_fps = 12.0", None)])
def test_clips_come_to_wans_rate_only_if_theirs_is_given_and_higher(read, keys, fps):
    assert only(read(CLIPS + FIVE + keys)).clips.fps == fps


@pytest.mark.parametrize("medium", ["image", "video"])
def test_a_file_of_lines_is_a_table(read, medium):
    source = only(
        read(f'[[datasets]]\n{medium}_jsonl_file = "lists/Some list.jsonl"\n' + (FIVE if medium == "video" else ""))
    )
    assert isinstance(source, TableParams)
    assert (source.path, source.media, source.captions) == ("lists/Some list.jsonl", f"{medium}_path", ("caption",))
    assert source.item is None


def test_lines_with_controls_or_layers_are_refused_where_the_file_is_at_hand(read, tmp_path):
    plain = {"image_path": "a.png", "caption": "a"}
    for extra, why in (("control_path_0", "control images"), ("image_path_1", "several layers")):
        lines = [json.dumps(plain), "not JSON", json.dumps(plain | {extra: "b.png"})]
        (tmp_path / "list.jsonl").write_text("\n".join(lines))
        with pytest.raises(errors.WrongUse, match=f"list.jsonl:3: key '{extra}': .*{why}"):
            read('[[datasets]]\nimage_jsonl_file = "list.jsonl"\n')
    (tmp_path / "list.jsonl").write_text(json.dumps(plain))
    assert read('[[datasets]]\nimage_jsonl_file = "list.jsonl"\n').sources.keys() == {"list"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("control_directory", '"c"'),
        ("control_resolution", "[1024, 1024]"),
        ("no_resize_control", "true"),
        ("flux_kontext_no_resize_control", "true"),
        ("qwen_image_edit_control_resolution", "[64, 64]"),
        ("multiple_target", "true"),
        ("num_repeats", "3"),
        ("fp_1f_clean_indices", "[0]"),
        ("fp_1f_target_index", "9"),
        ("fp_1f_no_post", "true"),
    ],
)
def test_what_would_change_the_data_is_refused_by_key_and_value(read, key, value):
    with pytest.raises(errors.WrongUse) as caught:
        read(IMAGES + IMAGES + f"{key} = {value}\n")
    shown = value.replace('"', "'").replace("true", "True")
    assert str(caught.value).startswith(f"dataset.toml: key 'datasets.1.{key}' has the value {shown}: ")


def test_all_of_them_are_named_at_once(read):
    with pytest.raises(errors.WrongUse) as caught:
        read("[general]\nnum_repeats = 2\n" + IMAGES + 'control_directory = "c"\n')
    assert "key 'general.num_repeats' has the value 2" in str(caught.value)
    assert "key 'datasets.0.control_directory' has the value 'c'" in str(caught.value)


def test_values_that_change_nothing_are_taken(read):
    assert read(IMAGES + "num_repeats = 1\nmultiple_target = false\nno_resize_control = false\n").sources


@pytest.mark.parametrize("key", ["batch_size = 4", 'cache_directory = "c"', "fp_latent_window_size = 9"])
def test_what_means_nothing_here_is_noted(read, key):
    bare, noted = read(IMAGES), read(IMAGES + key)
    assert noted.sources == bare.sources
    assert [note.split(":")[0] for note in noted.notes if note not in bare.notes] == [key.split(" ")[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLIPS + "target_frames = [25, 24]", r"key 'datasets.0.target_frames.1' has the value 24: .*21 or 25, not 24"),
        (
            CLIPS + 'frame_extraction = "full"\nmax_frames = 4',
            "key 'datasets.0.max_frames' has the value 4: .*rows of 5 frames or more",
        ),
        (CLIPS + "source_fps = 0.0", "key 'datasets.0.source_fps' has the value 0.0"),
        (CLIPS + 'frame_extraction = "tail"', "key 'datasets.0.frame_extraction' has the value 'tail'"),
        (CLIPS + "frame_stride = 0", "key 'datasets.0.frame_stride' has the value 0"),
        (CLIPS + "target_frames = []", "key 'datasets.0.target_frames'"),
        (CLIPS + "resolutoin = 3", "unknown key 'datasets.0.resolutoin'"),
        (CLIPS + 'image_directory = "b"', "unknown key 'datasets.0.image_directory'"),
        (CLIPS + 'video_jsonl_file = "b"', r"names one of .*video_directory.* and no other"),
        (IMAGES + "target_frames = [1]", "unknown key 'datasets.0.target_frames'"),
        ("[general]\ntarget_frames = [1]\n" + CLIPS, "unknown key 'general.target_frames'"),
        ("[general]\nenable_bucket = 1\n" + CLIPS, "key 'general.enable_bucket' has the value 1"),
        (IMAGES.replace("256", "[850, 480]"), r"'datasets.0.resolution' has the value \[850, 480\]: .*\[848, 480\]"),
        (IMAGES.replace('caption_extension = ".txt"', ""), "missing key 'datasets.0.caption_extension'"),
        (IMAGES.replace(".txt", "txt"), "extension' has the value 'txt'"),
        ("[[datasets]]\n", r"missing key: 'datasets.0' names one of .* it has \[\]"),
        ("", "missing key 'datasets'"),
        ("datasets = []", "key 'datasets'"),
        ("datasets = 3", "key 'datasets' has the value 3"),
        ("[extra]\n" + IMAGES, "unknown key 'extra'"),
        ("datasets = [", "not TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(read, text, message):
    with pytest.raises(errors.WrongUse, match=message) as caught:
        read(text)
    assert str(caught.value).startswith("dataset.toml: ")
