"""A project of many small trainings, each made by the stages themselves: what the doctor is to find nothing in.

A project is a folder with params.yaml, a cache of rows that have something to learn, and models that train, tune
and distil made of it, in seconds each: other seeds, shapes, optimisers, objectives, students, adapters.
"""

import contextlib
import importlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parts import learnable_cache
from frostline.store import layout

ROOT = Path(__file__).parents[2]
PICTURES, CLIPS = (layout.bucket_name(bucket) for bucket in (learnable_cache.PICTURES, learnable_cache.CLIPS))
LATENTS = ("--index", "data/latents.json", "--latents", "data/latents", "--preflight", "reports/preflight.json")
LOOP: dict[str, Any] = {
    "steps": 200,
    "stop_at": None,
    "buckets": {PICTURES: {"share": 1.0, "batch": 32}},
    "draws": "logit_normal",
    "shift": 1.0,
    "caption_dropout": 0.1,
    "optimizer": {
        "muon_rate": 0.02,
        "adamw_rate": 0.004,
        "weight_decay": 0.0,
        "warmup_steps": 20,
        "schedule": "cosine",
        "clip": 1.0,
    },
    "ema_decay": 0.95,
    "vae_loss_weight": 0.0,
    "kl_loss_weight": 0.0,
    "validate_every": {"steps": 200},
    "checkpoint_every": 1000,
    "keep": {"last": 1, "best": 0, "milestones": None},
    "skip_nonfinite": 0,
    "compute": {"dtype": "auto", "accumulate": 1, "recompute": False, "compile": False},
    "threads": 1,
    "seed": 0,
    "sampling": {"sampler": "unipc", "steps": 16, "shift": 1.0, "guidance": 1.5},
}
SHAPES = (
    {"layers": 2, "heads": 2, "head_dim": 24, "ffn_dim": 96, "patch_size": [1, 1, 1]},
    {"layers": 3, "heads": 2, "head_dim": 32, "ffn_dim": 128, "patch_size": [1, 1, 1]},
    {"layers": 4, "heads": 1, "head_dim": 48, "ffn_dim": 144, "patch_size": [1, 1, 1]},
    {"layers": 2, "heads": 3, "head_dim": 24, "ffn_dim": 192, "patch_size": [1, 2, 2]},
)
DDPM = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FOLDED = {"sampler": "unipc", "steps": 16, "shift": 1.0, "guidance": 1.0}


def run(seed: int, shape: int = 0, **changed: Any) -> dict[str, Any]:
    """A training of ``train.runs``."""
    return {**LOOP, "model": SHAPES[shape], "seed": seed, **changed}


def tuned(start: str, seed: int, **changed: Any) -> dict[str, Any]:
    """A training of ``tuned``, from a model of the project."""
    calm = {**LOOP["optimizer"], "muon_rate": 0.005, "adamw_rate": 0.001}
    return {**LOOP, "steps": 120, "optimizer": calm, "start": f"models/{start}", "seed": seed, **changed}


def student(teacher: str, layers: Sequence[int], seed: int, **changed: Any) -> dict[str, Any]:
    """A student of ``students``, of a model of the project."""
    own = {
        "objective": "velocity_matching",
        "teacher": f"models/{teacher}",
        "data": "data/latents",
        "layers": list(layers),
        "guidance": 1.5,
        "guidance_interval": [0.0, 1.0],
        "caption_dropout": 0.0,
        "sampling": FOLDED,
    }
    return {**LOOP, "steps": 200, **own, "seed": seed, **changed}


def few_steps(teacher: str, trajectories: str, layers: Sequence[int], seed: int, **changed: Any) -> dict[str, Any]:
    """A student of few steps."""
    own = {
        "objective": "trajectory_matching",
        "data": f"data/trajectories/{trajectories}",
        "draws": "uniform",
        "sampling": {"sampler": "flow_map", "steps": 4, "shift": 1.0, "guidance": 1.0},
    }
    return student(teacher, layers, seed, **{**own, **changed})


def followed(teacher: str, seed: int) -> dict[str, Any]:
    """What a teacher is seen to do."""
    return {
        "teacher": f"models/{teacher}",
        "guidance": 1.5,
        "guidance_interval": [0.0, 1.0],
        "shift": 1.0,
        "points": 4,
        "substeps": 2,
        "rows": {PICTURES: 384},
        "validation": 32,
        "device": "cpu",
        "threads": 1,
        "seed": seed,
    }


def healthy(seed: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Trainings with nothing wrong, by name: the stage that makes each, and its params; starts and teachers first."""
    ask = {"sampler": "unipc", "steps": 16}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for n in range(20):
        shift = (1.0, 3.0, 1.0, 5.0)[n % 4]
        changed: dict[str, Any] = {
            "draws": ("logit_normal", "uniform")[n // 4 % 2],
            "shift": shift,
            "sampling": {**ask, "shift": shift, "guidance": (1.5, 1.0, 2.0)[n % 3]},
            "steps": (200, 260)[n // 8 % 2],
            "ema_decay": (0.9, 0.95)[n % 2],
        }
        if n % 5:
            changed["optimizer"] = {
                **LOOP["optimizer"],
                "muon_rate": None,
                "schedule": ("cosine", "constant")[n % 7 == 0],
            }
        found[f"run{n}"] = ("train", run(seed + n, n % len(SHAPES), **changed))
    for n in range(8):
        kind = ("v_prediction", "epsilon")[n % 3 == 2]
        schedule = {**DDPM, "zero_terminal_snr": kind == "v_prediction"}
        found[f"{kind}{n}"] = ("train", run(seed + 40 + n, n % 3, prediction=kind, diffusion=schedule))
    for n in range(4):
        found[f"tuned{n}"] = ("tune", tuned(f"run{n}", seed + 50 + n))
        adapter = {"rank": 4, "alpha": 4.0, "targets": ["to_q", "to_k", "to_v", "to_out.0"]}
        found[f"lora{n}"] = ("tune", tuned(f"run{n}", seed + 60 + n, adapter=adapter))
    depths = {0: (0, 1), 1: (0, 1, 2), 2: (0, 1, 2, 3), 3: (0, 1)}
    halves = {0: (1,), 1: (0, 2), 2: (0, 3), 3: (0,)}
    for n in range(10):
        layers = (depths, halves)[n % 2][n % len(SHAPES)]
        shift = (1.0, 3.0, 1.0, 5.0)[n % 4]
        own = {"guidance": (1.5, 2.0)[n % 2], "shift": shift, "sampling": {**FOLDED, "shift": shift}}
        found[f"student{n}"] = ("distill", student(f"run{n % 4}", layers, seed + 70 + n, **own))
    for n in range(4):
        found[f"followed{n}"] = ("trajectories", followed(f"run{n}", seed + 80 + n))
        layers = {0: (0, 1), 1: (0, 1, 2), 2: (0, 3), 3: (0, 1)}[n]
        found[f"few{n}"] = ("distill", few_steps(f"run{n}", f"followed{n}", layers, seed + 90 + n))
    for n in range(4):
        both = {PICTURES: {"share": 0.5, "batch": 32}, CLIPS: {"share": 0.5, "batch": 16}}
        context = {"context": 1} if n % 2 else {}
        found[f"clips{n}"] = ("train", run(seed + 100 + n, n % 3, buckets=both, **context))
    return found


def make(folder: Path, kind: str, seed: int) -> Path:
    """The folder of a project with its cache; it is not made twice."""
    if not (folder / "reports" / "preflight.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        learnable_cache.make(folder, kind, seed)
    return folder


def write(folder: Path, runs: Any, tuned: Any, students: Any, trajectories: Any) -> None:
    """The project's params.yaml; its VAE is nowhere, for its latents are of none."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["base"] = "nowhere"
    values["train"]["runs"], values["tuned"] = runs, tuned
    values["students"], values["trajectories"] = students, trajectories
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def there(cases: Mapping[str, tuple[str, dict[str, Any]]], name: str) -> bool:
    """Whether a case was made, in the current folder."""
    return Path("data/trajectories" if cases[name][0] == "trajectories" else "models", name).is_dir()


def learn(cases: Mapping[str, tuple[str, dict[str, Any]]], name: str) -> None:
    """Make the model, or the trajectories, of one case, in the current folder."""
    sections: dict[str, dict[str, Any]] = {"train": {}, "tune": {}, "distill": {}, "trajectories": {}}
    for other, (kind, values) in cases.items():
        sections[kind][other] = values
    write(Path(), sections["train"], sections["tune"], sections["distill"], sections["trajectories"])
    kind, values = cases[name]
    if kind == "trajectories":
        stage(kind, name, *LATENTS, "--trajectories", f"data/trajectories/{name}")
    elif kind == "distill":
        data = values["data"]
        given = ("--index", f"{data}.json", "--data", data, *LATENTS[4:])
        stage(kind, name, *given, "--model", f"models/{name}")
    else:
        stage(kind, name, *LATENTS, "--model", f"models/{name}")


def stage(name: str, *words: str) -> None:
    """Run a stage in this process, in the current folder, as quietly as it can be."""
    with _called(name, *words), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        importlib.import_module(f"stages.{name}").main()


@contextlib.contextmanager
def _called(*words: str) -> Iterator[None]:
    before, sys.argv = sys.argv, list(words)
    try:
        yield
    finally:
        sys.argv = before
