"""The checks of a running training: what they ask, what they are judged by, and the record of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline import files
from frostline import findings as judging
from frostline.findings import Bound, Check, Finding

FILE = "checks.json"  # in a model folder
Measured = Mapping[str, Mapping[str, float]]  # by check and measure


def _none(measure: str) -> Bound:
    return Bound(measure=measure, op="==", value=0.0)


ABOUT: dict[str, Check] = {
    check.id: check
    for check in (
        Check(
            id="D10",
            name="frozen-vae",
            question="Did anything move that was to stay frozen?",
            procedure="Parameters in the optimiser that are not the network's own; frozen weights that a step changed.",
            remedy="Give the optimiser the parameters of the network alone; train on cached latents, without a VAE.",
            reference="tests/contract/test_closures.py",
        ),
        Check(
            id="D18",
            name="zero-init",
            question="Does a training begin where its configuration says?",
            procedure="At the first step a new network answers nothing but zeros, and an adapter changes nothing yet.",
            remedy="Initialise last, after every library has had its turn.",
            reference="Peebles and Xie, arXiv:2212.09748, section 3.2; Hu et al., arXiv:2106.09685, section 4.1",
        ),
        Check(
            id="D21",
            name="fresh-noise-gap",
            question="Does the loss hold on fresh noise?",
            procedure="Draws of (row, sigma, noise) that came before; loss of the same rows and sigmas with fresh "
            "noise, over that of the step; noise that several processes share.",
            remedy="Draw noise and timesteps from a generator of (seed, step, rank); give validation its own, and "
            "never seed the global one in it.",
            reference="docs/postmortem-replayed-noise.md",
        ),
        Check(
            id="D24",
            name="rank-sync",
            question="Are all ranks the same model?",
            procedure="All processes ask their network one question; the answers are compared.",
            remedy="Wrap one module; call it, not a part of it, in the step; keep nothing in it that differs by rank.",
            reference="docs/training.md",
        ),
        Check(
            id="D25",
            name="progress",
            question="Did it learn more than a straight line would?",
            procedure="Share of a sample of all trained numbers that one step changed.",
            remedy="Keep master weights in float32 (bfloat16 swallows small updates), look at the learning rate.",
            reference="docs/maths.md",
        ),
        Check(
            id="D29",
            name="conditioning",
            question="Is context fed the same way in training and sampling?",
            procedure="Context and timesteps that the step gave its network, and those a sampler gives it for the same "
            "rows, bit by bit.",
            remedy="Build both with one conditioner (frostline.continuation).",
            reference="docs/training.md",
        ),
        Check(
            id="D35",
            name="swallowed-errors",
            question="Did anything fail silently?",
            procedure="Rows of latents that are constant or not finite; the share of steps that were left out.",
            remedy="Run frostline cache verify --repair; find the handler that swallowed the error.",
            reference="docs/latents.md",
        ),
    )
}
BOUNDS: dict[str, tuple[Bound, ...]] = {
    "D10": (_none("foreign_parameters"), _none("frozen_moved")),
    "D18": (_none("first_answer"), _none("adapter_start")),
    "D21": (
        Bound(measure="repeated_draws", op="<=", value=0.01),
        Bound(measure="fresh_over_used", op="<", value=1.5, otherwise="warn"),
        Bound(measure="fresh_over_used", op="<", value=3.0),
        _none("shared_noise"),
    ),
    "D24": (Bound(measure="answers_apart", op="<", value=1e-3),),
    "D25": (Bound(measure="changed_by_a_step", op=">", value=0.5),),
    "D29": (_none("context_apart"), _none("timesteps_apart")),
    "D35": (_none("empty_rows"), Bound(measure="left_out", op="<=", value=0.005, otherwise="warn")),
}


def judged(id_: str, measured: Mapping[str, float], note: str = "") -> Finding:
    """What was measured of one check, judged by the bounds of what was measured."""
    bounds = tuple(bound for bound in BOUNDS[id_] if bound.measure in measured)
    return judging.judge(ABOUT[id_], measured, bounds, note=note)


def findings(measured: Measured) -> list[Finding]:
    """What was measured of several checks, judged, in their order."""
    return [judged(id_, measured[id_]) for id_ in sorted(measured)]


def stated(measured: Measured) -> dict[str, Any]:
    """What checks.json says: numbers with six digits, the same on every machine that makes the same weights."""
    rounded = {id_: {name: float(f"{value:.6g}") for name, value in of.items()} for id_, of in measured.items()}
    return {"findings": [finding.model_dump(mode="json") for finding in findings(rounded)]}


def read(path: Path) -> list[Finding]:
    """The findings of a record, judged anew: a verdict in a file is not believed. Raises as ``files.read_json``."""
    said = files.read_json(path)["findings"]
    return findings({one["id"]: one["measured"] for one in said if one["id"] in BOUNDS})
