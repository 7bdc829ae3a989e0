"""A file put into an object store, whole or not at all.

A large file goes in parts of 8 MiB, several at once, and appears when all are there; each part carries its MD5, which
the store compares. An object carries its digest in its metadata, by which it is known the next time.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import functools
import hashlib
import io
from typing import Any

from frostline import digests
from frostline.errors import FrostlineError
from frostline.storage import connection, local
from frostline.storage.connection import Clock, bucket_and_key
from frostline.storage.extents import Changed, Extent, Gone

PART = 8 << 20  # bytes of a part, more where PARTS would not do
PARTS = 10_000  # of one object, the most a store takes
TOGETHER = 16  # parts or small objects under way at once: 128 MiB of memory
CLEARING = 5.0  # seconds that ending an upload in vain may take; the next one ends it otherwise
DIGEST = "frostline-digest"  # of an object, in its metadata


def digest_of(file: Extent) -> str:
    """Digest of a local file's bytes; raises Gone or Changed."""
    with local.open_(file) as opened:
        return digests.of_stream(opened)


async def put(file: Extent, address: str, digest: str) -> None:
    """Put a file of that digest there."""
    await (_send_parts if file.size > PART else _send_whole)(file, address, digest)


async def send(file: Extent, address: str, digest: str) -> None:
    """Put a file of that digest there, and look whether it is."""
    await put(file, address, digest)
    if not await is_there(address, file.size, digest):
        raise Changed(f"{address}: not the object that was sent; see that one process writes there, and run again")


async def is_there(address: str, size: int, digest: str) -> bool:
    """Is there an object of that size, published with that digest?"""
    try:
        found = await head(address)
    except Gone:
        return False
    return found["ContentLength"] == size and found["Metadata"].get(DIGEST) == digest


async def head(address: str) -> Any:
    """What the store says of an object; raises Gone."""
    bucket, key = bucket_and_key(address)
    return await connection.call(address, "head_object", Bucket=bucket, Key=key)


async def _send_whole(file: Extent, address: str, digest: str) -> None:
    data = await asyncio.to_thread(_part, file, 0, file.size)
    if digests.of_bytes(data) != digest:
        raise _changed(file)
    await _put(address, "put_object", data, Metadata={DIGEST: digest})


def _changed(file: Extent) -> Changed:
    return Changed(f"{file.path}: changed while it was published; run again when nobody writes it")


async def _send_parts(file: Extent, address: str, digest: str) -> None:
    bucket, key = bucket_and_key(address)
    begun = {"Bucket": bucket, "Key": key}
    answer = await connection.call(address, "create_multipart_upload", **begun, Metadata={DIGEST: digest})
    begun["UploadId"] = answer["UploadId"]
    try:
        length = max(PART, -(-file.size // PARTS))
        part = functools.partial(_send_part, file, address, begun["UploadId"], length)
        parts = await connection.each(part, range(1, -(-file.size // length) + 1), TOGETHER)
        if local.look(file.path) != file:
            raise _changed(file)
        with contextlib.suppress(Gone):  # the answer to an earlier try was lost: who looks at the object will see
            await connection.call(address, "complete_multipart_upload", **begun, MultipartUpload={"Parts": parts})
    except BaseException:
        with contextlib.suppress(FrostlineError, TimeoutError):
            async with asyncio.timeout(CLEARING):
                await connection.call(address, "abort_multipart_upload", **begun)
        raise


async def _send_part(file: Extent, address: str, upload: str, length: int, number: int) -> dict[str, Any]:
    data = await asyncio.to_thread(_part, file, (number - 1) * length, length)
    answer = await _put(address, "upload_part", data, UploadId=upload, PartNumber=number)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def _part(file: Extent, start: int, length: int) -> bytes:
    data = bytearray(min(length, file.size - start))
    local.Reader(file).fill([(start, memoryview(data))])
    return bytes(data)


async def _put(address: str, method: str, data: bytes, **arguments: Any) -> Any:
    """Send bytes together with their MD5; a store that got others refuses, and they are sent again."""
    bucket, key = bucket_and_key(address)
    md5 = await asyncio.to_thread(hashlib.md5, data, usedforsecurity=False)
    arguments |= {"Bucket": bucket, "Key": key, "ContentMD5": base64.b64encode(md5.digest()).decode()}

    async def action(client: Any, clock: Clock) -> Any:
        return await getattr(client, method)(Body=_Body(data, clock), **arguments)

    return await connection.patiently(address, action)


class _Body(io.BytesIO):
    """Bytes that tell the clock how far they went."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        super().__init__(data)
        self._clock = clock

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._clock.moved(len(data))
        return data


async def end_uploads(address: str, bucket: str, prefix: str, *, only: str | None = None, older: float = 0.0) -> None:
    """End what killed processes had begun to send, so many seconds ago: it lies there unseen, and is paid for."""
    more: dict[str, Any] = {}
    now = dt.datetime.now(dt.UTC)
    while True:
        page = await connection.call(address, "list_multipart_uploads", Bucket=bucket, Prefix=prefix, **more)
        for entry in page.get("Uploads", []):
            if only in (None, entry["Key"]) and (now - entry["Initiated"]).total_seconds() >= older:
                with contextlib.suppress(Gone):
                    names = {"Key": entry["Key"], "UploadId": entry["UploadId"]}
                    await connection.call(address, "abort_multipart_upload", Bucket=bucket, **names)
        if not page["IsTruncated"]:
            return
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
