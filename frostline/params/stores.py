"""The section ``store``: where finished caches are kept, and what of them stays on this machine's disk."""

from typing import Annotated

import pydantic

from frostline.params.values import Positive
from frostline.records import Record


def _store(address: str) -> str:
    """Refuse what is no prefix of a bucket."""
    bucket, slash, prefix = address.removeprefix("s3://").partition("/")
    if not (address.startswith("s3://") and bucket and slash and prefix.strip("/")) or address.endswith("/"):
        raise ValueError("write s3://bucket/prefix, or null to keep all of it on this machine's disk")
    return address


Address = Annotated[str, pydantic.AfterValidator(_store)]


class StoreParams(Record):
    """Caches in an object store. Only ``address`` makes anything run again."""

    address: Address | None  # s3://bucket/prefix; null: in data/latents
    blocks: str  # folder in which what is read from there is kept
    gigabytes: Positive  # of 10^9 bytes, which that folder may hold

    @property
    def bound(self) -> int:
        """Bytes that the folder may hold."""
        return self.gigabytes * 10**9

    def of(self, source: str) -> str | None:
        """Where the parts of a source's cache are kept; None for its folder in data/latents."""
        return f"{self.address}/{source}" if self.address else None
