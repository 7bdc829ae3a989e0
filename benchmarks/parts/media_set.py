"""A folder of media with captions beside them, and the barest way to decode it: the peer of `prepare`.

Names:  set      images ``i/000/000000.jpg`` of 512 x 512 pixels and clips ``c/000000.mp4`` of 48 frames of 320 x 240 at
                 24 per second (H.264, a keyframe a second), each with ``.txt`` beside it; every one another picture
        bare     Pillow opens and converts, PyAV decodes every frame; nothing is measured, digested or kept
A set lies in .work/benchmarks and is made once: the same number gives the same picture.
"""

import concurrent.futures
import functools
import multiprocessing
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image

from frostline import files

SIDE, WIDTH, HEIGHT, FRAMES, RATE = 512, 320, 240, 48, 24
CHUNK = 64
BICUBIC = Image.Resampling.BICUBIC


def make(root: Path, images: int, clips: int, processes: int) -> Path:
    """The folder of a set, made if it is not there."""
    folder = root / f"media-{images}-{clips}"
    if not folder.exists():
        with files.new_folder(folder) as beside:
            for name in ("c", *(f"i/{part:03d}" for part in range(-(-images // 1000)))):
                (beside / name).mkdir(parents=True)
            spread(functools.partial(image, beside), range(images), processes)
            spread(functools.partial(clip, beside), range(clips), processes)
    return folder


def image(folder: Path, number: int) -> None:
    """Write one image and its caption."""
    path = folder / "i" / f"{number // 1000:03d}" / f"{number:06d}.jpg"
    draw = np.random.default_rng(number)
    coarse, fine = (
        Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((SIDE, SIDE), BICUBIC)
        for side in (6, 128)
    )
    Image.blend(coarse, fine, 0.15).save(path, "JPEG", quality=88)
    path.with_suffix(".txt").write_text(f"colours number {number}\n")


def clip(folder: Path, number: int) -> None:
    """Write one clip and its caption: a coarse picture that wanders."""
    path = folder / "c" / f"{number:06d}.mp4"
    draw = np.random.default_rng((number, 1))
    coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    field = np.asarray(coarse.resize((WIDTH + FRAMES, HEIGHT), BICUBIC))
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "23", "g": str(RATE)}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.thread_count = WIDTH, HEIGHT, "yuv420p", 1
        for shift in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(field[:, shift : shift + WIDTH]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.with_suffix(".txt").write_text(f"wandering colours number {number}\n")


def bare(folder: Path, processes: int) -> float:
    """Seconds a bare loop takes to decode the set on so many processes, their start not counted."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".mp4"))
    with _pool(processes) as pool:
        list(pool.map(decode, paths[:processes]))
        started = time.perf_counter()
        for _ in pool.map(decode, paths, chunksize=CHUNK):
            pass
        return time.perf_counter() - started


def decode(path: Path) -> None:
    """Decode one file and keep nothing."""
    if path.suffix == ".jpg":
        with Image.open(path) as picture:
            picture.convert("RGB")
    else:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass


def spread(work: "functools.partial[None]", numbers: range, processes: int) -> None:
    """Do a piece of work for every number on so many processes."""
    with _pool(processes) as pool:
        for _ in pool.map(work, numbers, chunksize=CHUNK):
            pass


def _pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("forkserver"))
