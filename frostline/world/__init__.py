"""The embedded rendered world: shapes in colours and textures that move, under a camera that moves.

scene       a scene from its number, the same for ever
render      its pixels, as an image (one frame) or a clip of any length, at any size
captions    what it shows, in several wordings
truth       what it shows, in numbers: where each object is in each frame
attributes  what it shows, as a JSON object
held_out    whether it combines a shape and a colour that no scene to train on combines

A number and these functions are all there is to a picture: nothing is stored, and nothing is uncertain, so the binding
of attributes, counting, motion, camera moves and memorisation can be scored exactly.
"""

from frostline.world.drawing import render
from frostline.world.facts import Truth, attributes, places, truth
from frostline.world.scenes import HELD_OUT, held_out, scene
from frostline.world.things import Scene, Thing
from frostline.world.wording import captions

__all__ = [
    "HELD_OUT",
    "Scene",
    "Thing",
    "Truth",
    "attributes",
    "captions",
    "held_out",
    "places",
    "render",
    "scene",
    "truth",
]
