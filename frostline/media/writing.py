"""Pixels to PNG, GIF and MP4: whole or not at all, equal pixels to equal bytes."""

import fractions
import io
from pathlib import Path

import numpy as np
from PIL import Image

from frostline import files
from frostline.errors import WrongUse


def write(path: str | Path, pixels: np.ndarray, fps: float) -> None:
    """Write uint8 (T, H, W, 3) as the name says: ``.png`` (one frame), ``.gif`` or ``.mp4``."""
    path = Path(path)
    if path.suffix == ".png" and len(pixels) == 1:
        write_png(path, pixels[0])
    elif path.suffix == ".gif":
        write_gif(path, pixels, fps)
    elif path.suffix == ".mp4":
        write_mp4(path, pixels, fps)
    else:
        endings = ".png, .gif or .mp4" if len(pixels) == 1 else ".gif or .mp4"
        raise WrongUse(f"{path}: {len(pixels)} frame(s) can be written as {endings}; change the name's ending")


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write one image, uint8 (H, W, 3)."""
    files.write_bytes(path, png(pixels))


def png(pixels: np.ndarray) -> bytes:
    """One image, uint8 (H, W, 3), as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(_checked(pixels, "(H, W, 3)")).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    """One image, uint8 (H, W, 3), as the bytes of a JPEG file: for looking at."""
    buffer = io.BytesIO()
    Image.fromarray(_checked(pixels, "(H, W, 3)")).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_gif(path: str | Path, pixels: np.ndarray, fps: float) -> None:
    """Write a clip, uint8 (T, H, W, 3), as an endless GIF: 256 colours a frame, delays in hundredths of a second."""
    files.write_bytes(path, gif(pixels, fps))


def gif(pixels: np.ndarray, fps: float) -> bytes:
    """A clip, uint8 (T, H, W, 3), as the bytes of an endless GIF file."""
    first, *rest = (Image.fromarray(frame) for frame in _checked(pixels, "(T, H, W, 3)"))
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=10 * round(100 / fps), loop=0)
    return buffer.getvalue()


def write_mp4(path: str | Path, pixels: np.ndarray, fps: float, crf: int = 12) -> None:
    """Write a clip, uint8 (T, H, W, 3), as H.264 in mp4.

    ``crf`` is x264's quality: 12 can hardly be told from the source by eye. Colours have half the resolution
    (yuv420p), so height and width must be even. For looking at: measure on arrays, never on such a file.
    """
    _, height, width, _ = _checked(pixels, "(T, H, W, 3)").shape
    if height % 2 or width % 2:
        raise WrongUse(f"{path}: frames of {width} x {height} pixels; mp4 needs even sizes: write a .gif")
    files.write_bytes(path, _h264(pixels, fps, "libx264", "yuv420p", crf))


def write_lossless_mp4(path: str | Path, pixels: np.ndarray, fps: float) -> None:
    """Write a clip, uint8 (T, H, W, 3), so that reading it gives the same pixels (RGB H.264; few players show it)."""
    files.write_bytes(path, _h264(pixels, fps, "libx264rgb", "rgb24", 0))


def _h264(pixels: np.ndarray, fps: float, codec: str, layout: str, crf: int) -> bytes:
    import av

    _, height, width, _ = _checked(pixels, "(T, H, W, 3)").shape
    rate = fractions.Fraction(fps).limit_denominator(1001)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": str(crf), "threads": "1"})
        assert isinstance(stream, av.VideoStream)  # noqa: S101 - for the type checker: H.264 is video
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _checked(pixels: np.ndarray, shape: str) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != shape.count(",") + 1 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise WrongUse(f"pixels are {pixels.dtype} {pixels.shape}; uint8 {shape} can be written")
    return pixels
