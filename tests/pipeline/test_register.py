"""register: every gate alone stops it and names itself; nothing is registered then; twice is once."""

import json
from pathlib import Path

import pytest
import yaml

from frostline import files, gates, models, params, registration
from frostline.errors import Refused
from tests import stage_process

PROJECT = Path(__file__).resolve().parents[2]
NUMBERS = {"1x32x32": {"accuracy": 0.99, "n": 70}, "5x32x32": {"accuracy": 0.97, "direction": 0.98, "n": 30}}
FLOORS = params.GateParams(minimum_accuracy=0.9, minimum_direction=0.9)


@pytest.fixture(scope="module")
def project(tmp_path_factory, make_model):
    """A folder with a finished teacher and student, their reports and params, and an empty registry."""
    root = tmp_path_factory.mktemp("project")
    for seed, (name, changes) in enumerate({"teacher": {}, "guided": {"guidance_form": "folded"}}.items()):
        folder = make_model(root / "models" / name, seed=seed, sampling=changes)
        (folder / "curve.tsv").write_text("step\tloss\n5\t1.5\n10\t0.5\n")
        (folder / "validation.tsv").write_text("step\t1x32x32\n10\t0.75\n")
    write_reports(root)
    values = yaml.safe_load((PROJECT / "params.yaml").read_text())
    del values["students"]["fast"]
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return root


def write_reports(root):
    evaluated = {}
    for folder in sorted((root / "models").iterdir()):
        contract, _, training = models.facts(folder)
        evaluated[folder.name] = {"weights_digest": training.weights_digest, "contract_digest": contract.digest}
    files.write_json(root / "evaluation" / "evaluated.json", evaluated)
    files.write_json(root / "evaluation" / "metrics.json", dict.fromkeys(evaluated, NUMBERS))
    files.write_json(root / "preflight.json", {"passed": True, "failed": [], "findings": {}})
    good = {"passed": True, "sentence": "no cause was found"}
    examined = {name: {**good, **digests} for name, digests in evaluated.items()}
    files.write_json(root / "doctor.json", {"caches": good, "models": examined})


def arguments(*extra):
    reports = [
        "--evaluation",
        "evaluation",
        "--preflight",
        "preflight.json",
        "--doctor",
        "doctor.json",
        "--report",
        "registration.json",
    ]
    return ["--models", "models", "--registry", "mlruns", *reports, *extra]


@pytest.fixture
def run_here(project, main_in, capsys):
    """Runs the stage in this process, which knows MLflow already; returns what it printed."""

    def run(*extra):
        main_in(project, "register", *arguments(*extra))
        return capsys.readouterr().out

    return run


def evidence(folder, **changes):
    contract, _, training = models.facts(folder)
    good = gates.Evidence(
        folder=folder,
        training=training,
        contract_digest=contract.digest,
        evaluated_weights=training.weights_digest,
        evaluated_contract=contract.digest,
        preflight=True,
        preflight_failed=(),
        numbers=NUMBERS,
        examined_weights=training.weights_digest,
        examined_contract=contract.digest,
        found=(),
    )
    return good.model_copy(update=changes)


def test_a_good_model_passes_every_gate(tiny_model):
    verdicts = gates.judge(evidence(tiny_model), FLOORS)
    assert [(verdict.gate, verdict.says) for verdict in verdicts] == [
        (name, "passed") for name in ("complete", "evaluated", "preflight", "diagnosed", "accuracy", "direction")
    ]


@pytest.mark.parametrize(
    ("gate", "changes", "says"),
    [
        ("evaluated", {"evaluated_weights": None}, "dvc repro evaluate"),
        ("evaluated", {"numbers": {}}, "judged in no bucket"),
        ("evaluated", {"evaluated_weights": "0" * 32}, "weights 0000"),
        ("evaluated", {"evaluated_contract": "0" * 32}, "contract 0000"),
        ("preflight", {"preflight": False, "preflight_failed": ("D08",)}, "D08"),
        ("diagnosed", {"examined_weights": None}, "dvc repro diagnose"),
        ("diagnosed", {"examined_weights": "0" * 32}, "weights 0000"),
        ("diagnosed", {"examined_contract": "0" * 32}, "contract 0000"),
        ("diagnosed", {"found": ("the most probable cause is D21 fresh-noise-gap",)}, "D21 fresh-noise-gap"),
        ("accuracy", {"numbers": {**NUMBERS, "1x32x32": {"accuracy": 0.89}}}, "0.89 of 1x32x32"),
        ("accuracy", {"numbers": {**NUMBERS, "1x32x32": {"accuracy": float("nan")}}}, "nan of 1x32x32"),
        ("direction", {"numbers": {"5x32x32": {"accuracy": 1.0, "direction": 0.5}}}, "0.5 of 5x32x32"),
    ],
)
def test_each_gate_fails_alone(tiny_model, gate, changes, says):
    failed = [verdict for verdict in gates.judge(evidence(tiny_model, **changes), FLOORS) if verdict.failed]
    assert [verdict.gate for verdict in failed] == [gate]
    assert says in failed[0].says


def test_an_unfinished_model_fails_complete_alone(make_model, tmp_path):
    folder = make_model(tmp_path / "early", steps_planned=600, steps_done=79)
    failed = [verdict for verdict in gates.judge(evidence(folder), FLOORS) if verdict.failed]
    assert [(verdict.gate, "79 of 600 steps" in verdict.says) for verdict in failed] == [("complete", True)]


def test_a_gate_that_could_not_be_judged_does_not_read_as_passed(tiny_model):
    verdicts = {verdict.gate: verdict for verdict in gates.judge(evidence(tiny_model, numbers={}), FLOORS)}
    assert verdicts["accuracy"].says.startswith("not applicable")


def test_a_failed_gate_is_exit_1_names_itself_and_leaves_nothing(project):
    files.write_json(project / "preflight.json", {"passed": False, "failed": ["D11"], "findings": {}})
    refused = stage_process.run(project, "register", *arguments())
    write_reports(project)
    assert refused.returncode == 1
    assert "models/guided: gate 'preflight' failed" in refused.stderr
    assert "D11" in refused.stderr
    assert not (project / "registration.json").exists()
    assert not (project / "mlruns").exists()


@pytest.mark.parametrize("of", ["caches", "guided"])
def test_what_the_doctor_found_leaves_nothing_registered(project, main_in, of):
    said = files.read_json(project / "doctor.json")
    wrong = said["caches"] if of == "caches" else said["models"][of]
    wrong |= {"passed": False, "sentence": f"{of}: the most probable cause is D08 latent-stats"}
    files.write_json(project / "doctor.json", said)
    with pytest.raises(Refused, match=rf"gate 'diagnosed' failed: {of}: the most probable cause is D08"):
        main_in(project, "register", *arguments())
    write_reports(project)
    assert not (project / "registration.json").exists()


def test_without_a_report_it_says_which_is_missing(project, main_in, capsys):
    with pytest.raises(SystemExit):
        main_in(project, "register", "--models", "models", "--registry", "mlruns", "--report", "registration.json")
    assert "--evaluation, --preflight, --doctor missing" in capsys.readouterr().err


def test_a_model_that_the_doctor_never_saw_is_not_registered(project, main_in):
    said = files.read_json(project / "doctor.json")
    del said["models"]["teacher"]
    files.write_json(project / "doctor.json", said)
    with pytest.raises(Refused, match=r"models/teacher: gate 'diagnosed' failed: weights None examined"):
        main_in(project, "register", *arguments())
    write_reports(project)


def test_a_model_that_went_on_from_another_is_registered_with_that_one_s_digest(tmp_path, make_model, registry_store):
    folder = make_model(tmp_path / "models" / "tuned", start_digest="5" * 32)
    for name in ("curve.tsv", "validation.tsv"):
        (folder / name).write_text("step\tloss\n10\t0.5\n")
    write_reports(tmp_path)
    settings = params.RegisterParams(prefix="went-on-", alias="candidate", gates=FLOORS)
    version, said = registration.register(folder, settings, tmp_path / "evaluation", registry_store.folder)
    assert said["tags"]["start_digest"] == "5" * 32

    from frostline import tracking

    found = tracking.lookup(registry_store, f"models:/{version.name}@candidate")
    assert tracking.tags(found)["start_digest"] == "5" * 32
    logged = registry_store.client.get_run(str(found.run_id)).data
    assert logged.params["training.start_digest"] == "5" * 32


def test_registered_once_with_its_lineage_and_missed_when_gone(project, run_here, main_in, capsys, registry_store):
    there = ("--registry", str(registry_store.folder))
    assert run_here(*there).count(": registered as") == 2
    report = (project / "registration.json").read_bytes()
    assert run_here(*there).count("already there") == 2
    assert (project / "registration.json").read_bytes() == report

    from frostline import tracking

    version = tracking.lookup(registry_store, "models:/frostline-guided@candidate")
    main_in(project, "page", "--runs", "registration.json", *there)
    places = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert sorted(places) == ["frostline-guided", "frostline-teacher"]
    assert places["frostline-guided"].endswith(f"/runs/{version.run_id}")
    values = json.loads(report)["frostline-guided"]
    assert values["tags"]["weights_digest"] == models.facts(project / "models" / "guided")[2].weights_digest
    assert values["tags"].items() <= tracking.tags(version).items()
    assert "git_commit" in tracking.tags(version)
    assert not [unstable for unstable in (str(version.run_id), "git_commit") if unstable in report.decode()]
    logged = registry_store.client.get_run(str(version.run_id)).data
    assert logged.metrics["5x32x32/direction"] == 0.98
    assert (logged.metrics["loss"], logged.metrics["validation/1x32x32"]) == (0.5, 0.75)
    assert logged.params["contract.sampling.guidance_form"] == "folded"

    assert "start_digest" not in tracking.tags(version)
    assert "training.start_digest" not in logged.params

    run_here("--check", *there)
    with pytest.raises(Refused, match="dvc repro --force --single-item register"):
        run_here("--check")
