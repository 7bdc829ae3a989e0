"""Scenes from their numbers: what is in them is drawn evenly first, then a place is found where nothing ever touches.

What holds of every scene, so that its captions have one meaning:
    objects never overlap and never touch the frame's edge, at any time, whatever the camera does
    they differ in colour; or they are alike in all but place, and are counted
    a motion is a quarter of a frame or more, or none; with a pan, objects move across its direction only
    a camera moves only over a ground with a pattern, and without it something else moves
    a place named by a ninth of the frame is well inside that ninth, at the start and at half time
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from frostline.world import geometry
from frostline.world.dice import Dice
from frostline.world.things import (
    CAMERAS,
    COLOURS,
    GROUNDS,
    LENS,
    MOTIONS,
    PATTERNS,
    RADII,
    SHAPES,
    SIZES,
    STEPS,
    TEXTURES,
    TURNS,
    WAYS,
    Camera,
    Colour,
    Motion,
    Scene,
    Shape,
    Size,
    Thing,
)

HELD_OUT: frozenset[tuple[Shape, Colour]] = frozenset(  # one of each shape and of each colour
    (shape, colour) for i, shape in enumerate(SHAPES) for j, colour in enumerate(COLOURS) if (i + j) % len(COLOURS) == 3
)
_HELD_OUT_OF = 10  # one scene of so many has a held-out combination
_EDGE = 0.02  # least distance from the frame's edge, in frame sides; more than a pixel at 64
_GAP = 0.03  # least distance between the circles around objects
_CLEAR = 0.02  # least distance of a centre from the lines between the ninths
_MOMENTS = np.arange(33) / 32  # when is looked; in between, none comes nearer to another by as much as _GAP
_CANDIDATES = 64


def scene(number: int) -> Scene:
    """The scene of a number, the same for ever."""
    dice = Dice(number)
    pattern = dice.one_of(PATTERNS)
    camera: Camera = "still" if pattern == "plain" or dice.below(3) == 0 else dice.one_of(CAMERAS[1:])
    cast = dice.one_of(_CASTS)(dice, camera)
    return Scene(
        number=number, objects=_place(dice, cast, camera), ground=dice.one_of(GROUNDS), pattern=pattern, camera=camera
    )


def held_out(of: Scene) -> bool:
    """Whether a scene has a combination of shape and colour that no scene to train on has."""
    return any((thing.shape, thing.colour) in HELD_OUT for thing in of.objects)


# ------------------------------------------------------------------------------------------------------------ the cast


def _alone(dice: Dice, camera: Camera) -> list[Thing]:
    return _different(dice, camera, [dice.one_of(SIZES)])


def _pair(dice: Dice, camera: Camera) -> list[Thing]:
    return _different(dice, camera, [dice.one_of(SIZES), dice.one_of(SIZES)])


def _three(dice: Dice, camera: Camera) -> list[Thing]:
    """At most one of three is large: two would leave no room."""
    sizes: list[Size] = ["small", "small", dice.one_of(SIZES)]
    return _different(dice, camera, dice.several_of(sizes, 3))


def _alike(dice: Dice, camera: Camera) -> list[Thing]:
    """Two to five; more than two are small."""
    count = 2 + dice.below(4)
    size: Size = dice.one_of(SIZES) if count == 2 else "small"
    return _different(dice, camera, [size]) * count


_CASTS = (_alone, _pair, _three, _alike)


def _different(dice: Dice, camera: Camera, sizes: Sequence[Size]) -> list[Thing]:
    """Objects unlike in colour, not yet placed; in one scene of ten, one of a held-out combination."""
    novel = dice.below(len(sizes)) if dice.below(_HELD_OUT_OF) == 0 else None
    mover = dice.below(len(sizes)) if camera == "still" else None
    return [
        _thing(dice, camera, colour, size, novel=index == novel, moves=index == mover)
        for index, (colour, size) in enumerate(zip(dice.several_of(COLOURS, len(sizes)), sizes, strict=True))
    ]


def _thing(dice: Dice, camera: Camera, colour: Colour, size: Size, *, novel: bool, moves: bool) -> Thing:
    motion = dice.one_of(_motions(camera)[moves:])
    return Thing(
        shape=dice.one_of([shape for shape in SHAPES if ((shape, colour) in HELD_OUT) == novel]),
        colour=colour,
        texture=dice.one_of(TEXTURES),
        size=size,
        motion=motion,
        way=0.0 if motion == "still" else dice.one_of(WAYS) if motion in STEPS else WAYS[0],
        phase=0,
        middle=(0.0, 0.0),
    )


def _motions(camera: Camera) -> tuple[Motion, ...]:
    """What objects may do, standing still first."""
    across, down, _ = LENS[camera]
    if not (across or down):
        return MOTIONS
    return ("still", "up", "down") if across else ("still", "left", "right")


# ---------------------------------------------------------------------------------------------------------- the places


def _place(dice: Dice, cast: Sequence[Thing], camera: Camera) -> tuple[Thing, ...]:
    """The cast where nothing touches: each beside those before it, all anew when one finds no room."""
    named = len(set(cast)) == len(cast)  # what is counted has no place in a caption
    placed: list[Thing] = []
    while len(placed) < len(cast):
        thing = _fitting(dice, cast[len(placed)], placed, camera, named=named)
        placed = [*placed, thing] if thing is not None else []
    return tuple(placed)


def _fitting(dice: Dice, thing: Thing, placed: Sequence[Thing], camera: Camera, *, named: bool) -> Thing | None:
    """The thing at the first of some places that suits it, if any does; what is counted goes round in step."""
    phase = dice.below(4) if named or not placed else placed[0].phase
    thing = dataclasses.replace(thing, phase=phase if thing.motion in TURNS else 0)
    middles = (dice.points(_CANDIDATES) - 0.5) * (1 - 2 * RADII[thing.size])  # (C, 2)
    paths = middles[:, None] + geometry.travel(thing, _MOMENTS)  # (C, T, 2)
    looks_at, magnification = geometry.view(camera, _MOMENTS)
    seen = 0.5 + (paths - looks_at) * magnification[:, None]
    reach = RADII[thing.size] * magnification[:, None] + _EDGE
    good = ((seen > reach) & (seen < 1 - reach)).all(axis=(1, 2))
    if named:
        named_at = seen[:, [0, len(_MOMENTS) // 2]]  # of a clip, of an image
        good &= (np.abs(np.abs(named_at - 0.5) - 1 / 6) > _CLEAR).all(axis=(1, 2))
    for other in placed:
        apart = paths - geometry.path(other, _MOMENTS)
        least = RADII[thing.size] + RADII[other.size] + _GAP
        good &= ((apart * apart).sum(axis=-1) > least * least).all(axis=1)
    if not good.any():
        return None
    x, y = middles[np.argmax(good)]
    return dataclasses.replace(thing, middle=(float(x), float(y)))
