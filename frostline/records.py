"""Frozen keyword-only records: unknown, missing and mistyped keys are errors that name the key."""

from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from frostline.errors import WrongUse


class Record(pydantic.BaseModel):
    """Settings or facts that never change once made; compares and hashes by value."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())


R = TypeVar("R", bound=Record)


def unsaid(default: Any = None) -> Any:
    """A field that is not written where it is its default, None: what was written before it came stays equal."""
    return pydantic.Field(default=default, exclude_if=lambda value: value == default)


def parse(cls: type[R], values: Mapping[str, Any], *, origin: str, prefix: str = "") -> R:
    """Make a record of YAML or JSON ``values`` (lists become tuples).

    ``origin`` (a file name) and ``prefix`` (the section in it) stand in the message.
    Raises WrongUse naming every unknown, missing and mistyped key at once.
    """
    try:
        return cls.model_validate(frozen(values))
    except pydantic.ValidationError as error:
        lines = [_line(problem, values, prefix) for problem in error.errors(include_url=False)]
        raise WrongUse(f"{origin}: " + "; ".join(lines)) from None


def _line(problem: Any, values: Any, prefix: str) -> str:
    key = ".".join(str(part) for part in (*filter(None, [prefix]), *_keys(problem, values)))
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}' (value {problem['input']!r}): remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"missing key '{key}': add it"
    value = "" if isinstance(problem["input"], Mapping) else f" has the value {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    subject = f"key '{key}'" if key else "its keys"
    return f"{subject}{value}: {message[:1].lower()}{message[1:]}"


def _keys(problem: Any, values: Any) -> list[int | str]:
    """The keys of a problem as the file has them; pydantic puts the kinds of a union among them."""
    if not problem["loc"]:  # the record as a whole
        return []
    *outer, last = problem["loc"]
    keys: list[int | str] = []
    for part in outer:
        if _holds(values, part):
            values = values[part]
            keys.append(part)
    return [*keys, last] if _holds(values, last) or problem["type"] == "missing" else keys


def _holds(values: Any, key: int | str) -> bool:
    return key in values if isinstance(values, Mapping) else isinstance(values, list | tuple) and isinstance(key, int)


def frozen(value: Any) -> Any:
    """YAML or JSON values with lists made tuples, as the strict records take them."""
    if isinstance(value, Mapping):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value
