"""What a picture or clip of the world shows, exactly: what a judge of models is measured against."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from frostline.world import geometry, scenes
from frostline.world.things import PLACES, Place, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is where in each frame, in pixels from the frame's upper left corner; a pixel's centre is at index + 1/2."""

    centres: np.ndarray  # (frames, objects, 2) as (x, y): centre of mass of the shape
    radii: np.ndarray  # (frames, objects) of the circle around it
    visible: (
        np.ndarray
    )  # (frames, objects) share of the square around it that is in the frame: 1 in every scene by number


def truth(scene: Scene, frames: int, size: int) -> Truth:
    """The exact answer to what ``render(scene, frames, size)`` shows, objects in their order."""
    centres, radii = geometry.seen(scene, geometry.times(frames))
    reach = radii[..., None]
    beyond = np.maximum(reach - centres, 0) + np.maximum(centres + reach - 1, 0)  # (frames, objects, 2)
    shares = np.maximum(1 - beyond / (2 * reach), 0)
    return Truth(centres=centres * size, radii=radii * size, visible=shares[..., 0] * shares[..., 1])


def attributes(scene: Scene, *, clip: bool) -> dict[str, Any]:
    """What its captions say, as a JSON object; an image has no motions (null), counted objects no places."""
    where = places(scene, clip=clip)
    return {
        "scene": scene.number,
        "held_out": scenes.held_out(scene),
        "ground": scene.ground,
        "pattern": scene.pattern,
        "camera": scene.camera if clip else None,
        "objects": [
            {
                "shape": thing.shape,
                "colour": thing.colour,
                "texture": thing.texture,
                "size": thing.size,
                "motion": thing.motion if clip else None,
                "place": None if scene.counts else place,
            }
            for thing, place in zip(scene.objects, where, strict=True)
        ],
    }


def places(scene: Scene, *, clip: bool) -> list[Place]:
    """The ninth of the frame where each object is: in a clip's first frame, or in the image."""
    centres, _ = geometry.seen(scene, geometry.times(2 if clip else 1)[:1])
    return [PLACES[int(3 * y)][int(3 * x)] for x, y in centres[0]]
