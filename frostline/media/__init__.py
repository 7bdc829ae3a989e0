"""The one door to Pillow and PyAV: images, clips and frame folders as uint8 arrays, and back.

Shapes: an image is uint8 (H, W, 3), a clip uint8 (T, H, W, 3), RGB, row 0 on top, upright as a viewer shows it.
Rules:  what a file is, its first bytes say, never its name; the decoder is forced to that, so a playlist renamed
        ``.mp4`` opens nothing. Sizes are checked in the header, before anything is decoded.
        EXIF orientation and clip rotation are applied; transparency is laid over white; 16-bit grey is scaled to
        8 bits; a colour table, CMYK and grey become RGB. Sound is ignored.
PyAV is loaded where a clip is read or written: images need Pillow alone.
"""

from frostline.media.clips import measure_clip, read_clip
from frostline.media.frames import frame_files, measure_frames, read_frames
from frostline.media.images import Crop, measure_image, read_image, resize
from frostline.media.kinds import Extent, Unusable, clip_format, image_format
from frostline.media.writing import gif, png, write, write_gif, write_lossless_mp4, write_mp4, write_png

__all__ = [
    "Crop",
    "Extent",
    "Unusable",
    "clip_format",
    "frame_files",
    "gif",
    "image_format",
    "measure_clip",
    "measure_frames",
    "measure_image",
    "png",
    "read_clip",
    "read_frames",
    "read_image",
    "resize",
    "write",
    "write_gif",
    "write_lossless_mp4",
    "write_mp4",
    "write_png",
]
