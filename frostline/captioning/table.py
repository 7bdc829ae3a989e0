"""Captions that were made before: one JSON object a line, each on the disk before the next is taken."""

import json
import os
from pathlib import Path

from frostline import digests, files, storage
from frostline.captioning import items
from frostline.captioning.items import Uncaptioned
from frostline.errors import WrongUse


class Table:
    """The captions of one captioner, by stamp and by content."""

    def __init__(self, path: Path, captioner: str) -> None:
        """Raises WrongUse for a damaged table; the half line that a killed run left is cut off."""
        self.path, self._captioner = path, captioner
        self._by_stamp: dict[str, str] = {}
        self._by_content: dict[str, str] = {}
        for number, line in enumerate(self._lines(), start=1):
            self._remember(number, line)

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self.path, len(whole))
        return whole.splitlines()

    def _remember(self, number: int, line: bytes) -> None:
        try:
            row = json.loads(line)
            captioner, stamp, content, caption = (row[key] for key in ("captioner", "stamp", "content", "caption"))
        except (ValueError, TypeError, KeyError):
            raise WrongUse(
                f"{self.path}:{number}: damaged; remove this line, and its item is captioned again"
            ) from None
        if captioner == self._captioner:
            self._by_content[content] = caption
            if stamp:
                self._by_stamp[stamp] = caption

    def find(self, entry: Uncaptioned) -> str | None:
        """The caption of an item; its bytes are read only where its stamp is not known."""
        stamp = items.stamp(entry.blobs)
        if stamp in self._by_stamp:
            return self._by_stamp[stamp]
        if not self._by_content:
            return None
        try:
            caption = self._by_content.get(items.content(entry.blobs))
        except (storage.Gone, storage.Changed):
            return None
        if caption is not None and stamp:
            self.add(entry, caption)
        return caption

    def add(self, entry: Uncaptioned, caption: str) -> None:
        """Keep a caption; it is on the disk when this returns."""
        stamp, content = items.stamp(entry.blobs), items.content(entry.blobs)
        row = {"captioner": self._captioner, "stamp": stamp, "content": content, "caption": caption}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(f"{digests.canonical(row)}\n".encode())
        files.sync(self.path)
        self._by_content[content] = caption
        if stamp:
            self._by_stamp[stamp] = caption
