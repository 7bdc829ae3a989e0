"""What the world is made of: names, colours, lengths, and the records of a scene.

Space:  frame sides, x to the right and y downwards, from the centre of what the camera shows at half time.
Time:   0 at the first frame of a clip, 1 at its last; an image shows half time.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Shape = Literal["circle", "square", "triangle", "diamond", "cross", "ring", "star", "heart"]
Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Texture = Literal["solid", "striped", "checked", "outlined"]  # white on the colour
Size = Literal["small", "large"]
Motion = Literal["still", "left", "right", "up", "down", "clockwise", "anticlockwise"]  # against the ground
Ground = Literal["black", "grey", "brown", "navy"]
Pattern = Literal["plain", "checked", "dotted", "gridded"]  # lighter on the ground's colour
Camera = Literal["still", "pan left", "pan right", "pan up", "pan down", "zoom in", "zoom out"]
Place = Literal[
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"
]  # ninths of the frame

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
TEXTURES: tuple[Texture, ...] = get_args(Texture)
SIZES: tuple[Size, ...] = get_args(Size)
MOTIONS: tuple[Motion, ...] = get_args(Motion)
GROUNDS: tuple[Ground, ...] = get_args(Ground)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
CAMERAS: tuple[Camera, ...] = get_args(Camera)
PLACES: tuple[tuple[Place, ...], ...] = (get_args(Place)[:3], get_args(Place)[3:6], get_args(Place)[6:])  # rows

RADII: dict[Size, float] = {"small": 0.10, "large": 0.155}  # of the circle around a shape
WAYS = (0.25, 0.28, 0.31)  # of a straight motion; the first is also the diameter of a round
PAN = 0.25  # way of the camera
ZOOM = 0.28  # magnification goes from 1 - ZOOM / 2 to 1 + ZOOM / 2, or back: small stays smaller than large

TURNS: dict[Motion, int] = {"clockwise": 1, "anticlockwise": -1}
STEPS: dict[Motion, tuple[int, int]] = {
    "still": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
LENS: dict[Camera, tuple[int, int, int]] = {  # way across, way down, growth
    "still": (0, 0, 0),
    "pan left": (-1, 0, 0),
    "pan right": (1, 0, 0),
    "pan up": (0, -1, 0),
    "pan down": (0, 1, 0),
    "zoom in": (0, 0, 1),
    "zoom out": (0, 0, -1),
}

Rgb = tuple[int, int, int]
PAINT: dict[Colour, Rgb] = {
    "red": (228, 32, 40),
    "orange": (255, 132, 0),
    "yellow": (255, 236, 40),
    "green": (24, 172, 64),
    "cyan": (0, 208, 228),
    "blue": (44, 88, 248),
    "purple": (152, 48, 220),
    "pink": (255, 128, 204),
}
WHITE: Rgb = (255, 255, 255)
SOIL: dict[Ground, tuple[Rgb, Rgb]] = {  # the ground and its pattern
    "black": ((16, 16, 20), (56, 56, 60)),
    "grey": ((104, 104, 108), (140, 140, 144)),
    "brown": ((88, 56, 32), (124, 88, 60)),
    "navy": ((20, 28, 84), (52, 64, 124)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object of a scene."""

    shape: Shape
    colour: Colour
    texture: Texture
    size: Size
    motion: Motion
    way: float  # length of a straight motion, diameter of a round, 0 if still
    phase: int  # quarter turns from the right to where a round begins
    middle: tuple[float, float]  # where it is at half time; of a round, its centre


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One picture or clip of the world."""

    number: int
    objects: tuple[Thing, ...]  # unlike each other in colour, or alike in all but place
    ground: Ground
    pattern: Pattern
    camera: Camera

    @property
    def counts(self) -> bool:
        """Whether the objects are alike, so that only their number tells."""
        return len({(thing.shape, thing.colour) for thing in self.objects}) < len(self.objects)
