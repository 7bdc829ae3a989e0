"""A folder put into an object store so that a reader never finds half of it.

Its list of contents goes last, and what a reader of an older list needs goes after that. What is there already stays,
so the same call, killed at any moment and made again, goes on.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from frostline.errors import WrongUse
from frostline.storage import connection, local, remote, uploading
from frostline.storage.extents import Changed, Extent


@dataclass(frozen=True, kw_only=True)
class Published:
    """What publishing a folder did, by names in it."""

    sent: tuple[str, ...]
    kept: tuple[str, ...]  # they were there already
    removed: tuple[str, ...]  # published before, and not in the folder


def publish_folder(folder: str | Path, address: str, *, last: str, known: Mapping[str, str] | None = None) -> Published:
    """Make a prefix hold what a folder holds, hidden files left out: first all but the file ``last``, then that one.

    What is there with the same size and digest stays. ``known`` are digests of files by name: a file that stays is not
    read then, and one that is sent must have it. Objects published before that are not in the folder go in the end.
    Where a file replaces an object that differs, the old ``last`` goes first: a reader finds all of the old, all of
    the new, or no ``last``.

    Raises WrongUse where anything else lies below the prefix, Changed for a file that is not what ``known`` says or is
    written meanwhile, and what ``connection.patiently`` raises.
    """
    return connection.run(_Publishing(str(folder), address, last, known or {}).run())


class _Publishing:
    def __init__(self, folder: str, address: str, last: str, known: Mapping[str, str]) -> None:
        self._files, self._last, self._known = _files(folder, last), last, known
        self._address = address
        self._bucket, self._prefix = remote.below(address)
        self._digests: dict[str, str] = {}

    async def run(self) -> Published:
        there = {name: entry for name, entry in await remote.names(self._address) if name and not name.endswith("/")}
        superfluous = [name for name in there if name not in self._files]
        await self._require_published(superfluous)
        await uploading.end_uploads(self._address, self._bucket, self._prefix)
        like = [name for name, file in self._files.items() if name in there and there[name].size == file.size]
        same = dict(zip(like, await connection.each(self._stays, like, uploading.TOGETHER), strict=True))
        sent = [name for name in self._files if not same.get(name, False)]
        if self._last in there and any(name in there for name in sent if name != self._last):
            await self._remove(self._last)
            sent = sorted({*sent, self._last})
        await self._send_all(name for name in sent if name != self._last)
        if self._last in sent:
            await self._send(self._last)
        await connection.each(self._remove, superfluous, uploading.TOGETHER)
        kept = [name for name in self._files if name not in sent]
        return Published(sent=tuple(sent), kept=tuple(kept), removed=tuple(superfluous))

    async def _require_published(self, names: Iterable[str]) -> None:
        """Raise WrongUse unless all these objects were published, and none of them belongs to a folder of its own."""
        for name in names:
            if name.endswith(f"/{self._last}"):
                raise self._foreign(name)
        ours = await connection.each(self._is_published, names := list(names), uploading.TOGETHER)
        for name, is_ours in zip(names, ours, strict=True):
            if not is_ours:
                raise self._foreign(name)

    def _foreign(self, name: str) -> WrongUse:
        return WrongUse(
            f"{self._path(name)}: lies where the folder is to go, but was not published as a part of it; "
            f"name another prefix than {self._address}, or take it away"
        )

    async def _is_published(self, name: str) -> bool:
        return uploading.DIGEST in (await uploading.head(self._path(name)))["Metadata"]

    async def _stays(self, name: str) -> bool:
        digest = self._known[name] if name in self._known else await self._digest(name)
        return await uploading.is_there(self._path(name), self._files[name].size, digest)

    async def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = await asyncio.to_thread(uploading.digest_of, self._files[name])
        return self._digests[name]

    async def _send_all(self, names: Iterable[str]) -> None:
        """Small files together; large ones one after the other, the parts of each together."""
        names = list(names)
        small = [name for name in names if self._files[name].size <= uploading.PART]
        await connection.each(self._send, small, uploading.TOGETHER)
        await connection.each(self._send, [name for name in names if name not in small], 1)

    async def _send(self, name: str) -> None:
        digest, file = await self._digest(name), self._files[name]
        if name in self._known and self._known[name] != digest:
            raise Changed(f"{file.path}: digest {digest}, but it is known as {self._known[name]}; make it again")
        await uploading.send(file, self._path(name), digest)

    async def _remove(self, name: str) -> None:
        key = f"{self._prefix}{name}"
        await connection.call(self._path(name), "delete_object", Bucket=self._bucket, Key=key)

    def _path(self, name: str) -> str:
        return f"{connection.S3}{self._bucket}/{self._prefix}{name}"


def _files(folder: str, last: str) -> dict[str, Extent]:
    if not Path(folder).is_dir():
        raise WrongUse(f"{folder}: no such folder; nothing can be published")
    found, passed = local.walk(folder)
    for entry in passed:
        raise WrongUse(f"{folder}: {entry.detail}; only files are published")
    if last not in dict(found):
        raise WrongUse(f"{folder}: holds no {last}; make it again with the stage that writes it")
    return dict(sorted(found))
