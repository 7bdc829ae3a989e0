"""Whether the settings beside a model are read by anyone (D30).

diffusers leaves a key alone that a class does not take, with a line in the log at most.
"""

import inspect
from pathlib import Path
from typing import Any

import diffusers

from frostline import files, findings
from frostline.doctor import catalogue
from frostline.findings import Bound, Finding

PLACES = ("scheduler/scheduler_config.json", "transformer/config.json", "transformer_2/config.json", "config.json")
BOUNDS = (Bound(measure="unread", op="==", value=0.0),)


def has_any(folder: Path) -> bool:
    """Whether there is a configuration whose class is known."""
    return any(_taken(config) is not None for config in _found(folder).values())


def unread(folder: Path) -> Finding:
    """D30: judge a model folder by keys of its configurations that their classes do not take."""
    keys, read = list[str](), 0
    for place, config in _found(folder).items():
        taken = _taken(config)
        if taken is None:
            continue
        own = [key for key in config if not key.startswith("_")]
        read += len(own)
        keys += [f"{key} in {place} ({config['_class_name']})" for key in own if key not in taken]
    note = f"nobody reads {', '.join(keys[:4])}" if keys else ""
    measured = {"unread": float(len(keys)), "keys": float(read)}
    return findings.judge(catalogue.about("D30"), measured, BOUNDS, note=note)


def _found(folder: Path) -> dict[str, dict[str, Any]]:
    return {place: files.read_json(folder / place) for place in PLACES if (folder / place).is_file()}


def _taken(config: dict[str, Any]) -> set[str] | None:
    """What the class that a configuration names takes; None if it names none, or one that diffusers does not have."""
    name = config.get("_class_name")
    cls = getattr(diffusers, name, None) if isinstance(name, str) else None
    return None if cls is None else set(inspect.signature(cls.__init__).parameters)
