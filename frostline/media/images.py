"""Images: read upright as RGB, and any frames cut and brought to a size."""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from frostline.media import kinds
from frostline.media.kinds import Extent, Unusable

Crop = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the upright source

_DAMAGE = (  # what Pillow's readers raise over damaged files
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read_image(path: str | Path, max_pixels: int) -> np.ndarray:
    """The image in a file: uint8 (H, W, 3); raises Unusable with its reason."""
    path = Path(path)
    kind = kinds.image_format(path)
    if kind is None:
        raise Unusable("not_an_image", f"{path}: its first bytes announce no image format that is read here")
    with _reading(path), Image.open(path, formats=[kind]) as image:
        kinds.require_pixels(path, image.width, image.height, max_pixels)
        if kind != "JPEG" and _animated(image):  # a second picture in a JPEG is a thumbnail or a depth map
            raise Unusable("animated", f"{path}: holds several pictures; give it as a clip or keep one of them")
        return np.array(_rgb(path, ImageOps.exif_transpose(image)))


def measure_image(path: str | Path, max_pixels: int) -> Extent:
    """Decode an image to the end and say what it holds."""
    height, width, _ = read_image(path, max_pixels).shape
    return Extent(width=width, height=height, frames=1, fps=0.0)


def resize(pixels: np.ndarray, crop: Crop, height: int, width: int) -> np.ndarray:
    """Cut ``crop`` out of every frame and bring it to size, antialiased bicubic: uint8 (T, height, width, 3)."""
    left, top, right, bottom = crop
    cut = np.ascontiguousarray(pixels[:, top:bottom, left:right])
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in cut]
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what Pillow raises over a damaged or oversized file into Unusable; its bomb warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # damage in notes beside the picture; in the picture it raises
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Unusable("too_many_pixels", f"{path}: {kinds.first_line(error)}") from None
        except _DAMAGE as error:
            raise Unusable("unreadable", f"{path}: {kinds.first_line(error)}") from None


def _animated(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        message = f"{path}: pixels of Pillow's mode {image.mode} have no agreed range; save it with 8 or 16 bits"
        raise Unusable("unreadable", message)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
