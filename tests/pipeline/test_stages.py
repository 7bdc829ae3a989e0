"""The stages as DVC runs them, one process each, on a few digits and the project's own miniature."""

import copy
import functools
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

from benchmarks.parts import stand_in
from frostline import adapting, checkpoints, digests, digits, engine, files, media, merging, models, origins, teachers
from frostline.dataset import Dataset
from frostline.errors import FrostlineError, Refused, WrongUse
from frostline.manifest import SPLITS
from frostline.wan import lora_files
from tests import neutral, stage_process, tiny
from tests.object_store import ask, keys
from tests.relay import Relay
from tests.stage_process import refused

pytest_plugins = ["tests.servers"]

ROOT = Path(__file__).parents[2]
LATENTS = ["--latents", "data/latents"]
INDEXED = ["--index", "data/latents.json", *LATENTS]
PREFLIGHT = ["--preflight", "reports/preflight.json"]
INDEX = ["index", *LATENTS, "--index", "data/latents.json"]
TRAIN = ["train", "teacher", *INDEXED, *PREFLIGHT, "--model", "models/teacher"]
TUNE = ["tune", "warm", *INDEXED, *PREFLIGHT, "--model", "models/warm"]
LIGHT = ["tune", "light", *INDEXED, *PREFLIGHT]
ON_LATENTS = ["--index", "data/latents.json", "--data", "data/latents", *PREFLIGHT]
DISTILL = ["distill", "guided", *ON_LATENTS, "--model", "models/guided"]
SEEN = "data/trajectories/teacher"
FOLLOW = ["trajectories", "teacher", *INDEXED, *PREFLIGHT, "--trajectories", SEEN]
FAST = ["distill", "fast", "--index", f"{SEEN}.json", "--data", SEEN, *PREFLIGHT, "--model", "models/fast"]
CHECK = ["preflight", "--manifests", "data/manifest", *INDEXED, "--report", "reports/preflight.json"]
IMAGES, CLIPS = "1x32x32", "5x32x32"
FEW = {"sampler": "flow_map", "shift": 3.0, "guidance": 1.0}
SPLIT = {"seed": 0, "validation": 0.2, "test": 0.1}


def settings() -> dict[str, Any]:
    """The project's params with two folders and a list of prompts for sources, and trainings of few steps."""
    values = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))
    values["base"] = str(ROOT / values["base"])
    values["sources"] = {
        "clips": neutral.section("media/clips", "frames", split=SPLIT),
        "pictures": neutral.section("media/pictures", "imagefolder", split=SPLIT),
        "said": {"kind": "prompts", "path": "media/said.txt", "split": SPLIT},
    }
    values["cache"] |= {"encode_batch": 8, "threads": 1, "preview_prompts": ["a handwritten digit seven"]}
    values["preflight"] |= {"statistics_rows": 100, "roundtrip_rows": 4, "reencode_rows": 2, "minimum_psnr": 20.0}
    short = {
        "steps": 120,
        "buckets": {IMAGES: {"share": 0.5, "batch": 4}, CLIPS: {"share": 0.5, "batch": 2}},
        "validate_every": {"steps": 60},
        "checkpoint_every": 20,
        "threads": 1,
    }
    teacher = values["train"]["runs"]["teacher"] | short
    teacher["model"] = {"layers": 2, "heads": 1, "head_dim": 12, "ffn_dim": 24, "patch_size": [1, 1, 1]}
    teacher["sampling"] |= {"steps": 2}
    values["train"]["runs"] = {"teacher": teacher, "early": teacher | {"stop_at": 3}}
    warm = {key: value for key, value in teacher.items() if key != "model"} | {"steps": 4, "checkpoint_every": 2}
    values["tuned"] = {"warm": warm | {"start": "models/teacher"}}
    values["tuned"]["light"] = values["tuned"]["warm"] | {"adapter": {"rank": 2, "alpha": 2.0, "targets": ["to_q"]}}
    guided = values["students"]["guided"] | short | {"layers": [1], "steps": 5}
    guided["sampling"] |= {"steps": 2}
    fast = values["students"]["fast"] | short | {"layers": [0, 1], "steps": 4, "sampling": {**FEW, "steps": 2}}
    values["students"] = {"guided": guided, "hasty": guided | {"teacher": "models/early"}, "fast": fast}
    seen = {"points": 2, "substeps": 1, "rows": {IMAGES: 20, CLIPS: 6}, "validation": 2, "threads": 1}
    values["trajectories"]["teacher"] |= seen
    return values


def draw(folder: Path) -> None:
    """Forty images and twelve clips of real digits, with captions; and ten captions alone."""
    pictures, clips = [], []
    for scan in range(40):
        media.write_png(folder / "pictures" / f"{scan}.png", digits.render(scan, 0, 1)[0])
        pictures.append({"file_name": f"{scan}.png", "text": digits.caption(int(digits.labels()[scan]))})
    for scan in range(12):
        for number, frame in enumerate(digits.render(scan, 0, 5, "left")):
            media.write_png(folder / "clips" / f"{scan}" / f"{number}.png", frame)
        clips.append({"file_name": f"{scan}", "text": digits.caption(int(digits.labels()[scan]), "left")})
    (folder / "said.txt").write_text("\n".join(digits.caption(label, "up") for label in range(10)))
    for name, lines in (("pictures", pictures), ("clips", clips)):
        (folder / name / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))


def done(project: Path, stage: str, *arguments: str) -> stage_process.Finished:
    result = stage_process.run(project, stage, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture
def here(project: Path, main_in: Callable[..., None]) -> Callable[..., None]:
    """Runs a stage's ``main`` in this process: ``here("train", "teacher")``."""
    return functools.partial(main_in, project)


def refusal(error: type[FrostlineError], call: Callable[..., None], *command: str) -> str:
    """What a stage says when it refuses."""
    with pytest.raises(error) as caught:
        call(*command)
    return str(caught.value)


def write(project: Path, values: dict[str, Any]) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run once; read it, never write in it."""
    project = tmp_path_factory.mktemp("project")
    draw(project / "media")
    write(project, settings())
    for name in ("pictures", "clips", "said"):
        done(project, "prepare", name, "--manifest", f"data/manifest/{name}")
        done(project, *cached(name))
    done(project, *INDEX)
    done(project, *CHECK)
    for command in (TRAIN, DISTILL):
        assert "the frozen ones are not loaded" in done(project, *command).stdout
    done(project, *FOLLOW)
    done(project, *FAST)
    return project


def cached(name: str) -> list[str]:
    return ["cache", name, "--manifest", f"data/manifest/{name}", "--latents", f"data/latents/{name}"]


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil, without the models."""
    for name in ("data", "reports", "media"):
        shutil.copytree(whole / name, tmp_path / name)
    write(tmp_path, settings())
    return tmp_path


def test_media_become_a_teacher_and_a_student(whole: Path):
    rows = Dataset(whole / "data" / "latents.json", whole / "data" / "latents")
    found = {bucket: sum(len(rows.rows(bucket, split)) for split in SPLITS) for bucket in rows.buckets}
    assert found == {IMAGES: 40, CLIPS: 12}
    verdicts = files.read_json(whole / "reports" / "preflight.json")
    assert set(verdicts["findings"]) == {
        "source clips",
        "source pictures",
        "source said",
        "train teacher",
        "train early",
        "tune warm",
        "tune light",
    }
    teacher, student = (models.load(whole / "models" / name) for name in ("teacher", "guided"))
    assert teacher.training.complete
    assert student.training.complete
    assert teacher.contract.latent_space == student.contract.latent_space == rows.space
    assert student.contract.sampling is not None
    assert student.contract.sampling.teacher_digest == teacher.training.weights_digest
    assert (student.training.tensor_sources or {})["blocks.0.attn1.to_q.weight"] == "blocks.1.attn1.to_q.weight"
    assert teacher.training.dataset_digest == rows.digest
    (preview,) = (whole / "models" / "guided" / "preview").iterdir()
    assert safetensors.torch.load_file(preview)["latents"].shape == (1, 16, 1, 4, 4)
    remembered = {"rows", "texts", "latents"}
    left = [path for path in (whole / ".work").glob("*/*/*") if path.parts[-3] not in remembered]
    assert not left, "finished stages give up their work folders"


def test_a_student_of_few_steps_learns_from_what_its_teacher_was_seen_to_do(whole: Path):
    rows = Dataset(whole / f"{SEEN}.json", whole / SEEN)
    assert {bucket: len(rows.rows(bucket, "train")) for bucket in rows.buckets} == {IMAGES: 20, CLIPS: 6}
    teacher, fast = (models.load(whole / "models" / name) for name in ("teacher", "fast"))
    assert rows.trajectories is not None
    assert rows.trajectories.teacher_digest == teacher.training.weights_digest
    process, sampled = fast.sampled()
    assert (process.prediction, sampled.allowed_steps) == ("mean_velocity", (1, 2))
    assert fast.training.dataset_digest == rows.digest
    assert fast.contract.latent_space == teacher.contract.latent_space


def test_a_student_learns_from_two_experts(project: Path, here: Callable[..., None]):
    teacher = stand_in.experts(project / "bases" / "pair")
    values = settings()
    student = values["students"]["guided"] | {"teacher": str(teacher), "layers": [0], "guidance": [4.0, 3.0]}
    values["students"] = {"guided": student, "plain": student | {"guidance": 4.0}}
    write(project, values)
    said = refusal(Refused, here, "distill", "plain", *ON_LATENTS, "--model", "models/plain")
    assert "two experts, and the student says guidance: 4: give" in said
    assert "guidance: [4, 3] as the teacher's contract has it" in said
    done(project, *DISTILL)
    made = models.load(project / "models" / "guided")
    process, sampled = made.sampled()
    assert (sampled.scales, sampled.guidance_form, process.expert_boundary) == ((4.0, 3.0), "folded", None)
    assert (made.training.tensor_sources or {})["proj_out.weight"] == "transformer/proj_out.weight"
    begun = teachers.load(teacher)
    assert sampled.teacher_digest == begun.training.weights_digest
    assert not torch.equal(made.transformer.proj_out.weight, begun.transformer.proj_out.weight)


def test_prompts_without_media_are_cached_as_text_beside_them(whole: Path):
    rows = Dataset(whole / "data" / "latents.json", whole / "data" / "latents")
    counts = files.read_json(whole / "data" / "latents.json")["sources"]["said"]["rows"]
    assert sum(counts.values()) == 10
    asked = rows.prompt_rows("train")
    assert len(asked) == counts["prompts/train"]
    assert {rows.prompt_items[row].caption for row in asked} <= {digits.caption(label, "up") for label in range(10)}
    assert rows.prompt_texts(asked).shape == (len(asked), rows.space.text_length, rows.space.text_dim)
    assert files.read_json(whole / "reports" / "preflight.json")["findings"]["source said"] == []


def test_the_same_input_gives_the_same_bytes(whole: Path, project: Path, here: Callable[..., None]):
    shutil.rmtree(project / "data" / "latents" / "clips")
    here(*cached("clips"))
    for name in ("data/latents/clips", "data/latents/pictures"):
        assert digests.of_folder(project / name) == digests.of_folder(whole / name)


def test_caches_in_a_bucket_are_small_here_and_train_the_same_teacher(
    whole: Path, project: Path, here: Callable[..., None], bucket: str, relay: Relay
):
    shutil.rmtree(project / "data" / "latents")
    store = {"address": f"s3://{bucket}/caches", "blocks": ".work/blocks", "gigabytes": 1}
    write(project, settings() | {"store": store})
    for name in ("pictures", "clips", "said"):
        here(*cached(name))
        assert {path.name for path in (project / "data" / "latents" / name).iterdir()} == {
            "manifest.json",
            "store.json",
        }
    here(*INDEX)
    for name in ("data/latents.json", "data/latents/clips/manifest.json"):
        assert (project / name).read_bytes() == (whole / name).read_bytes()
    here(*CHECK)
    assert (project / "reports" / "preflight.json").read_bytes() == (whole / "reports" / "preflight.json").read_bytes()
    here(*TRAIN)
    weights = [models.load(folder / "models" / "teacher").training.weights_digest for folder in (project, whole)]
    assert weights[0] == weights[1]
    relay.requests.clear()
    here(*cached("clips"))
    assert relay.said("PUT", "POST", "DELETE") == []  # nothing is sent twice
    part = next(key for key in keys(bucket) if key.startswith("caches/clips/items/"))
    ask("delete_object", Bucket=bucket, Key=part)
    said = refusal(Refused, here, *CHECK)
    assert said.startswith(f"s3://{bucket}/{part}: missing; `frostline cache verify --repair` sends it again")


def wait_for(work: Path, count: int, process: stage_process.Running) -> None:
    """Until ``count`` checkpoints' worth of steps are done."""
    deadline = time.monotonic() + stage_process.SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if list(work.glob(f"train-teacher/*/step-{count * 20:08d}")):
            return
        time.sleep(0.01)
    pytest.fail(f"the training ended before it was stopped: {stage_process.ended(process).stderr}")


def test_a_training_killed_and_then_preempted_goes_on_to_the_same_bytes(
    whole: Path, project: Path, here: Callable[..., None]
):
    work, model = project / ".work", project / "models" / "teacher"
    process = stage_process.start(project, *TRAIN)
    wait_for(work, 1, process)
    process.kill()
    stage_process.ended(process)
    process = stage_process.start(project, *TRAIN)
    wait_for(work, 2, process)
    process.send_signal(signal.SIGTERM)
    refused(stage_process.ended(process), 75, "progress is in .work/train-teacher/", "run the same command again")
    assert not model.exists()

    (state,) = [max(folder.glob("step-*")) / checkpoints.STATE for folder in (work / "train-teacher").iterdir()]
    facts = files.read_json(state)
    files.write_json(state, {**facts, "identity": {**facts["identity"], "contract": "0" * 32}})
    said = refusal(Refused, here, *TRAIN)
    assert str(state.parent.relative_to(project)) in said
    assert "contract: " in said
    assert "0" * 32 in said
    files.write_json(state, facts)

    result = done(project, *TRAIN)
    assert f"going on after step {facts['step']} of 120" in result.stdout
    assert digests.of_folder(model) == digests.of_folder(whole / "models" / "teacher")


def test_a_training_stopped_early_is_unfinished_and_no_teacher(
    project: Path, here: Callable[..., None], capsys: pytest.CaptureFixture[str]
):
    here("train", "early", *INDEXED, *PREFLIGHT, "--model", "models/early")
    assert "unfinished, 3 of 120 steps; it cannot be registered" in capsys.readouterr().out
    training = models.load(project / "models" / "early").training
    assert (training.steps_done, training.steps_planned, training.complete) == (3, 120, False)
    said = refusal(Refused, here, "distill", "hasty", *ON_LATENTS, "--model", "models/hasty")
    assert "models/early: unfinished, 3 of 120 steps" in said
    assert not (project / "models" / "hasty").exists()


@pytest.fixture
def taught(whole: Path, project: Path) -> Path:
    """The copy with the finished teacher."""
    shutil.copytree(whole / "models" / "teacher", project / "models" / "teacher")
    return project


def test_a_finished_model_is_trained_on_and_named_as_the_start(taught: Path, here: Callable[..., None]):
    here(*TUNE)
    start, warm = (models.load(taught / "models" / name) for name in ("teacher", "warm"))
    assert warm.training.start_digest == start.training.weights_digest
    assert warm.training.weights_digest != start.training.weights_digest
    assert (warm.training.stage, warm.training.steps_done, warm.training.objective) == ("tune@warm", 4, "flow_matching")
    assert warm.contract.latent_space == start.contract.latent_space
    assert not list((taught / ".work").glob("tune-warm/*/step-*"))
    curves = [(folder / "curve.tsv").read_text().splitlines() for folder in (start.folder, warm.folder)]
    assert float(curves[1][1].split("\t")[1]) < float(curves[0][1].split("\t")[1]), "it does not begin at the start"


def test_an_adapter_is_trained_by_one_process_and_by_two_to_the_same(taught: Path):
    assert "trainable 192 / frozen 9,556 (transformer) + " in done(taught, *LIGHT, "--model", "models/light").stdout
    values = settings()
    values["train"]["launch"] |= {"device": "cpu", "gpus_per_node": 2}
    write(taught, values)
    done(taught, *LIGHT, "--model", "models/both")
    start, light, both = (models.load(taught / "models" / name) for name in ("teacher", "light", "both"))
    one, two = (lora_files.read(model.folder / merging.ADAPTER) for model in (light, both))
    assert list(one) == [f"blocks.{block}.{attention}.to_q" for block in range(2) for attention in ("attn1", "attn2")]
    for module, change in one.items():
        assert torch.linalg.norm(change.delta()) > 0
        assert torch.linalg.norm(change.delta() - two[module].delta()) < 1e-4 * torch.linalg.norm(change.delta())
    assert (light.training.stage, light.training.start_digest) == ("tune@light", start.training.weights_digest)
    assert light.training.weights_digest != start.training.weights_digest
    adapting.merge(origins.find(start.folder), light.folder / merging.ADAPTER, taught / "merged")
    ours, theirs = (model.transformer.state_dict() for model in (light, models.load(taught / "merged")))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_an_adapter_of_nothing_is_refused_before_anything_is_written(taught: Path, here: Callable[..., None]):
    values = settings()
    values["tuned"]["light"]["adapter"]["targets"] = ["to_x"]
    write(taught, values)
    said = refusal(WrongUse, here, *LIGHT, "--model", "models/light")
    assert "adapter.targets: 'to_x' is no matrix of models/teacher" in said
    assert not (taught / "models" / "light").exists()
    assert not list((taught / ".work").glob("tune-*"))


def test_another_start_is_another_training(taught: Path, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    jobs: list[engine.Job] = []

    def seen(job: engine.Job) -> engine.Outcome:
        jobs.append(job)
        raise FrostlineError("seen")

    monkeypatch.setattr(engine, "run", seen)
    assert refusal(FrostlineError, here, *TUNE) == "seen"
    folder = taught / "models" / "teacher"
    start = models.load(folder)
    shutil.rmtree(folder)
    with torch.no_grad():
        start.transformer.proj_out.bias.add_(1.0)
    with files.new_folder(folder) as beside:
        models.save(beside, start.transformer, start.contract, start.base, start.training.stated())
    assert refusal(FrostlineError, here, *TUNE) == "seen"
    first, second = jobs
    assert first.identity["start"] != second.identity["start"]
    assert first.work != second.work


def test_a_start_that_makes_no_sense_is_refused_before_anything_is_written(project: Path, here: Callable[..., None]):
    assert "models/teacher: no such folder" in refusal(WrongUse, here, *TUNE)
    tiny.model(project / "models" / "teacher")
    said = refusal(Refused, here, *TUNE)
    assert "the latents and models/teacher do not belong together" in said
    assert "vae_digest: " in said
    assert "tuned has no 'cold'" in refusal(WrongUse, here, "tune", "cold", *TUNE[2:])
    assert [folder.name for folder in (project / "models").iterdir()] == ["teacher"]
    assert not list((project / ".work").glob("tune-*"))


def test_a_slip_in_params_is_named(project: Path, here: Callable[..., None]):
    values = settings()
    values["train"]["runs"]["teacher"]["caption_dropuot"] = 0.1
    write(project, values)
    refused(stage_process.run(project, *TRAIN), 2, "params.yaml: unknown key 'train.runs.teacher.caption_dropuot'")
    values = settings()
    values["students"]["guided"]["vae_loss_weight"] = 0.5
    write(project, values)
    said = refusal(WrongUse, here, *INDEX)
    assert "key 'students.guided'" in said
    assert "vae_loss_weight must be 0.0: the VAE is frozen" in said
    write(project, settings())
    said = refusal(WrongUse, here, "train", "techer", *INDEXED, *PREFLIGHT, "--model", "models/techer")
    assert "train.runs has no 'techer'" in said
    assert not (project / "models").exists()


def test_latents_of_another_vae_are_refused_at_every_door(project: Path, tiny_base: Path, here: Callable[..., None]):
    write(project, settings() | {"base": str(tiny_base)})
    refused(stage_process.run(project, *CHECK), 1, "vae_digest: ", f"the base {tiny_base}", "dvc repro")
    write(project, settings())
    shutil.rmtree(project / "data" / "latents" / "pictures")
    tiny.cache(project / "data" / "latents" / "pictures")
    before = (project / "data" / "latents.json").read_bytes()
    said = refusal(Refused, here, *INDEX)
    assert "cache clips and cache pictures do not belong together" in said
    assert "against '" + "a" * 32 + "' (cache pictures)" in said
    assert "vae_digest: " in refusal(Refused, here, *TRAIN)
    assert (project / "data" / "latents.json").read_bytes() == before
    assert not (project / "models").exists()


def test_a_teacher_of_another_latent_space_is_refused(project: Path, here: Callable[..., None]):
    tiny.model(project / "models" / "teacher")
    said = refusal(Refused, here, *DISTILL)
    assert "the latents and models/teacher do not belong together" in said
    assert "vae_digest: " in said
    assert [folder.name for folder in (project / "models").iterdir()] == ["teacher"]


def test_nothing_trains_before_preflight_passed(project: Path, here: Callable[..., None]):
    report = project / "reports" / "preflight.json"
    files.write_json(report, {**files.read_json(report), "passed": False, "failed": ["D11"]})
    for command in (TRAIN, TUNE, DISTILL):
        assert "reports/preflight.json: preflight failed ['D11']" in refusal(Refused, here, *command)
    report.unlink()
    assert "reports/preflight.json: no such file" in refusal(WrongUse, here, *TRAIN)
    assert not (project / "models").exists()
