"""Files made to do harm, and broken ones, the same bytes every time: bombs, files cut off, playlists and documents
under the names of media, references to other files, containers of nothing, and things that are no files.

``make`` puts them into a folder of their own, beside two canaries that nothing may open.
"""

import io
import os
import socket
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

CANARIES = ("canary.jpg", "canary.mp4")
BIG = 30_000  # pixels a side: 900 million, more than Pillow itself reads


def make(folder: Path, max_frames: int) -> list[str]:
    """Fill an empty folder; returns the names of what must be refused, each for what it is.

    ``max_frames`` is the most that will be allowed in a clip: one file has more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CANARIES[0]).write_bytes(picture("JPEG"))
    (folder / CANARIES[1]).write_bytes(clip("mp4"))
    files = {**bombs(max_frames), **cut_off(), **dressed_up(), **referring(folder), **hollow()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sorted([*files, *no_files(folder)])


def bombs(max_frames: int) -> dict[str, bytes]:
    """Small files that would fill the memory, or never end."""
    zeros = zlib.compress(bytes(8 << 20), 9)
    plain = picture("PNG")
    return {
        "header.png": png(BIG, BIG, b""),
        "pixels.png": png(12_000, 12_000, zlib.compress(bytes(12_000 * 1501), 9), bits=1),
        "text.png": plain[:33] + chunk(b"zTXt", b"note\0\0" + zeros) + plain[33:],
        "profile.png": plain[:33] + chunk(b"iCCP", b"profile\0\0" + zeros) + plain[33:],
        "screen.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF0, 0, 0) + bytes(6) + gif_frame(65535) + b";",
        "frame.gif": gif(gif_frame(65535)),
        "frames.gif": gif(gif_frame(1) * (max_frames + 1)),
        "header.tif": tiff({256: BIG, 257: BIG}),
        "strips.tif": tiff({256: 64, 257: 64, 273: 0x7FFFFFF0, 278: 64, 279: 0x7FFFFFF0}),
        "canvas.webp": riff(b"WEBP", b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0" * 2),
        "lossless.webp": riff(
            b"WEBP", b"VP8L" + struct.pack("<I", 8) + b"/" + struct.pack("<I", 0x0FFFFFFF) + bytes(3)
        ),
        "header.jpg": jpeg_of_size(picture("JPEG"), 65500),
        "scans.jpg": many_scans(1000),
        "header.bmp": b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, BIG, BIG, 1, 24, *[0] * 6),
        "header.avif": avif_of_size(BIG),
        "header.mov": movie([b"x" * 16], size=65535, codec=b"raw "),
        "samples.mov": movie([picture("JPEG")], count=170_000_000),
        "inside.mov": movie([jpeg_of_size(picture("JPEG"), 65500)] * 2),
        "header.mkv": matroska(track(65535), cluster(b"x" * 16)),
    }


def cut_off() -> dict[str, bytes]:
    """Two thirds of a good file."""
    whole = {f"cut.{kind.lower()}": picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}
    whole |= {"cut_index.mp4": clip("mp4"), "cut_frames.mp4": clip("mp4", movflags="faststart")}
    whole |= {"cut.mov": clip("mov", movflags="faststart"), "cut.avi": clip("avi"), "cut.mkv": clip("matroska")}
    return {name: data[: len(data) * 2 // 3] for name, data in whole.items()}


def dressed_up() -> dict[str, bytes]:
    """Playlists and documents, most of them naming a canary, under the names of media."""
    hls = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ncanary.mp4\n#EXT-X-ENDLIST\n"
    concat = b"ffconcat version 1.0\nfile canary.mp4\n"
    brand, png_mark = box(b"ftyp", b"isom\0\0\0\0"), b"\x89PNG\r\n\x1a\n"
    return {
        "hls.mp4": hls,
        "hls.avi": hls,
        "hls.gif": hls,
        "concat.mp4": concat,
        "concat.png": concat,
        "concat_after_mark.mp4": brand + concat,
        "concat_after_mark.mkv": b"\x1aE\xdf\xa3" + concat,
        "concat_after_mark.png": png_mark + concat,
        "hls_after_mark.avi": riff(b"AVI ", hls),
        "hls_after_mark.gif": b"GIF89a" + hls,
        "sdp.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "dash.mp4": b'<?xml version="1.0"?><MPD><Period><BaseURL>canary.mp4</BaseURL></Period></MPD>',
        "xspf.png": b'<playlist version="1"><trackList><track><location>canary.mp4</location></track></trackList>',
        "smil.gif": b'<smil><body><video src="canary.mp4"/></body></smil>',
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="canary.jpg"/></svg>',
        "script.png": b"push graphic-context\nimage over 0,0 0,0 'canary.jpg'\npop graphic-context\n",
        "document.jpg": b"%PDF-1.7\n1 0 obj<</F(canary.jpg)>>endobj\n%%EOF\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary.jpg) run showpage\n",
        "page.gif": b'<!DOCTYPE html><img src="canary.jpg">',
        "archive.mp4": b"PK\x05\x06" + bytes(18),
        "program.mp4": b"\x7fELF\x02\x01\x01" + bytes(57),
        "program_after_mark.jpg": b"\xff\xd8\xff\x7fELF" + bytes(57),
    }


def referring(folder: Path) -> dict[str, bytes]:
    """Containers whose pictures lie in another file, or that go on in one."""
    canary = folder / CANARIES[0]
    external = [len(canary.read_bytes())]
    address = box(b"url ", bytes(4) + b"canary.jpg\0")
    return {
        "url.mov": movie([b""], sizes=external, reference=address),
        "file_url.mov": movie([b""], sizes=external, reference=box(b"url ", bytes(4) + f"file://{canary}\0".encode())),
        "alias.mov": movie([b""], sizes=external, reference=alias(canary)),
        "reference.mov": box(b"ftyp", b"qt  \0\0\0\0")
        + box(b"moov", box(b"rmra", box(b"rmda", box(b"rdrf", bytes(4) + b"url \0\0\0\x0bcanary.mp4\0")))),
        "next.mkv": matroska(track(32), info=ebml("3EB923", bytes(16)) + ebml("3E83BB", b"canary.mkv")),
        "attached.mkv": matroska(
            ebml(
                "1941A469",
                ebml("61A7", text("466E", "canary.jpg"), text("4660", "image/jpeg"), ebml("465C", picture("JPEG"))),
            )
        ),
    }


def hollow() -> dict[str, bytes]:
    """Containers without pictures that move, or of none that can be decoded."""
    good = clip("mp4")
    return {
        "nothing.mp4": b"",
        "nothing.png": b"",
        "zeros.jpg": bytes(1 << 16),
        "no_frames.mp4": movie([]),
        "no_track.mp4": box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", box(b"mvhd", bytes(100))),
        "no_clusters.mkv": matroska(track(32)),
        "sound.mp4": sound(),
        "cover.mp4": cover(),
        "codec.mp4": good.replace(b"avc1", b"zzzz"),
        "encrypted.mp4": good.replace(b"avc1", b"encv"),
        "sizes.mov": movie([picture("JPEG"), picture("JPEG", 64)]),
        "slanted.mov": movie([picture("JPEG")] * 2, matrix=(46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)),
        "noise.mp4": box(b"ftyp", b"isom\0\0\0\0") + np.random.default_rng(0).bytes(4096),
        "noise.mkv": b"\x1aE\xdf\xa3" + np.random.default_rng(1).bytes(4096),
        "two\nlines.png": picture("PNG")[:60],
    }


def no_files(folder: Path) -> Iterator[str]:
    """What has a name like a file's, and would block, or never end, or is not there."""
    os.mkfifo(folder / "pipe.mp4")
    yield "pipe.mp4"
    (folder / "folder.png").mkdir()
    yield "folder.png"
    here = Path.cwd()
    os.chdir(folder)  # a socket's path may only be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.gif")
    finally:
        os.chdir(here)
    yield "socket.gif"
    for name, target in (("zero.jpg", "/dev/zero"), ("loop.png", "loop.png"), ("gone.mp4", "nowhere.mp4")):
        (folder / name).symlink_to(target)
        yield name


# ------------------------------------------------------------------------------------------------- images, byte by byte


def picture(kind: str, side: int = 32) -> bytes:
    """A good picture of noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, bits: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif(frames: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0xF0, 0, 0) + bytes([0, 0, 0, 255, 255, 255]) + frames + b";"


def gif_frame(side: int) -> bytes:
    return b"!\xf9\x04\0\x04\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02D\x01\0"


def tiff(tags: dict[int, int]) -> bytes:
    tags = {258: 8, 259: 1, 262: 1, 277: 1, **tags}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def riff(kind: bytes, data: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(data) + 4) + kind + data


def jpeg_of_size(data: bytes, side: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", side, side) + data[place + 4 :]


def many_scans(count: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(
        buffer, "JPEG", progressive=True
    )
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def avif_of_size(side: int) -> bytes:
    return picture("AVIF").replace(
        b"ispe" + struct.pack(">III", 0, 32, 32), b"ispe" + struct.pack(">III", 0, side, side)
    )


# ----------------------------------------------------------------------------------------------- containers, box by box


def clip(container: str, **options: str) -> bytes:
    """A good clip of noise."""
    frames = np.random.default_rng(0).integers(16, 235, (12, 48, 48), np.uint8)  # brightness, then colours
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format=container, options={"fflags": "+bitexact", **options}) as output:
            stream = output.add_stream("libx264", rate=16, options={"threads": "1"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for frame in frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
            output.mux(stream.encode(None))
        return path.read_bytes()


def sound() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream("aac", rate=16000)
        assert isinstance(stream, av.AudioStream)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        output.mux(stream.encode(silence))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def cover() -> bytes:
    """A song with a picture on its cover."""
    art = box(b"covr", box(b"data", struct.pack(">II", 13, 0) + picture("JPEG")))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    notes = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", art)))
    data = sound()
    place = data.index(b"moov") - 4
    size = struct.unpack(">I", data[place : place + 4])[0]
    return (
        data[:place]
        + struct.pack(">I", size + len(notes))
        + data[place + 4 : place + size]
        + notes
        + data[place + size :]
    )


def box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", len(data) + 8) + name + data


def movie(
    samples: list[bytes],
    *,
    size: int = 32,
    codec: bytes = b"jpeg",
    sizes: list[int] | None = None,
    count: int | None = None,
    reference: bytes = box(b"url ", b"\0\0\0\1"),
    matrix: tuple[int, ...] = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30),
) -> bytes:
    """QuickTime of one track; ``count`` samples of one size where it is given."""
    data, turned = b"".join(samples), struct.pack(">9i", *matrix)
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    lengths = [len(sample) for sample in samples] if sizes is None else sizes
    number = len(lengths) if count is None else count
    start = box(b"ftyp", b"qt  \0\0\0\0")
    entry = box(
        codec,
        bytes(6),
        struct.pack(">HHHIIIHHIIIH", 1, 0, 0, 0, 0, 0, size, size, 72 << 16, 72 << 16, 0, 1),
        bytes(32),
        b"\0\x18\xff\xff",
    )
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, number, 100)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, max(1, number), 1)),
        box(
            b"stsz",
            struct.pack(">III", 0, 0 if count is None else 1, number),
            b"" if count else struct.pack(f">{len(lengths)}I", *lengths),
        ),
        box(b"stco", struct.pack(">III", 0, 1, 0 if sizes else len(start) + 8)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, 100 * min(number, 1 << 20), 0, 0)),
        box(b"hdlr", bytes(8), b"vide", bytes(13)),
        box(b"minf", box(b"vmhd", bytes(12)), box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), reference)), table),
    )
    head = (
        struct.pack(">IIIII", 0, 0, 0, 1000, 100 * min(number, 1 << 20))
        + struct.pack(">IH", 1 << 16, 1 << 8)
        + bytes(10)
    )
    track_head = (
        struct.pack(">IIIIII", 3, 0, 0, 1, 0, 100 * min(number, 1 << 20))
        + bytes(16)
        + turned
        + struct.pack(">II", size << 16, size << 16)
    )
    whole = box(
        b"moov",
        box(b"mvhd", head, upright, bytes(24), struct.pack(">I", 2)),
        box(b"trak", box(b"tkhd", track_head), media),
    )
    return start + box(b"mdat", data) + whole


def alias(target: Path) -> bytes:
    """A data reference as the Finder writes it, with the absolute path."""
    path = str(target).encode()
    name = target.name.encode()
    record = bytes(4) + struct.pack(">HH", 150 + len(path), 2) + bytes(2) + b"\x01d" + bytes(26) + bytes(12)
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    record += struct.pack(">HH", 18, len(path)) + path + bytes(len(path) % 2)
    record += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">HH", 0xFFFF, 0)
    return box(b"alis", bytes(4), record)


def ebml(name: str, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return bytes.fromhex(name) + b"\x01" + len(data).to_bytes(7, "big") + data


def number(name: str, value: int) -> bytes:
    return ebml(name, value.to_bytes(4, "big"))


def text(name: str, value: str) -> bytes:
    return ebml(name, value.encode())


def matroska(*parts: bytes, info: bytes = b"") -> bytes:
    head = ebml(
        "1A45DFA3",
        number("4286", 1),
        number("42F7", 1),
        number("42F2", 4),
        number("42F3", 8),
        text("4282", "matroska"),
        number("4287", 4),
        number("4285", 2),
    )
    about = ebml("1549A966", number("2AD7B1", 1_000_000), text("4D80", "x"), text("5741", "x"), info)
    return head + ebml("18538067", about, *parts)


def track(side: int) -> bytes:
    picture_size = ebml("E0", number("B0", side), number("BA", side))
    return ebml(
        "1654AE6B", ebml("AE", number("D7", 1), number("73C5", 1), number("83", 1), text("86", "V_MJPEG"), picture_size)
    )


def cluster(frame: bytes) -> bytes:
    return ebml("1F43B675", number("E7", 0), ebml("A3", b"\x81\0\0\x80" + frame))
