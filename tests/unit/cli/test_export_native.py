import json
import subprocess
import sys

import torch

from frostline import models
from frostline.wan import layouts, loading

EXPORT = [sys.executable, "-c", "from frostline.cli import main; main()", "export"]


def test_a_model_becomes_one_file_of_native_names(tmp_path, tiny_model):
    path = tmp_path / "model.safetensors"
    command = [*EXPORT, str(tiny_model), str(path), "--layout", "native", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert any(line.startswith("attention_head_dim") for line in said["not_for_comfyui"])
    assert (said["output"], said["workflow"]) == ([str(path)], None)
    [source] = layouts.found(path).sources.values()
    ours, theirs = models.load(tiny_model).transformer.state_dict(), loading.load(source, torch.float32).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "name a new .safetensors file" in again.stderr
