"""Dataset configs of other tools, read into the `sources:` section of params.yaml.

A config is honoured or refused, never half read: a key that would change the data and has no counterpart here is an
error that names file, key and value; a key without meaning here becomes a note that says why it is harmless. A source
is written for every dataset and every length or resolution that the tool makes of it, so each keeps its own rows. Only
the config is read, and of a dataset what says that the config does not tell all of it.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from frostline import records
from frostline.errors import WrongUse
from frostline.importing import diffusion_pipe, musubi
from frostline.importing.sections import Imported
from frostline.params.sources import AnyMediaParams, MediaParams, SourceParams
from frostline.params.values import Name
from frostline.records import Record

TOOLS: dict[str, Callable[[Path], Imported]] = {"musubi-tuner": musubi.read, "diffusion-pipe": diffusion_pipe.read}
WIDTH = 120
FOLD = 90  # YAML is folded only behind the word that passes it


class Sources(Record):
    """The part of params.yaml that an importer writes."""

    sources: dict[Name, SourceParams]


def read(tool: str, config: Path) -> Imported:
    """Read a tool's dataset config; raises WrongUse naming every key that cannot be honoured."""
    if tool not in TOOLS:
        raise WrongUse(f"tool {tool!r}: not one of {', '.join(TOOLS)}")
    return TOOLS[tool](config)


def values(imported: Imported) -> dict[str, Any]:
    """The section as plain values: of a source first what and where it is, then what is done with it."""
    return {"sources": {name: _values(source) for name, source in imported.sources.items()}}


def text(imported: Imported, title: str) -> str:
    """The section as YAML that params.yaml takes, the notes in front of it as comments."""
    notes = [textwrap.wrap(note, WIDTH, initial_indent="# * ", subsequent_indent="#   ") for note in imported.notes]
    inline = {
        name: {key: _Inline(value) for key, value in source.items()}
        for name, source in values(imported)["sources"].items()
    }
    dumped = yaml.dump({"sources": inline}, Dumper=_Dumper, sort_keys=False, width=FOLD, allow_unicode=True)
    records.parse(Sources, yaml.safe_load(dumped), origin=title)
    return "\n".join([f"# {title}", *(line for lines in notes for line in lines), dumped])


def _values(source: AnyMediaParams) -> dict[str, Any]:
    dumped = source.model_dump(mode="json")
    where = ["kind", "path", *(key for key in dumped if key not in MediaParams.model_fields)]
    return {key: dumped[key] for key in dict.fromkeys([*where, *dumped])}


class _Inline(NamedTuple):
    """A value written in one line."""

    value: Any


class _Dumper(yaml.SafeDumper):
    """Writes the sections as params.yaml has them."""


def _in_one_line(dumper: _Dumper, inline: _Inline) -> yaml.Node:
    node = dumper.represent_data(inline.value)
    if isinstance(node, yaml.CollectionNode):
        node.flow_style = True
    return node


_Dumper.add_representer(_Inline, _in_one_line)
