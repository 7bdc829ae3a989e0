"""What a command says: one line for people, or JSON for programs."""

import json
from collections.abc import Mapping


def say(line: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print the line, or the facts as JSON."""
    print(json.dumps(facts, indent=2, sort_keys=True) if as_json else line)
