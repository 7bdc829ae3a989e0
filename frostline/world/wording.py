"""Captions of scenes: the same truth in several wordings, drawn from the scene's number.

A caption names, of each object, its size, colour, texture, shape, place and (of a clip) motion, close together; counted
objects have a number in place of a place; then the background and (of a clip) what the camera does.
"""

from collections.abc import Sequence

from frostline.world import facts
from frostline.world.dice import Dice
from frostline.world.things import Camera, Colour, Ground, Motion, Pattern, Place, Scene, Shape, Size, Texture, Thing

WORDINGS = 3  # captions of a scene
NUMBERS = ("no", "one", "two", "three", "four", "five")
SHAPES: dict[Shape, tuple[tuple[str, str], ...]] = {  # singular and plural
    "circle": (("circle", "circles"), ("disc", "discs")),
    "square": (("square", "squares"),),
    "triangle": (("triangle", "triangles"),),
    "diamond": (("diamond", "diamonds"),),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs")),
    "ring": (("ring", "rings"), ("hoop", "hoops")),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
}
COLOURS: dict[Colour, tuple[str, ...]] = {
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "cyan": ("cyan", "turquoise"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
}
SIZES: dict[Size, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}
TEXTURES: dict[Texture, tuple[tuple[str, str], ...]] = {  # before and behind the noun
    "solid": (("solid", ""), ("", " in one colour")),
    "striped": (("striped", ""), ("", " with white stripes")),
    "checked": (("chequered", ""), ("checked", ""), ("", " with white checks")),
    "outlined": (("outlined", ""), ("white-edged", ""), ("", " with a white outline")),
}
MOTIONS: dict[Motion, tuple[str, ...]] = {
    "still": ("standing still", "at rest"),
    "left": ("moving left", "drifting to the left", "gliding leftwards"),
    "right": ("moving right", "drifting to the right", "gliding rightwards"),
    "up": ("moving up", "rising", "gliding upwards"),
    "down": ("moving down", "sinking", "gliding downwards"),
    "clockwise": ("circling clockwise", "going round clockwise"),
    "anticlockwise": ("circling anticlockwise", "going round counterclockwise"),
}
PLACES: dict[Place, tuple[str, ...]] = {
    "top left": ("top left", "upper left"),
    "top": ("top",),
    "top right": ("top right", "upper right"),
    "left": ("left",),
    "centre": ("centre", "middle"),
    "right": ("right",),
    "bottom left": ("bottom left", "lower left"),
    "bottom": ("bottom",),
    "bottom right": ("bottom right", "lower right"),
}
GROUNDS: dict[Ground, tuple[str, ...]] = {
    "black": ("black",),
    "grey": ("grey",),
    "brown": ("brown",),
    "navy": ("navy", "dark blue"),
}
PATTERNS: dict[Pattern, tuple[str, ...]] = {
    "plain": ("a plain {} background", "a {} background without a pattern"),
    "checked": ("a chequered {} background", "a {} chequerboard"),
    "dotted": ("a dotted {} background", "a {} background covered in dots"),
    "gridded": ("a {} background ruled with a grid", "a gridded {} background"),
}
CAMERAS: dict[Camera, tuple[str, ...]] = {
    "still": ("the camera is still", "the camera does not move"),
    "pan left": ("the camera pans left", "the camera pans to the left"),
    "pan right": ("the camera pans right", "the camera pans to the right"),
    "pan up": ("the camera pans up", "the camera pans upwards"),
    "pan down": ("the camera pans down", "the camera pans downwards"),
    "zoom in": ("the camera zooms in", "the camera slowly zooms in"),
    "zoom out": ("the camera zooms out", "the camera slowly zooms out"),
}
IMAGES = (
    "{objects} on {ground}",
    "on {ground}: {objects}",
    "a picture of {objects} on {ground}",
    "{ground}, and on it {objects}",
)
CLIPS = (
    "{objects} on {ground}; {camera}",
    "on {ground}: {objects}; {camera}",
    "{camera}; {objects} on {ground}",
    "a clip of {objects} on {ground} while {camera}",
)


def captions(scene: Scene, *, clip: bool) -> tuple[str, ...]:
    """Different captions, each the whole truth, as a clip or as an image."""
    forms = CLIPS if clip else IMAGES
    chosen = Dice(scene.number, 1, clip).several_of(forms, WORDINGS)
    return tuple(_caption(Dice(scene.number, 2 + index, clip), form, scene, clip) for index, form in enumerate(chosen))


def _caption(dice: Dice, form: str, scene: Scene, clip: bool) -> str:
    if scene.counts:
        phrases = [_counted(dice, scene, clip)]
    else:
        found = list(zip(scene.objects, facts.places(scene, clip=clip), strict=True))
        order = dice.several_of(found, len(found))
        phrases = [_single(dice, scene.camera, thing, place, clip) for thing, place in order]
    text = form.format(
        objects=_listed(phrases),
        ground=dice.one_of(PATTERNS[scene.pattern]).format(dice.one_of(GROUNDS[scene.ground])),
        camera=dice.one_of(CAMERAS[scene.camera]),
    )
    return text[0].upper() + text[1:] + "."


def _counted(dice: Dice, scene: Scene, clip: bool) -> str:
    """Such as: three small red striped circles moving left."""
    thing = scene.objects[0]
    phrase = f"{NUMBERS[len(scene.objects)]} {_noun(dice, thing, plural=True)}"
    return f"{phrase} {dice.one_of(MOTIONS[thing.motion])}" if clip else phrase


def _single(dice: Dice, camera: Camera, thing: Thing, place: Place, clip: bool) -> str:
    """Such as: a large blue heart in one colour moving up from the bottom left."""
    phrase, where = f"a {_noun(dice, thing, plural=False)}", f"the {dice.one_of(PLACES[place])}"
    there = f"in {where}" if place == "centre" else f"at {where}"
    if not clip:
        return f"{phrase} {there}"
    motion = dice.one_of(MOTIONS[thing.motion])
    if thing.motion != "still":
        return f"{phrase} {motion} from {where}"
    return f"{phrase} {motion} {there}" if camera == "still" else f"{phrase} {motion} and first seen {there}"


def _noun(dice: Dice, thing: Thing, *, plural: bool) -> str:
    before, behind = dice.one_of(TEXTURES[thing.texture])
    looks = dice.several_of([word for word in (dice.one_of(COLOURS[thing.colour]), before) if word], 1 + bool(before))
    return f"{dice.one_of(SIZES[thing.size])} {' '.join(looks)} {dice.one_of(SHAPES[thing.shape])[plural]}{behind}"


def _listed(phrases: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
