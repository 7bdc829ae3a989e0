"""A model's transformers as files of native names, and beside them the workflow that samples them in ComfyUI."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from frostline import files, weights
from frostline.contract import Contract, Sampling
from frostline.errors import Refused, WrongUse
from frostline.origins import Origin
from frostline.wan import comfyui, exporting, layouts, workflow
from frostline.wan.comfyui import Setup
from frostline.wan.layouts import Role

WORKFLOW = ".workflow.json"  # in the place of .safetensors


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, and what ComfyUI makes of it."""

    files: tuple[Path, ...]
    workflow: Path | None
    unlike: tuple[str, ...]  # why it does not load there
    unsuited: tuple[str, ...]  # why no workflow would sample it as its contract says
    notes: tuple[str, ...]  # in what the workflow differs from sampling here


def write(origin: Origin, path: Path) -> Written:
    """Write one file, or one for each of two experts, and the workflow if there is a right one.

    Raises WrongUse if one of them is there already, Refused for a flow map: no native name is that of its end.
    """
    if origin.contract and origin.contract.process and origin.contract.process.prediction == "mean_velocity":
        raise Refused(
            f"{origin.place}: a flow map, which is told where to go as well, and Wan's native code and ComfyUI tell it "
            "only where it is: export it without --layout, for diffusers' AnyFlowPipeline"
        )
    targets, beside = _targets(origin, path), path.with_suffix(WORKFLOW)
    there = [file for file in (*targets.values(), beside) if file.exists()]
    if path.suffix != weights.SAFETENSORS or there:
        raise WrongUse(f"{there[0] if there else path}: name a new {weights.SAFETENSORS} file for the native layout")
    contract = origin.contract
    record = contract.sampling if contract else None
    unlike = comfyui.unlike(next(iter(origin.plans.values())).config)
    unsuited = [*comfyui.unsuited(contract, record), *_apart(origin)]
    setup = None
    if not unlike and not unsuited and contract is not None and record is not None:
        setup = _setup(origin, contract, record)
        unsuited = [] if setup else ["no size is recorded that it was trained on"]
    for role, file in targets.items():
        exporting.write(origin.plans[role], contract, file)
    if setup is not None:
        files.write_json(beside, workflow.build(setup, [file.name for file in targets.values()]))
    return Written(
        files=tuple(targets.values()),
        workflow=beside if setup else None,
        unlike=tuple(unlike),
        unsuited=tuple(unsuited),
        notes=setup.notes if setup else (),
    )


def _targets(origin: Origin, path: Path) -> Mapping[Role, Path]:
    if len(origin.plans) == 1:
        return dict.fromkeys(origin.plans, path)
    ends = {role: name.removesuffix("_model").replace("_", "-") for role, name in layouts.EXPERTS.items()}
    return {role: path.with_stem(f"{path.stem}-{ends[role]}") for role in origin.plans}


def _apart(origin: Origin) -> list[str]:
    """Why an expert alone, or two that nothing tells apart, are not sampled."""
    process = origin.contract.process if origin.contract else None
    if process is None or (process.expert_boundary is None) == (len(origin.plans) == 1):
        return []
    if process.expert_boundary is None:
        return ["its contract does not say at which sigma its two experts change"]
    return [f"it is one of two experts, which change at sigma {process.expert_boundary:g}: export the model of both"]


def _setup(origin: Origin, contract: Contract, record: Sampling) -> Setup | None:
    trained = contract.process.buckets if contract.process else None
    if trained:
        return comfyui.setup(contract, record, origin.family, trained[0])
    if origin.family is None:
        return None
    height, width = origin.family.sizes[0]
    return comfyui.setup(contract, record, origin.family, (origin.family.frames, height, width))
