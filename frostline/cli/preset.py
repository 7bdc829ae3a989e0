"""`frostline preset`: settings of presets/NAME.yaml laid over params.yaml, comments kept."""

import io
import itertools
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from frostline.cli import laying, output
from frostline.errors import WrongUse

HARDWARE = "Hardware: "


class Head(NamedTuple):
    """What a preset says of itself in the comment it begins with."""

    what: str  # its first line
    hardware: str  # that of the line which begins so


def preset(
    name: Annotated[
        str | None, typer.Argument(help="Of a file in the presets folder; without it they are listed.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List them, with the hardware each asks for.")] = False,
    params: Annotated[Path, typer.Option(help="The file to change.")] = Path("params.yaml"),
    presets: Annotated[Path, typer.Option(help="Folder of presets.")] = Path("presets"),
    as_json: Annotated[bool, typer.Option("--json", help="Print what was changed as JSON.")] = False,
) -> None:
    """Lay a preset over params.yaml: its values replace ours, deep down; `git checkout params.yaml` takes it back.

    Null takes a key away, unless the key may be null.
    """
    if name is None or listed:
        heads = {one: head(_file(presets, one)) for one in _names(presets)}
        facts = {"presets": {one: found._asdict() for one, found in heads.items()}}
        output.say("\n".join(_list(heads)), facts, as_json=as_json)
        return
    changed = apply(params, _file(presets, name))
    absent = _absent(params)
    lines = [f"{key}: {old} -> {new}" for key, (old, new) in changed.items()]
    stated = {key: [str(old), str(new)] for key, (old, new) in changed.items()}
    facts = {"params": str(params), "changed": stated, "absent": absent}
    output.say("\n".join([*lines, f"{params}: {len(changed)} value(s) changed", *absent]), facts, as_json=as_json)


def apply(params: Path, preset: Path) -> dict[str, tuple[Any, Any]]:
    """Lay one YAML file over another and check the result; returns what changed, by dotted key.

    Raises WrongUse naming the key, and writes nothing, if the result is not a set of params.
    """
    from yaml import safe_load

    from frostline import files, records
    from frostline.params import Params

    yaml = _yaml()
    values, over = _read(yaml, params), _read(yaml, preset)
    changed = laying.lay(values, over, Params.model_json_schema())
    _brace_empty(values)
    text = io.StringIO()
    yaml.dump(values, text)
    records.parse(Params, safe_load(text.getvalue()), origin=f"{preset} over {params}")
    files.write_text(params, text.getvalue())
    return changed


def head(preset: Path) -> Head:
    """What a preset's first comment says; empty where it says nothing."""
    found = itertools.takewhile(lambda line: line.startswith("#"), preset.read_text("utf-8").splitlines())
    lines = [line.removeprefix("#").strip() for line in found]
    hardware = (line.removeprefix(HARDWARE) for line in lines if line.startswith(HARDWARE))
    return Head(next(iter(lines), ""), next(hardware, ""))


def _list(heads: dict[str, Head]) -> list[str]:
    """A line or two for each preset."""
    wide = max(map(len, heads), default=0)
    rows = [(name if first else "", text) for name, of in heads.items() for first, text in _told(of)]
    return [f"{name:<{wide}}  {text}".rstrip() for name, text in rows]


def _told(of: Head) -> list[tuple[bool, str]]:
    return [(True, of.what), *([(False, of.hardware)] if of.hardware else [])]


def _absent(params: Path) -> list[str]:
    """What the user has to bring yet."""
    from frostline import given
    from frostline import params as records

    return given.absent(records.load(params), params.parent)


def _yaml() -> Any:
    from ruamel.yaml import YAML, RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Writes null as params.yaml does, in a word."""

    Representer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()  # round trip: keeps comments and order
    yaml.Representer = Representer
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.preserve_quotes = True
    return yaml


def _read(yaml: Any, path: Path) -> laying.Section:
    from ruamel.yaml import YAMLError

    try:
        values = yaml.load(path)
    except FileNotFoundError:
        raise WrongUse(f"{path}: no such file; run the command in the project's folder") from None
    except YAMLError as error:
        raise WrongUse(f"{path}: not YAML: {error}") from None
    if not isinstance(values, MutableMapping):
        raise WrongUse(f"{path}: holds no sections")
    return values


def _brace_empty(section: Any) -> None:
    """Have sections of which nothing is left written as {}, behind their key: below a comment it would be no YAML."""
    if not isinstance(section, MutableMapping):
        return
    if not section:
        getattr(section, "fa").set_flow_style()  # noqa: B009 - the round trip's own, which no type knows
    for value in section.values():
        _brace_empty(value)


def _names(presets: Path) -> list[str]:
    return sorted(path.stem for path in presets.glob("*.yaml"))


def _file(presets: Path, name: str) -> Path:
    if name not in _names(presets):
        raise WrongUse(f"preset {name!r}: not in {presets}/, which has: {', '.join(_names(presets)) or 'none'}")
    return presets / f"{name}.yaml"
