"""Where a training can go on from: whole checkpoints or none, each with digests of what it holds.

<work>/step-00000500/tensors.safetensors   weights, average, optimiser
<work>/step-00000500/state.json            step, curves, identity of the training, digest of the tensors
"""

import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from frostline import digests, files
from frostline.errors import Refused

KEPT = 2
TENSORS, STATE = "tensors.safetensors", "state.json"


def save(work: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write the checkpoint after ``step`` steps, then forget all but the newest two."""
    folder = work / f"step-{step:08d}"
    with files.new_folder(folder) as beside:
        copies = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(copies, beside / TENSORS)
        files.write_json(beside / STATE, {**state, "step": step, "tensors": digests.of_file(beside / TENSORS)})
    for old in _all(work)[:-KEPT]:
        shutil.rmtree(old)
    return folder


def latest(work: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and state of the newest checkpoint, or None if there is none.

    Raises Refused if it belongs to another training (contract, data, params) or is damaged.
    """
    found = _all(work)
    if not found:
        return None
    state = files.read_json(found[-1] / STATE)
    wrong = [key for key in identity if state["identity"].get(key) != identity[key]]
    if wrong:
        lines = "; ".join(
            f"{key}: {identity[key]} (ours) against {state['identity'].get(key)} (theirs)" for key in wrong
        )
        raise Refused(
            f"{found[-1]}: a checkpoint of another training: {lines}; a work folder's name is the key of its training, "
            "so somebody put it there: move it away"
        )
    path = found[-1] / TENSORS
    digest = digests.of_file(path)
    if digest != state["tensors"]:
        raise Refused(f"{path}: digest {digest} is not the {state['tensors']} it was saved with; remove {found[-1]}")
    return safetensors.torch.load_file(path), state


def _all(work: Path) -> list[Path]:
    return sorted(path for path in work.glob("step-*") if path.is_dir())
