"""The checkpoints of one training in an object store, so that it goes on where its disk is not.

<address>/step-00000500/<digest>-<file>    a file of a checkpoint that was whole on a disk
<address>/step-00000500/state.json         that checkpoint's own list of them, put there last: without it there is none
<address>/preview/<digest>-<file>          what the training showed until then

Names tell bytes, so a sending that was killed is made again and goes on, and a reader compares all it gets. Torch reads
checkpoints by pickle: whoever may write here may run code in the trainings that read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import digests, files, storage
from frostline.errors import Refused
from frostline.storage import Blob, Sending

STATE = "state.json"
PREVIEW = "preview"
MOST = 1 << 28  # bytes of a state, which grows with the number of validations


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Where the checkpoints of one training are sent to and brought from."""

    address: str  # s3://bucket/prefix of this training alone

    @classmethod
    def of(cls, address: str | None, work: Path) -> "Mirror | None":
        """That of a training by its work folder, whose name is its key; None where no address is given."""
        return cls(address=f"{address}/{work.parent.name}/{work.name}") if address else None

    def names(self) -> list[str]:
        """The checkpoints that are whole there, oldest first; raises Unreachable or WrongUse where nobody answers."""
        return sorted(name.removesuffix(f"/{STATE}") for name in self._objects() if name.endswith(f"/{STATE}"))

    def state(self, name: str) -> dict[str, Any]:
        """What a checkpoint says of itself."""
        found = storage.blob(self.address, f"{name}/{STATE}")
        return files.parse_json(found.read(MOST), found.path)

    def send(self, folder: Path) -> None:
        """Send a checkpoint that is whole on the disk, and the previews beside it; what is there is not sent again."""
        state = folder / STATE
        parts = {folder / name: (folder.name, digest) for name, digest in files.read_json(state)["files"].items()}
        shown = {path: (PREVIEW, digests.of_file(path)) for path in sorted((folder.parent / PREVIEW).glob("step-*"))}
        sending = [
            Sending(path=str(path), name=f"{place}/{digest}-{path.name}", digest=digest)
            for path, (place, digest) in {**parts, **shown}.items()
        ]
        last = Sending(path=str(state), name=f"{folder.name}/{STATE}", digest=digests.of_file(state))
        storage.publish(sending, self.address, last=last)

    def bring(self, name: str, state: Mapping[str, Any], folder: Path) -> None:
        """Copy a checkpoint into a folder that is empty, and the previews until then beside it.

        Raises Refused for an object that is missing or not what its name says.
        """
        there = self._objects()
        for file, digest in state["files"].items():
            self._copy(there, f"{name}/{digest}-{_plain(file)}", digest, folder / _plain(file))
        for key in sorted(there):
            place, _, named = key.partition("/")
            digest, _, file = named.partition("-")
            if place == PREVIEW and _plain(file) <= f"{name}.safetensors":
                (folder.parent / PREVIEW).mkdir(exist_ok=True)
                with files.replacing(folder.parent / PREVIEW / file) as beside:
                    self._copy(there, key, digest, beside)
        files.write_json(folder / STATE, state)

    def forget(self, names: set[str]) -> None:
        """Remove checkpoints, each list first: what is half removed is none."""
        self._remove([key for key in self._objects() if key.partition("/")[0] in names])

    def clear(self) -> None:
        """Remove all of it: the training is done."""
        self._remove(list(self._objects()))

    def _remove(self, keys: list[str]) -> None:
        for key in sorted(keys, key=lambda key: (not key.endswith(f"/{STATE}"), key)):
            storage.remove(storage.join(self.address, key))

    def _objects(self) -> dict[str, Blob]:
        return storage.objects(self.address)

    def _copy(self, there: Mapping[str, Blob], key: str, digest: str, path: Path) -> None:
        if key not in there:
            raise Refused(f"{self.address}/{key}: no such object, and its checkpoint lists it; {self._remedy(key)}")
        storage.copy(there[key], path)
        if digests.of_file(path) != digest:
            raise Refused(f"{self.address}/{key}: not the bytes that were sent; {self._remedy(key)}")

    def _remedy(self, key: str) -> str:
        name = key.partition("/")[0]
        return f"remove {self.address}/{name}/, and the training goes on from the checkpoint before"


def _plain(name: str) -> str:
    """The name of a file; raises Refused for one that leads elsewhere."""
    if Path(name).name != name:
        raise Refused(f"{name!r}: a checkpoint lists it, and it is no file's name: somebody else wrote there")
    return name
