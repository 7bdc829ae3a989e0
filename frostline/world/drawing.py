"""Scenes as pixels: signed distances, evaluated once at every pixel's centre.

A distance is measured in pixels, and coverage is its clipped linear ramp over one pixel, so edges are smooth at every
size. Arithmetic is IEEE 754 float32, element by element and without libm: the same bytes on every machine.

Names:  u, v     position from an object's centre, in its radii
        pixels   per unit of u and v
        tone     share of a pixel that has the second colour, white on an object, lighter on the ground
"""

from collections.abc import Callable

import numpy as np

from frostline.world import geometry
from frostline.world.things import PAINT, RADII, SOIL, WHITE, Pattern, Scene, Shape, Texture, Thing

Array = np.ndarray  # float32, (frames, rows, columns) or what broadcasts to it
_GROUND_PERIOD = 0.3  # of the ground's patterns, in frame sides
_STRIPES, _CHECKS, _OUTLINE = 0.8, 1.0, 0.16  # periods of textures and width of the outline, in radii
_PENTAGRAM = (  # outward, of its five lines
    (0.0, -1.0),
    (0.9510565, -0.3090170),
    (0.5877853, 0.8090170),
    (-0.5877853, 0.8090170),
    (-0.9510565, -0.3090170),
)


def render(scene: Scene, frames: int, size: int) -> np.ndarray:
    """The frames of a scene: uint8 (frames, size, size, 3); one frame is an image."""
    when = geometry.times(frames)
    looks_at, magnification = geometry.view(scene.camera, when)
    across, down = (_ground_positions(looks_at[:, axis], magnification, size) for axis in (0, 1))  # (frames, size)
    scale = (magnification * size).astype(np.float32)[:, None, None]
    tone = _PATTERNS[scene.pattern](across[:, None, :], down[:, :, None], scale)
    canvas = np.empty((3, frames, size, size), dtype=np.float32)
    for plane, (first, second) in zip(canvas, zip(*SOIL[scene.ground], strict=True), strict=True):
        plane[:] = first + tone * np.float32(second - first)
    for thing in scene.objects:
        _paint(canvas, thing, geometry.path(thing, when).astype(np.float32), across, down, scale)
    return np.ascontiguousarray((canvas + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 3, 0))


def _ground_positions(looks_at: np.ndarray, magnification: np.ndarray, size: int) -> Array:
    """Where on the ground each column (or row) of each frame is: (frames, size)."""
    column = (np.arange(size) + 0.5) / size - 0.5
    return (column / magnification[:, None] + looks_at[:, None]).astype(np.float32)


def _paint(canvas: Array, thing: Thing, path: Array, across: Array, down: Array, scale: Array) -> None:
    """Lay an object over the canvas (3, frames, rows, columns); only where it ever comes is looked at."""
    radius = np.float32(RADII[thing.size])
    u, v = (across - path[:, :1]) / radius, (down - path[:, 1:]) / radius  # (frames, size)
    columns, rows = _reached(u), _reached(v)
    u, v, pixels = u[:, None, columns], v[:, rows, None], scale * radius
    distance = _SHAPES[thing.shape](u, v)
    coverage, tone = _inside(distance * pixels), _TEXTURES[thing.texture](u, v, distance, pixels)
    for plane, paint, white in zip(canvas[:, :, rows, columns], PAINT[thing.colour], WHITE, strict=True):
        plane[:] = plane + coverage * (paint + tone * np.float32(white - paint) - plane)


def _reached(position: Array) -> slice:
    """The columns (or rows) that an object reaches in any frame."""
    reached = np.flatnonzero((np.abs(position) < 1.25).any(axis=0))
    return slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0, 0)


def _inside(distance: Array) -> Array:
    """Share of a pixel that is inside, of the distance of its centre from the edge in pixels, negative inside."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


# ------------------------------------------------------------------------------------------------------------- patterns
# Of the ground: position across and down, and pixels per unit, to tone.


def _off_centre(position: Array, period: float) -> Array:
    """Distance from the nearest multiple of the period."""
    periods = position / np.float32(period)
    return np.abs(periods - np.floor(periods + np.float32(0.5))) * np.float32(period)


def _bands(position: Array, period: float, pixels: Array) -> Array:
    """1 in the bands around the multiples of the period, 0 between them, half a period each."""
    return _inside((_off_centre(position, period) - np.float32(period / 4)) * pixels)


def _checks(across: Array, down: Array, period: float, pixels: Array) -> Array:
    half = np.float32(0.5)
    return half - 2 * (_bands(across, period, pixels) - half) * (_bands(down, period, pixels) - half)


def _checked(across: Array, down: Array, scale: Array) -> Array:
    return _checks(across, down, _GROUND_PERIOD, scale)


def _dotted(across: Array, down: Array, scale: Array) -> Array:
    x, y = _off_centre(across, _GROUND_PERIOD), _off_centre(down, _GROUND_PERIOD)
    return _inside((np.sqrt(x * x + y * y) - np.float32(_GROUND_PERIOD / 4)) * scale)


def _gridded(across: Array, down: Array, scale: Array) -> Array:
    nearest = np.maximum(_off_centre(across, _GROUND_PERIOD), _off_centre(down, _GROUND_PERIOD))
    return _inside((np.float32(_GROUND_PERIOD * 7 / 16) - nearest) * scale)


_PATTERNS: dict[Pattern, Callable[[Array, Array, Array], Array]] = {
    "plain": lambda across, _down, _scale: np.zeros_like(across),
    "checked": _checked,
    "dotted": _dotted,
    "gridded": _gridded,
}
_TEXTURES: dict[Texture, Callable[[Array, Array, Array, Array], Array]] = {  # of u, v, distance from the edge, pixels
    "solid": lambda _u, _v, distance, _pixels: np.zeros_like(distance),
    "striped": lambda _u, v, _distance, pixels: 1 - _bands(v, _STRIPES, pixels),
    "checked": lambda u, v, _distance, pixels: _checks(u, v, _CHECKS, pixels),
    "outlined": lambda _u, _v, distance, pixels: 1 - _inside((distance + np.float32(_OUTLINE)) * pixels),
}


# --------------------------------------------------------------------------------------------------------------- shapes
# Distance from the edge in radii, negative inside, exact near straight edges. The origin is the centre of mass.


def _circle(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v) - np.float32(0.9)


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.7)


def _triangle(u: Array, v: Array) -> Array:
    return np.maximum(v, np.float32(0.8660254) * np.abs(u) - np.float32(0.5) * v) - np.float32(0.5)


def _diamond(u: Array, v: Array) -> Array:
    return (np.abs(u) - np.float32(0.64)) * np.float32(0.8422714) + np.abs(v) * np.float32(0.5390537)


def _cross(u: Array, v: Array) -> Array:
    x, y = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(x, y) - np.float32(0.92), np.minimum(x, y) - np.float32(0.34))


def _ring(u: Array, v: Array) -> Array:
    return np.abs(np.sqrt(u * u + v * v) - np.float32(0.68)) - np.float32(0.26)


def _star(u: Array, v: Array) -> Array:
    """Inside all but one of five lines: the second largest distance."""
    largest = second = np.full(np.broadcast_shapes(u.shape, v.shape), -9, dtype=np.float32)
    for x, y in _PENTAGRAM:
        distance = u * np.float32(x) + v * np.float32(y)
        second = np.maximum(second, np.minimum(largest, distance))
        largest = np.maximum(largest, distance)
    return second - np.float32(0.3090170)


def _heart(u: Array, v: Array) -> Array:
    """A square of side s on its corner, and a half circle on each upper side."""
    side = np.float32(1.05)
    x, y = np.abs(u), v - np.float32(0.2216) * side
    body = (x + np.abs(y) - np.float32(0.7071068) * side) * np.float32(0.7071068)
    cx, cy = x - np.float32(0.3535534) * side, y + np.float32(0.3535534) * side
    return np.minimum(body, np.sqrt(cx * cx + cy * cy) - np.float32(0.5) * side)


_SHAPES: dict[Shape, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "diamond": _diamond,
    "cross": _cross,
    "ring": _ring,
    "star": _star,
    "heart": _heart,
}
