"""Captions without media: a row for each prompt, with nothing to be seen."""

from collections.abc import Iterator

from frostline import digests, manifest
from frostline.manifest import Row
from frostline.params.sources import PromptsParams
from frostline.sources import splits
from frostline.sources.listing import prompts as listing


def rows(source: str, params: PromptsParams) -> Iterator[Row]:
    """The rows in the order of the file; a prompt keeps its id and split wherever it stands."""
    return (_row(source, params, prompt) for prompt in listing.read(params.path))


def _row(source: str, params: PromptsParams, prompt: str) -> Row:
    content = digests.of_bytes(prompt.encode())
    name = f"prompt-{content[:16]}"
    return manifest.without_file(
        source,
        item=name,
        split=splits.of(content, params.split),
        locator=name,
        medium="prompt",
        content=content,
        bucket=(0, 0, 0),
        captions=(prompt,),
        attributes="{}",
    )
