"""Images: read upright as RGB or grey, and any frames cut and brought to a size.

Rules:  EXIF orientation is applied. Transparency, also of a colour table or of one named colour, is laid over white.
        Grey, black and white, a colour table and CMYK (255 - ink, no colour profile) become RGB. Grey of 16 bits is
        divided by 257 and rounded, colours of 16 bits keep their upper 8. Whole numbers of 32 bits and floats have no
        agreed range and are refused, as is an image that moves or has pages.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from frostline.media import kinds, measures
from frostline.media.kinds import Opened, Unusable

Crop = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the upright source

MOST_SCANS = 64  # of a progressive JPEG, whose encoders make about ten; each costs a pass over all pixels

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


def decode(opened: Opened, max_pixels: int) -> Image.Image:
    """The image, upright, as RGB; raises Unusable with its reason."""
    with _looking(opened, max_pixels) as image:
        return _upright(opened.name, image, "RGB")


def glance(opened: Opened, max_pixels: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image, upright, in grey and no larger than measures need it, and its (width, height) in full.

    A JPEG decodes its brightness alone and at this size: the same bytes are read to the end, in half the time.
    """
    with _looking(opened, max_pixels) as image:
        width, height = image.size
        shrink = measures.shrinking(width, height)
        image.draft("L", (width // shrink, height // shrink))
        lying = image.size
        grey = _upright(opened.name, image, "L")
        small = grey if lying != (width, height) or shrink == 1 else grey.reduce(shrink)
        return small, (width, height) if grey.size == lying else (height, width)


def shrunk(picture: Image.Image) -> Image.Image:
    """A whole image in grey and no larger than measures need it."""
    return picture.convert("L").reduce(measures.shrinking(*picture.size))


def thumbnail(grey: Image.Image, side: int) -> np.ndarray:
    """A grey image at ``side`` x ``side`` pixels, antialiased: uint8."""
    return np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0))


def small(picture: Image.Image, width: int, height: int) -> np.ndarray:
    """An RGB image at a small size, in the order of OpenCV: uint8 (height, width, blue-green-red)."""
    shrunk = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(shrunk)[..., ::-1])


def is_one_picture(opened: Opened, max_pixels: int) -> bool:
    """Does it hold one picture only? Raises Unusable."""
    with _looking(opened, max_pixels, moving=True) as image:
        return not _animated(image)


def resize(pixels: np.ndarray, crop: Crop, height: int, width: int) -> np.ndarray:
    """Cut ``crop`` out of every frame and bring it to size, antialiased bicubic: uint8 (T, height, width, 3)."""
    left, top, right, bottom = crop
    cut = np.ascontiguousarray(pixels[:, top:bottom, left:right])
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in cut]
    )


def _upright(name: str, image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """Decode what was opened."""
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    plain = _opaque(name, image)
    return plain if plain.mode == mode else plain.convert(mode)


@contextlib.contextmanager
def _looking(opened: Opened, max_pixels: int, *, moving: bool = False) -> Iterator[Image.Image]:
    """The image with its header read and found harmless, nothing decoded yet."""
    kind = kinds.image_format(opened.head)
    if kind is None:
        raise Unusable("not_an_image", f"{opened.name}: its first bytes announce no image format that is read here")
    if kind == "WEBP":  # its reader makes room for two pictures before it tells their size
        kinds.require_pixels(opened.name, *_webp_size(opened), max_pixels)
    opened.file.seek(0)
    with _reading(opened.name), Image.open(opened.file, formats=[kind]) as image:
        kinds.require_pixels(opened.name, image.width, image.height, max_pixels)
        if image.info.get("progressive"):
            _require_few_scans(opened)
        if not moving and kind != "JPEG" and _animated(image):  # a JPEG's second picture is a thumbnail or a depth map
            raise Unusable("animated", f"{opened.name}: holds several pictures; give it as a clip or keep one of them")
        yield image


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what Pillow raises over a damaged or oversized file into Unusable; its bomb warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # damage in notes beside the picture; in the picture it raises
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Unusable("too_many_pixels", f"{name}: {kinds.first_line(error)}") from None
        except MemoryError:
            raise kinds.out_of_memory(name) from None
        except _DAMAGE as error:
            raise Unusable("unreadable", f"{name}: {kinds.first_line(error)}") from None


def _animated(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _opaque(name: str, image: Image.Image) -> Image.Image:
    """In 8 bits and over white; of any mode that converts to RGB and grey."""
    if image.mode.startswith("I;16"):
        return _eight_bits(image)
    if image.mode in ("I", "F"):
        message = f"{name}: pixels of Pillow's mode {image.mode} have no agreed range; save it with 8 or 16 bits"
        raise Unusable("unreadable", message)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    deep = np.asarray(image)
    grey = np.rint(deep / np.float32(257)).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[deep == clear] = 255
    return Image.fromarray(grey)


def _webp_size(opened: Opened) -> tuple[int, int]:
    """Width and height in the header of a WebP, of each of its three forms."""
    head = opened.head
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        sides = int.from_bytes(head[21:25], "little")
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    raise Unusable("unreadable", f"{opened.name}: a WebP without a picture")


def _require_few_scans(opened: Opened) -> None:
    """Refuse a JPEG made to be drawn over and over."""
    place = opened.file.tell()
    opened.file.seek(0)
    scans = _count(opened.file, b"\xff\xda")
    opened.file.seek(place)
    if scans > MOST_SCANS:
        raise Unusable("too_many_scans", f"{opened.name}: a JPEG of {scans} scans, at most {MOST_SCANS}; save it anew")


def _count(file: BinaryIO, mark: bytes) -> int:
    if isinstance(file, io.BytesIO):
        return file.getvalue().count(mark)
    found, rest = 0, b""
    while chunk := file.read(1 << 20):
        found += (rest + chunk).count(mark)
        rest = chunk[1 - len(mark) :]
    return found
