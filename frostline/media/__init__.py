"""The one door to Pillow and PyAV: images, clips and frame folders as uint8 arrays, and back.

Shapes: an image is uint8 (H, W, 3), a clip uint8 (T, H, W, 3), RGB, row 0 on top, upright as a viewer shows it.
Rules:  what a file is, its first bytes say, never its name; the decoder is forced to that, so a playlist renamed
        ``.mp4`` opens nothing, and nothing a file names is ever opened. Sizes are checked in the header, before
        anything is decoded. The rules of images stand in images.py, those of clips in clips.py, what is measured in
        measures.py.
PyAV is loaded where a clip is read or written, PySceneDetect where cuts are looked for: images need Pillow alone.
"""

from frostline.media.images import Crop, resize
from frostline.media.kinds import Extent, Medium, Unusable
from frostline.media.measures import Measures
from frostline.media.probing import Limits, Probe, probe, read
from frostline.media.scenes import Scenes
from frostline.media.writing import gif, jpeg, png, write, write_gif, write_lossless_mp4, write_mp4, write_png

__all__ = [
    "Crop",
    "Extent",
    "Limits",
    "Measures",
    "Medium",
    "Probe",
    "Scenes",
    "Unusable",
    "gif",
    "jpeg",
    "png",
    "probe",
    "read",
    "resize",
    "write",
    "write_gif",
    "write_lossless_mp4",
    "write_mp4",
    "write_png",
]
