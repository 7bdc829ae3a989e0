"""A transformer as one safetensors file of native names, as Wan-AI publishes it and ComfyUI's loader takes it."""

from pathlib import Path

from frostline import digests
from frostline.contract import METADATA, Contract
from frostline.wan import configs, rewriting, streaming
from frostline.wan.loading import Plan


def write(found: Plan, contract: Contract | None, path: Path) -> None:
    """Write the file tensor by tensor, bit for bit, with configuration and contract in its metadata."""
    metadata = {configs.METADATA: digests.canonical(found.config)}
    if contract is not None:
        metadata[METADATA] = digests.canonical(contract.model_dump(mode="json"))
    with streaming.opened(found) as tensors:
        rewriting.to_native("transformer", found.kinds, tensors.__getitem__, path, metadata)
