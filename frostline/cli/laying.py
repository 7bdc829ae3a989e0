"""One YAML file's values laid over another's: sections key by key, anything else in place of what was there.

Null takes a key away (as in a JSON merge patch, RFC 7396) unless null is a value that the key may have.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

Section = MutableMapping[str, Any]
Schema = Mapping[str, Any]
ABSENT = "(absent)"


def lay(values: Section, over: Section, schema: Schema) -> dict[str, tuple[Any, Any]]:
    """Change ``values`` in place; returns (old, new) of what changed, by dotted key.

    ``schema`` is the JSON schema of the values, with all its definitions: it says where null is a value.
    """
    return dict(_lay(values, over, [schema], schema["$defs"], ""))


def _lay(
    values: Section, over: Section, schemas: Iterable[Schema], definitions: Schema, prefix: str
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    schemas = list(schemas)
    for key, new in over.items():
        old = values.get(key, ABSENT)
        below = [one for schema in schemas for one in _of_key(schema, key)]
        if isinstance(old, MutableMapping) and isinstance(new, MutableMapping):
            fitting = (plain for one in below for plain in _plain(one, definitions, {**old, **new}))
            yield from _lay(old, new, fitting, definitions, f"{prefix}{key}.")
        elif new is None and not any(_is_null(plain) for one in below for plain in _plain(one, definitions, {})):
            if old is not ABSENT:
                yield f"{prefix}{key}", (values.pop(key), ABSENT)
        elif old != new:
            values[key] = new
            yield f"{prefix}{key}", (old, new)


def _of_key(schema: Schema, key: str) -> list[Schema]:
    """What a key of a section may hold: that of its name, or in a map of named things that of any."""
    if "patternProperties" in schema:
        return list(schema["patternProperties"].values())
    return [schema["properties"][key]] if key in schema.get("properties", ()) else []


def _plain(schema: Schema, definitions: Schema, section: Mapping[str, Any]) -> Iterator[Schema]:
    """What a schema may be for a section: references followed, of kinds the one the section names, of others any."""
    if "$ref" in schema:
        yield from _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions, section)
    elif "discriminator" in schema:
        kinds, key = schema["discriminator"]["mapping"], schema["discriminator"]["propertyName"]
        if section.get(key) in kinds:
            yield from _plain({"$ref": kinds[section[key]]}, definitions, section)
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _plain(one, definitions, section)
    else:
        yield schema


def _is_null(schema: Schema) -> bool:
    return schema.get("type") == "null"
