"""The parts of a finished cache put into an object store, and their address into the cache's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline import digests, files, storage
from frostline.storage import Published, Sending
from frostline.store import locations
from frostline.store.layout import MANIFEST


def send(folder: Path, parts: Sequence[Mapping[str, Any]], pool: Path, address: str) -> Published:
    """Send parts, as the manifest in ``folder`` lists them, and then the manifest; parts that are there stay.

    Raises Gone or Changed for a part that is not in the pool, or not what its digest says; what ``storage.publish``
    raises where the store does not do as it should: what was sent stays there, and the next run goes on.
    """
    sending = [
        Sending(path=str(pool / part["name"]), name=locations.key(part["name"], part["digest"]), digest=part["digest"])
        for part in parts
    ]
    manifest = folder / MANIFEST
    last = Sending(path=str(manifest), name=MANIFEST, digest=digests.of_file(manifest))
    done = storage.publish(sending, address, last=last)
    files.write_json(folder / locations.STORE, {"address": address})
    return done
