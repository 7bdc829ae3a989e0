"""What DVC makes of dvc.yaml and params.yaml: models that begin with others depend on them."""

from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage

ROOT = Path(__file__).parents[2]


def dependencies(folder: Path, values: dict[str, Any]) -> dict[str, set[str]]:
    """What every stage of the project depends on under some params, by the stage's name."""
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    with Repo.init(str(folder), no_scm=True) as repo:
        stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
        return {str(stage.name): {dep.def_path for dep in stage.deps} for stage in stages}


def test_a_tuned_model_depends_on_its_start_and_nothing_else_changes(tmp_path: Path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    (tmp_path / "plain").mkdir()
    before = dependencies(tmp_path / "plain", values)
    assert not [name for name in before if name.startswith("tune@")]
    run = {key: value for key, value in values["train"]["runs"]["teacher"].items() if key != "model"}
    values["tuned"] = {"warm": run | {"start": "models/teacher"}, "brought": run | {"start": "bases/wan2.1-1.3b"}}
    values["students"]["guided"]["teacher"] = "models/warm"
    (tmp_path / "tuned").mkdir()
    after = dependencies(tmp_path / "tuned", values)
    assert after["tune@warm"] - after["train@teacher"] == {"models/teacher"}
    assert after["tune@brought"] - after["train@teacher"] == {"bases/wan2.1-1.3b"}
    assert "models/warm" in after["distill@guided"]
    assert after["train@teacher"] == before["train@teacher"]
