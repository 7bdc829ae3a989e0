"""dvc.lock as `dvc repro` leaves it, though several stages ran at a time and flows may have been killed."""

import json
from collections.abc import Sequence
from pathlib import Path

from flows import graph

NOTE = Path(".dvc/tmp/flow-order.json")  # what was in dvc.lock before the first flow that came to no end


def begin(root: Path) -> None:
    """Note what is in dvc.lock; a flow that goes on after a killed one keeps that one's note."""
    if not (root / NOTE).exists():
        beside = (root / NOTE).with_suffix(".new")
        beside.write_text(json.dumps(graph.locked(root)))
        beside.replace(root / NOTE)


def end(root: Path, planned: Sequence[str]) -> None:
    """Put the stages that came in since then into the order of the plan, which is that of `dvc repro`."""
    before = json.loads((root / NOTE).read_text())
    order = [*before, *(address for address in planned if address not in before)]
    found = graph.locked(root)
    if found != [address for address in order if address in found]:
        graph.order_lock(root, order)
    if set(planned) <= set(found):
        (root / NOTE).unlink()
