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
    return Row(
        id=manifest.identity(source, name, content, 0, (0, 0, 0), (0, 0, 0, 0)),
        source=source,
        item=name,
        split=splits.of(content, params.split),
        locator=name,
        medium="prompt",
        file="",
        offset=0,
        size=0,
        content=content,
        start=0,
        shown=(),
        pts=(),
        time_base=(0, 1),
        flip=False,
        frames=0,
        height=0,
        width=0,
        source_width=0,
        source_height=0,
        source_frames=0,
        source_fps=0.0,
        crop=(0, 0, 0, 0),
        captions=(prompt,),
        weights=(1.0,),
        attributes="{}",
    )
