"""Where everything is, and when: the paths of objects and of the camera.

Only + - * / and the square root are used, element by element: IEEE 754 fixes their every bit, so the same numbers come
out on every machine; library sines would not.
"""

import numpy as np

from frostline.world.things import LENS, PAN, RADII, STEPS, TURNS, ZOOM, Camera, Scene, Thing

_QUARTER = 1.5707963267948966  # pi / 2
_SINE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800)  # Taylor, odd powers
_COSINE = (1.0, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800)  # Taylor, even powers


def times(frames: int) -> np.ndarray:
    """When each frame is: evenly from 0 to 1; an image is at half time."""
    return np.array([0.5]) if frames == 1 else np.arange(frames) / (frames - 1)


def view(camera: Camera, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the camera looks at (T, 2), and its magnification (T,)."""
    across, down, growth = LENS[camera]
    late = when - 0.5
    return late[:, None] * np.multiply((across, down), PAN), 1 + late * growth * ZOOM


def path(thing: Thing, when: np.ndarray) -> np.ndarray:
    """Where an object is on the ground: (T, 2)."""
    return np.array(thing.middle) + travel(thing, when)


def travel(thing: Thing, when: np.ndarray) -> np.ndarray:
    """How far it is from its middle: (T, 2)."""
    if thing.motion in TURNS:
        return thing.way / 2 * turned(when * TURNS[thing.motion] + thing.phase / 4)
    return (when - 0.5)[:, None] * np.multiply(STEPS[thing.motion], thing.way)


def seen(scene: Scene, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (T, N, 2) and radii (T, N) on the frame, whose corners are (0, 0) and (1, 1)."""
    looks_at, magnification = view(scene.camera, when)
    paths = np.stack([path(thing, when) for thing in scene.objects], axis=1)
    radii = np.array([RADII[thing.size] for thing in scene.objects])
    return 0.5 + (paths - looks_at[:, None]) * magnification[:, None, None], radii * magnification[:, None]


def turned(turns: np.ndarray) -> np.ndarray:
    """The unit vector after so many turns, clockwise from the right: (T, 2)."""
    angle = (turns - np.floor(turns + 0.5)) * _QUARTER  # a quarter of it, within pi / 4
    square = angle * angle
    sine, cosine = angle * _polynomial(_SINE, square), _polynomial(_COSINE, square)
    for _ in range(2):
        sine, cosine = 2 * sine * cosine, cosine * cosine - sine * sine
    return np.stack([cosine, sine], axis=1) / np.sqrt(cosine * cosine + sine * sine)[:, None]


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    value = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value
