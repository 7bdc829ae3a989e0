"""The rendered world: what is asked of every scene, held against the pixels."""

import collections
import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline import digests, world
from frostline.world import Scene, Thing, geometry, things, wording

NUMBERS = st.integers(0, 2**40)
FRAMES = st.sampled_from([1, 5, 9, 17])
SIZES = st.sampled_from([64, 72, 80, 88, 96])
TIGHT = settings(max_examples=25)  # where much is drawn


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [world.scene(number) for number in range(1000)]


def lone(**changes: object) -> Scene:
    """One still red circle in the middle of a black plain, with changes."""
    thing = Thing(
        shape="circle",
        colour="red",
        texture="solid",
        size="large",
        motion="still",
        way=0.0,
        phase=0,
        middle=(0.0, 0.0),
    )
    of_thing = {
        name: value for name, value in changes.items() if name in {field.name for field in dataclasses.fields(Thing)}
    }
    of_scene = {name: value for name, value in changes.items() if name not in of_thing}
    blank = Scene(
        number=0, objects=(dataclasses.replace(thing, **of_thing),), ground="black", pattern="plain", camera="still"
    )
    return dataclasses.replace(blank, **of_scene)


def masks(scene: Scene, frames: int, size: int) -> np.ndarray:
    """The pixels of each object, by drawing the scene without it: bool (objects, frames, size, size)."""
    whole = world.render(scene, frames, size).astype(int)
    rest = [
        dataclasses.replace(scene, objects=(*scene.objects[:index], *scene.objects[index + 1 :]))
        for index in range(len(scene.objects))
    ]
    return np.stack([np.abs(whole - world.render(scene, frames, size)).sum(-1) > 60 for scene in rest])


def centres(weights: np.ndarray) -> np.ndarray:
    """Centres of mass as (x, y), a pixel's centre at its index + 1/2: (..., rows, columns) -> (..., 2)."""
    places = np.arange(weights.shape[-1]) + 0.5
    total = weights.sum((-1, -2))
    return np.stack([(weights.sum(-2) * places).sum(-1) / total, (weights.sum(-1) * places).sum(-1) / total], axis=-1)


# --------------------------------------------------------------------------------------------------- the same for ever


@TIGHT
@given(NUMBERS, FRAMES, SIZES)
def test_a_number_is_a_picture(number: int, frames: int, size: int):
    first = world.render(world.scene(number), frames, size)
    np.random.default_rng(0).random()
    assert (first.shape, first.dtype) == ((frames, size, size, 3), np.uint8)
    assert first.flags.c_contiguous
    assert (first == world.render(world.scene(number), frames, size)).all()


def test_the_same_bytes_everywhere():
    """Pinned: sums, products, quotients and roots alone make them, so no other machine may find others."""
    drawn = [world.render(world.scene(number), frames, size) for number, frames, size in GOLDEN]
    assert [digests.of_bytes(pixels.tobytes())[:16] for pixels in drawn] == list(GOLDEN.values())


GOLDEN = {  # number, frames, size
    (0, 1, 64): "03b6303a87c9ec3f",
    (474, 17, 64): "c413ddd4e15bb14c",
    (11, 9, 96): "d37482477f3dd186",
    (2**40, 5, 80): "66faded532097c45",
}


def test_the_same_words_everywhere():
    words = [world.captions(world.scene(number), clip=clip) for number in range(40) for clip in (False, True)]
    assert digests.of_json(words)[:16] == "e48667707a10fc88"


def test_numbers_differ(scenes: list[Scene]):
    assert len({dataclasses.replace(scene, number=0) for scene in scenes}) == len(scenes)


@TIGHT
@given(NUMBERS)
def test_every_length_shows_the_same_way(number: int):
    scene = world.scene(number)
    long = world.render(scene, 17, 64)
    assert (world.render(scene, 5, 64) == long[::4]).all()
    assert (world.render(scene, 9, 64) == long[::2]).all()
    assert (world.render(scene, 1, 64) == long[8:9]).all()


# ---------------------------------------------------------------------------------------------------- truth and pixels


@TIGHT
@given(NUMBERS, FRAMES, SIZES)
def test_truth_is_what_the_pixels_show(number: int, frames: int, size: int):
    scene = world.scene(number)
    truth, found = world.truth(scene, frames, size), masks(scene, frames, size)
    assert np.abs(centres(found) - truth.centres.swapaxes(0, 1)).max() < 0.6
    y, x = np.mgrid[:size, :size] + 0.5
    for mask, (cx, cy), radius in zip(
        found.reshape(-1, size, size), truth.centres.swapaxes(0, 1).reshape(-1, 2), truth.radii.T.ravel(), strict=True
    ):
        assert np.sqrt((x - cx) ** 2 + (y - cy) ** 2)[mask].max() < radius + 1.5
        assert 0.25 < mask.sum() / (np.pi * radius**2) < 1


@TIGHT
@given(NUMBERS, SIZES)
def test_the_colour_is_where_the_truth_says(number: int, size: int):
    scene = world.scene(number)
    pixels, truth = world.render(scene, 5, size).astype(int), world.truth(scene, 5, size)
    for index, thing in enumerate(scene.objects):
        like = np.abs(pixels - things.PAINT[thing.colour]).sum(-1) < 40  # (frames, rows, columns)
        assert like.any((1, 2)).all()
        if thing.texture == "solid" and not scene.counts:
            assert np.abs(centres(like) - truth.centres[:, index]).max() < 1


@given(NUMBERS)
def test_nothing_ever_touches(number: int):
    truth = world.truth(world.scene(number), 241, 64)
    assert (truth.centres - truth.radii[..., None] > 1).all()
    assert (truth.centres + truth.radii[..., None] < 63).all()
    assert (truth.visible == 1).all()
    for one, other in itertools.combinations(range(truth.radii.shape[1]), 2):
        apart = np.linalg.norm(truth.centres[:, one] - truth.centres[:, other], axis=-1)
        assert (apart > truth.radii[:, one] + truth.radii[:, other]).all()


@pytest.mark.parametrize(("x", "share"), [(0.0, 1.0), (0.5, 0.5), (-0.5, 0.5), (0.7, 0.0)])
def test_what_leaves_the_frame_is_seen_in_part(x: float, share: float):
    """No scene by number does; one made by hand may."""
    scene = lone(middle=(x, 0.0))
    assert world.truth(scene, 1, 64).visible.item() == pytest.approx(share)
    whole = (world.render(lone(), 1, 64)[..., 0] > 100).sum()
    assert (world.render(scene, 1, 64)[..., 0] > 100).sum() == pytest.approx(share * whole, abs=10)


@pytest.mark.parametrize("shape", things.SHAPES)
def test_shapes_are_unlike_each_other(shape: things.Shape):
    """Of equal radius, at the smallest size drawn, no two cover the same pixels."""
    covered = {other: world.render(lone(shape=other, size="small"), 1, 64)[0, ..., 0] > 120 for other in things.SHAPES}
    for other in set(things.SHAPES) - {shape}:
        assert (covered[shape] ^ covered[other]).sum() > 0.2 * covered[shape].sum()


@pytest.mark.parametrize("texture", things.TEXTURES[1:])
@pytest.mark.parametrize("shape", things.SHAPES)
def test_textures_show_both_the_colour_and_white(shape: things.Shape, texture: things.Texture):
    pixels = world.render(lone(shape=shape, texture=texture, size="small"), 1, 64)[0].astype(int)
    white = pixels[..., 1].clip(32) - 32  # the red has 32 of green, white 255
    red = pixels[..., 0] - pixels[..., 1]
    assert min(white.sum() / 223, red.sum() / 196) > 10  # as many pixels' worth


def test_colours_are_far_apart():
    paints = [*things.PAINT.values(), things.WHITE]
    grounds = [colour for pair in things.SOIL.values() for colour in pair]
    near = [np.linalg.norm(np.subtract(*pair)) for pair in itertools.combinations(paints, 2)]
    assert min(near) > 100
    assert min(np.linalg.norm(np.subtract(*pair)) for pair in itertools.product(paints, grounds)) > 80


def test_small_is_smaller_than_large_whatever_the_camera_does():
    assert things.RADII["small"] * (1 + things.ZOOM / 2) < 0.9 * things.RADII["large"] * (1 - things.ZOOM / 2)


# --------------------------------------------------------------------------------------------------------------- motion


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
def test_straight_motions_go_where_they_say(motion: things.Motion, scenes: list[Scene]):
    seen = 0
    for scene in scenes[:300]:
        first, last = world.truth(scene, 2, 64).centres
        for thing, (x, y) in zip(scene.objects, last - first, strict=True):
            if thing.motion == motion and scene.camera == "still":
                step = {"left": -x, "right": x, "up": -y, "down": y}[motion]
                assert step > 15.99  # a quarter
                assert abs(x) + abs(y) == pytest.approx(step)
                seen += 1
    assert seen > 30


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("anticlockwise", -1)])
def test_rounds_go_round_once(motion: things.Motion, sign: int):
    scene = lone(motion=motion, way=0.25, phase=1)
    way = world.truth(scene, 17, 64).centres[:, 0] - 32
    turns = np.diff(np.unwrap(np.arctan2(way[:, 1], way[:, 0])))  # y is downwards: clockwise grows
    np.testing.assert_allclose(turns, sign * 2 * np.pi / 16, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 8, rtol=1e-9)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=8))
def test_the_unit_circle(turns: list[float]):
    angle = 2 * np.pi * np.array(turns)
    np.testing.assert_allclose(geometry.turned(np.array(turns)), np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-8)


@pytest.mark.parametrize(
    ("camera", "step"), [("pan left", (0, 16)), ("pan right", (0, -16)), ("pan up", (16, 0)), ("pan down", (-16, 0))]
)
def test_what_is_seen_moves_against_a_pan(camera: things.Camera, step: tuple[int, int]):
    first, last = world.render(lone(camera=camera, pattern="dotted"), 2, 64).astype(int)
    common = np.roll(first, step, axis=(0, 1))[16:48, 16:48]
    assert np.abs(common - last[16:48, 16:48]).max() <= 1


@pytest.mark.parametrize(("camera", "factor"), [("zoom in", 1.14 / 0.86), ("zoom out", 0.86 / 1.14)])
def test_zooms_magnify(camera: things.Camera, factor: float):
    scene = lone(camera=camera, pattern="dotted")
    first, last = masks(scene, 2, 96)[0].sum((1, 2))
    assert last / first == pytest.approx(factor**2, rel=0.05)
    assert np.divide(*world.truth(scene, 2, 96).radii[::-1]).item() == pytest.approx(factor)


def test_something_always_moves_and_a_moving_camera_can_be_seen(scenes: list[Scene]):
    for scene in scenes:
        if scene.camera == "still":
            assert any(thing.motion != "still" for thing in scene.objects)
        else:
            assert scene.pattern != "plain"
        across, down, _ = things.LENS[scene.camera]
        for thing in scene.objects:
            if across or down:
                assert thing.motion in (("still", "up", "down") if across else ("still", "left", "right"))
            assert (thing.way >= 0.25) == (thing.motion != "still")


# --------------------------------------------------------------------------------------------------------- distribution


def test_objects_differ_in_colour_or_are_counted(scenes: list[Scene]):
    for scene in scenes:
        colours = {thing.colour for thing in scene.objects}
        if scene.counts:
            assert len({dataclasses.replace(thing, middle=(0, 0)) for thing in scene.objects}) == 1
        else:
            assert len(colours) == len(scene.objects) <= 3
    kinds = collections.Counter((scene.counts, len(scene.objects)) for scene in scenes)
    assert set(kinds) == {(False, 1), (False, 2), (False, 3), (True, 2), (True, 3), (True, 4), (True, 5)}
    assert min(kinds.values()) > 40  # 62 on average


@pytest.mark.parametrize("name", ["shape", "colour", "texture"])
def test_attributes_are_balanced(name: str, scenes: list[Scene]):
    """Counted objects as one; within four standard deviations of evenness."""
    found = [getattr(thing, name) for scene in scenes for thing in scene.objects[: 1 if scene.counts else None]]
    counts, expected = collections.Counter(found), len(found) / len(set(found))
    assert set(counts) == set({"shape": things.SHAPES, "colour": things.COLOURS, "texture": things.TEXTURES}[name])
    assert max(abs(count - expected) for count in counts.values()) < 4 * expected**0.5


@pytest.mark.parametrize(
    ("name", "least"), [("motion", 0.08), ("size", 0.28), ("camera", 0.06), ("ground", 0.2), ("pattern", 0.2)]
)
def test_no_attribute_is_rare(name: str, least: float, scenes: list[Scene]):
    of = [thing for scene in scenes for thing in scene.objects[: 1 if scene.counts else None]]
    found = [getattr(one, name) for one in (of if name in {"motion", "size"} else scenes)]
    assert min(collections.Counter(found).values()) > least * len(found)


def test_one_scene_in_ten_is_held_out(scenes: list[Scene]):
    assert len(world.HELD_OUT) == len(dict(world.HELD_OUT)) == len(things.SHAPES)
    assert {colour for _, colour in world.HELD_OUT} == set(things.COLOURS)
    assert 0.08 < np.mean([world.held_out(scene) for scene in scenes]) < 0.12
    pairs = [{(thing.shape, thing.colour) for thing in scene.objects} for scene in scenes]
    assert all(len(found & world.HELD_OUT) <= 1 for found in pairs)
    held, seen = set().union(*(pair for pair in pairs if pair & world.HELD_OUT)), set().union(*pairs)
    assert held >= world.HELD_OUT
    assert len(seen) == 64


# ------------------------------------------------------------------------------------------------------------- captions


def phrase(thing: Thing, plural: bool = False) -> str:
    """A pattern that finds what a caption says of an object, whatever the wording."""

    def either(words: object) -> str:
        return "(?:" + "|".join(map(re.escape, words)) + ")"  # type: ignore[call-overload]

    colour, size = either(wording.COLOURS[thing.colour]), either(wording.SIZES[thing.size])
    shape = either(words[plural] for words in wording.SHAPES[thing.shape])
    before = either(word for word, _ in wording.TEXTURES[thing.texture] if word)
    behind = either(word for _, word in wording.TEXTURES[thing.texture] if word)
    return f"{size} (?:{colour} {before} {shape}|{before} {colour} {shape}|{colour} {shape}{behind})"


@given(NUMBERS, st.booleans())
def test_captions_say_all_of_every_object(number: int, clip: bool):
    scene = world.scene(number)
    where = world.places(scene, clip=clip)
    for caption in world.captions(scene, clip=clip):
        for thing, place in zip(scene.objects, where, strict=True):
            motions, places = "|".join(wording.MOTIONS[thing.motion]), "|".join(wording.PLACES[place])
            if scene.counts:
                said = f"{wording.NUMBERS[len(scene.objects)]} {phrase(thing, True)}" + (
                    f" (?:{motions})" if clip else ""
                )
            elif not clip:
                said = f"a {phrase(thing)} (?:at|in) the (?:{places})"
            else:
                said = f"a {phrase(thing)} (?:{motions}) (?:from|(?:and first seen )?(?:at|in)) the (?:{places})"
            assert len(re.findall(rf"\b{said}\b", caption, re.IGNORECASE)) == 1


@given(NUMBERS, st.booleans())
def test_captions_say_the_ground_and_the_camera(number: int, clip: bool):
    scene = world.scene(number)
    found = world.captions(scene, clip=clip)
    assert len(set(found)) == wording.WORDINGS
    for caption in found:
        grounds = [
            form.format(word) for form in wording.PATTERNS[scene.pattern] for word in wording.GROUNDS[scene.ground]
        ]
        assert any(ground in caption.lower() for ground in grounds)
        cameras = [words for words in wording.CAMERAS.values() for words in words if words in caption.lower()]
        assert bool(cameras) == clip
        assert set(cameras) <= set(wording.CAMERAS[scene.camera])
        assert re.fullmatch(r"[A-Z][a-z ,;:-]+\.", caption)
        assert "  " not in caption


def test_captions_of_images_know_no_motion(scenes: list[Scene]):
    moving = {word for words in wording.MOTIONS.values() for word in words}
    for scene in scenes[:200]:
        for caption in world.captions(scene, clip=False):
            assert not any(word in caption.lower() for word in (*moving, "camera", "clip"))


@pytest.mark.parametrize(
    "table", ["SHAPES", "COLOURS", "SIZES", "TEXTURES", "MOTIONS", "PLACES", "GROUNDS", "PATTERNS", "CAMERAS"]
)
def test_no_word_has_two_meanings(table: str):
    words = [word for words in getattr(wording, table).values() for word in words]
    assert len(words) == len(set(words))


def test_wordings_vary(scenes: list[Scene]):
    found = [caption for scene in scenes[:300] for caption in world.captions(scene, clip=True)]
    for words in [*wording.MOTIONS.values(), *wording.SIZES.values(), *wording.PLACES.values()]:
        for word in words:
            assert any(word in caption for caption in found), word


# ----------------------------------------------------------------------------------------------------------- attributes


@given(NUMBERS, st.booleans())
def test_attributes_are_the_scene(number: int, clip: bool):
    scene = world.scene(number)
    found = json.loads(json.dumps(world.attributes(scene, clip=clip)))
    assert world.scene(found["scene"]) == scene
    assert found["held_out"] == world.held_out(scene)
    assert (found["ground"], found["pattern"]) == (scene.ground, scene.pattern)
    assert found["camera"] == (scene.camera if clip else None)
    for said, thing in zip(found["objects"], scene.objects, strict=True):
        assert (said["shape"], said["colour"], said["texture"]) == (thing.shape, thing.colour, thing.texture)
        assert (said["size"], said["motion"]) == (thing.size, thing.motion if clip else None)
        assert (said["place"] is None) == scene.counts


@given(NUMBERS, st.booleans())
def test_places_are_well_inside_their_ninths(number: int, clip: bool):
    scene = world.scene(number)
    first = world.truth(scene, 5 if clip else 1, 90).centres[0]
    for place, (x, y) in zip(world.places(scene, clip=clip), first, strict=True):
        assert ("left" in place, "right" in place) == (x < 30, x > 60)
        assert ("top" in place, "bottom" in place) == (y < 30, y > 60)
        if not scene.counts:
            assert min(abs(value - line) for value in (x, y) for line in (30, 60)) > 1.7
