"""Files put under a prefix of an object store, each under a name that tells its bytes, and a list of them last.

Nothing that is there is changed or taken away but the list: whoever reads by an older list goes on, several may publish
at once, and a call that was killed at any moment is made again and goes on. A reader finds the old list or the new one,
and all that it names.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from frostline.storage import connection, local, remote, uploading
from frostline.storage.extents import Changed, Extent, Gone

ABANDONED = 86_400.0  # seconds after which an upload that was begun and not finished is taken for a killed process's


@dataclass(frozen=True, kw_only=True)
class Sending:
    """A local file that is to become an object."""

    path: str
    name: str  # below the prefix
    digest: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """What publishing did, by names."""

    sent: tuple[str, ...]
    kept: tuple[str, ...]  # they were there already


def publish(files: Sequence[Sending], address: str, *, last: Sending) -> Published:
    """Put files below a prefix, and then ``last``, which may replace what has its name.

    An object of a file's name and size is that file, as names tell bytes; it is left as it is, and neither is read.

    Raises Gone or Changed for a file that is not there, not what its digest says, or written meanwhile; Changed where
    objects vanish again; and what ``connection.patiently`` raises.
    """
    return connection.run(_Publishing(files, address).run(last))


class _Publishing:
    def __init__(self, files: Sequence[Sending], address: str) -> None:
        self._address = address
        self._bucket, self._prefix = remote.below(address)
        self._files = {file.name: file for file in files}
        self._extents = {file.name: local.look(file.path) for file in files}

    async def run(self, last: Sending) -> Published:
        await uploading.end_uploads(self._address, self._bucket, self._prefix, older=ABANDONED)
        absent = await self._absent()
        await self._send_all(absent)
        if absent and (vanished := await self._absent()):
            raise Gone(f"{self._path(vanished[0])}: was sent, and is gone; see that nobody removes it, and run again")
        extent, sent = local.look(last.path), list(absent)
        if not await uploading.is_there(self._path(last.name), extent.size, last.digest):
            await uploading.put(extent, self._path(last.name), last.digest)
            await uploading.head(self._path(last.name))  # by now it may be another's
            sent.append(last.name)
        kept = [name for name in (*self._files, last.name) if name not in set(sent)]
        return Published(sent=tuple(sent), kept=tuple(kept))

    async def _absent(self) -> list[str]:
        there = {name: entry.size for name, entry in await remote.names(self._address)}
        return [name for name, extent in self._extents.items() if there.get(name) != extent.size]

    async def _send_all(self, names: Sequence[str]) -> None:
        """Small files together; large ones one after the other, the parts of each together."""
        small = [name for name in names if self._extents[name].size <= uploading.PART]
        large = [name for name in names if self._extents[name].size > uploading.PART]
        for some, limit in ((small, uploading.TOGETHER), (large, 1)):
            await connection.each(lambda name: self._send(self._files[name], self._extents[name]), some, limit)

    async def _send(self, file: Sending, extent: Extent) -> None:
        digest = await asyncio.to_thread(uploading.digest_of, extent)
        if digest != file.digest:
            raise Changed(f"{file.path}: digest {digest}, but it is known as {file.digest}; make it again")
        await uploading.send(extent, self._path(file.name), digest)

    def _path(self, name: str) -> str:
        return f"{connection.S3}{self._bucket}/{self._prefix}{name}"
