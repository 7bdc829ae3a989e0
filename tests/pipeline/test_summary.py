"""The last lines of `make run`, from the reports alone."""

import json
from pathlib import Path

from tests import stage_process

ROOT = Path(__file__).parents[2]
NUMBERS = {"1x32x32": {"accuracy": 0.9912, "latent_std": 0.93}, "9x32x32": {"accuracy": 0.97, "direction": 1.0}}


def summary(project: Path) -> stage_process.Finished:
    return stage_process.run(project, "summary", "--params", str(ROOT / "params.yaml"))


def test_it_says_what_was_made_how_good_it_is_where_it_lies_and_what_is_next(tmp_path: Path):
    names = ("teacher", "guided", "fast")
    for name in names:
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "reports/evaluation/pictures").mkdir(parents=True)
    (tmp_path / "reports/evaluation/pictures/guided_1x32x32.png").touch()
    (tmp_path / "reports/evaluation/metrics.json").write_text(json.dumps(dict.fromkeys(names, NUMBERS)))
    registered = {f"frostline-{name}": {"alias": "candidate"} for name in names}
    (tmp_path / "reports/registration.json").write_text(json.dumps(registered))
    said = summary(tmp_path)
    assert said.returncode == 0, said.stderr
    for words in (
        "models/guided, registered as models:/frostline-guided@candidate",
        "accuracy 0.991",
        "direction 1",
        "reports/evaluation/pictures/guided_1x32x32.png",
        'frostline sample --model models/fast --prompt "a handwritten digit seven" --output seven.png',
        "make ui",
    ):
        assert words in said.stdout


def test_without_reports_it_names_the_missing_file(tmp_path: Path):
    said = summary(tmp_path)
    assert said.returncode in (1, 2)
    assert "metrics.json" in said.stderr
    assert "Traceback" not in said.stderr
