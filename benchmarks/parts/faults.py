"""Faults of known cause, each in several strengths, planted in the projects of sick.py: what the doctor must name.

A fault of a training is a training with that fault; one of files is made in the files of a healthy training; one of
code is code that is named as the target. Nothing tells the doctor which it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from benchmarks.parts import sick
from benchmarks.parts.sick import Data, Project, Trained
from frostline import files, models, path

STEPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Healthy:
    """What faults are planted in: a teacher, a student of it, their data."""

    folder: Path
    kind: str
    of: Data
    seed: int
    teacher: Trained
    student: Trained
    steps: int

    def place(self, name: str) -> Path:
        """A new folder for a case."""
        found = self.folder / name
        found.mkdir(parents=True)
        return found


Plant = Callable[[Healthy, Path], Project]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One cause, planted in several strengths."""

    name: str
    cause: str  # the check that must be named
    variants: Mapping[str, Plant]


def healthy(folder: Path, seed: int, steps: int = STEPS, kind: str = "patterns") -> Healthy:
    """A teacher of one kind of latents, and a student with guidance 2 folded in."""
    of = sick.data(seed, kind)
    teacher = sick.train(of, seed, steps)
    student = sick.distilled(of, seed + 1, steps // 2, scale=2.0, of_network=teacher.network)
    return Healthy(folder=folder, kind=kind, of=of, seed=seed, teacher=teacher, student=student, steps=steps)


def teacher_project(one: Healthy, place: Path, **changed: Tensor) -> Project:
    """The healthy teacher and its latents."""
    model = sick.write_model(place / "teacher", one.teacher)
    return Project(model=str(model), latents=sick.write_latents(place / "latents.safetensors", one.of, **changed))


def student_project(one: Healthy, place: Path) -> Project:
    """The healthy student beside its teacher."""
    found = teacher_project(one, place)
    taught = {
        "objective": "velocity_matching",
        "teacher_digest": files.read_json(Path(found.model) / models.RECORD)["weights_digest"],
    }
    meaning = sick.contract(sampling={"guidance": 2.0, "guidance_form": "folded"})
    student = sick.write_model(place / "student", one.student, meaning, **taught)
    return Project(model=str(student), latents=found.latents, teacher=found.model)


# --------------------------------------------------------------------------------------------------------- in the files


def _rewritten(**changed: Any) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        found = teacher_project(one, place)
        sick.rewrite(Path(found.model), **changed)
        return found

    return plant


def _student_rewritten(**changed: Any) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        found = student_project(one, place)
        sick.rewrite(Path(found.model), **changed)
        return found

    return plant


def _without(*words: str) -> Plant:
    return _rewritten(weights=lambda tensors: {n: t for n, t in tensors.items() if not any(w in n for w in words)})


def _with_nan(name: str, count: int) -> Plant:
    def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        flat = tensors[name].flatten().clone()
        flat[:count] = torch.nan
        return {**tensors, name: flat.view_as(tensors[name])}

    return _rewritten(weights=changed)


def _zeroed(name: str) -> Plant:
    return _rewritten(weights=lambda tensors: {n: t * 0 if n.startswith(name) else t for n, t in tensors.items()})


def _scheduler(name: str, **config: Any) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        found = teacher_project(one, place)
        made = getattr(diffusers, name)(**config)
        made.save_pretrained(Path(found.model) / "scheduler")
        return found

    return plant


def _latents(change: Callable[[Data], Tensor]) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        return teacher_project(one, place, latents=change(one.of))

    return plant


def _broken_rows(count: int, value: float) -> Plant:
    def change(of: Data) -> dict[str, Tensor]:
        clean, raw = of.clean.clone(), of.raw.clone()
        clean[:: len(clean) // count], raw[:: len(raw) // count] = value, value
        return {"latents": clean, "raw": raw}

    return lambda one, place: teacher_project(one, place, **change(one.of))


def _unfinished(share: float) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        made = sick.train(one.of, one.seed, max(4, int(one.steps * share)))
        model = sick.write_model(place / "teacher", made, steps_planned=one.steps, ema_decay=0.9)
        return Project(model=str(model), latents=sick.write_latents(place / "latents.safetensors", one.of))

    return plant


def _other_weights(share: float) -> Plant:
    """The file holds weights of another moment than the record: the average that was validated was never saved."""

    def plant(one: Healthy, place: Path) -> Project:
        found = teacher_project(one, place)
        record = files.read_json(Path(found.model) / models.RECORD)
        start, end = one.teacher.start, one.teacher.network.state_dict()
        mixed = {name: start[name] + share * (end[name] - start[name]) for name in end}
        sick.rewrite(Path(found.model), weights=lambda _: mixed)
        files.write_json(Path(found.model) / models.RECORD, record)
        return found

    return plant


# ------------------------------------------------------------------------------------------------------ in the training


def _trained(step: sick.Step, prepare: Callable[[Any], None] = lambda _: None, **facts: Any) -> Plant:
    def plant(one: Healthy, place: Path) -> Project:
        network = sick.fresh(one.seed, one.of.shape)
        prepare(network)
        made = sick.train(one.of, one.seed, one.steps, step, network)
        model = sick.write_model(place / "teacher", made, **facts)
        return Project(model=str(model), latents=sick.write_latents(place / "latents.safetensors", one.of))

    return plant


def _replayed(count: int) -> Plant:
    """The random state is set back again and again: the same few rows, noise and timesteps."""
    kept: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def step(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, number: int) -> Tensor:
        again = kept.setdefault(number % count, (clean, noise, sigma, text))
        return sick.flow_matching(network, *again, number)

    def plant(one: Healthy, place: Path) -> Project:
        kept.clear()
        return _trained(step)(one, place)

    return plant


def _on_noise(least: float) -> Plant:
    """The student is told every timestep, and never sees a latent with less noise in it than at ``least``."""

    def plant(one: Healthy, place: Path) -> Project:
        found = student_project(one, place)

        def step(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _n: int) -> Tensor:
            seen = sigma.clamp(min=least)
            noised = path.noised(clean, noise, seen)
            with torch.no_grad():
                target = sick.ask(one.teacher.network, noised, seen, text)
            return (sick.ask(network, noised, sigma, text) - target).square().mean((1, 2, 3, 4))

        made = sick.train(one.of, one.seed, one.steps, step)
        meaning = sick.contract(sampling={"guidance": 1.0, "guidance_form": "folded"})
        model = sick.write_model(place / "noise", made, meaning, objective="velocity_matching")
        return Project(model=str(model), latents=found.latents, teacher=found.teacher)

    return plant


def _blind(kept: float) -> Plant:
    """What the network is shown of its latent: a share of it."""

    def step(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _n: int) -> Tensor:
        shown = kept * path.noised(clean, noise, sigma)
        velocity = sick.ask(network, shown, sigma, text)
        return (velocity - path.velocity(clean, noise)).square().mean((1, 2, 3, 4))

    def plant(one: Healthy, place: Path) -> Project:
        found = _trained(step)(one, place)
        dimmed = lambda tensors: {n: t * kept if n == "patch_embedding.weight" else t for n, t in tensors.items()}  # noqa: E731
        sick.rewrite(Path(found.model), weights=dimmed)
        return found

    return plant


def _cut(*names: str) -> Plant:
    """Parts of the network that are zero and stay so."""

    def prepare(network: Any) -> None:
        for name, parameter in network.named_parameters():
            if any(word in name for word in names):
                parameter.data.zero_()
                parameter.requires_grad_(False)

    return _trained(sick.flow_matching, prepare)


# ---------------------------------------------------------------------------------------------------------- in the code


def _coded(line: str, *, teacher: str | None = None) -> Plant:
    """A module beside the project whose function wraps the healthy teacher; ``{model}`` is its folder."""

    def plant(one: Healthy, place: Path) -> Project:
        found = teacher_project(one, place)
        module = f"case_{place.parent.name}_{place.name}".replace("-", "_").replace(".", "_")
        text = "from benchmarks.parts import sick_code\n\n\ndef predictor():\n    return sick_code.{}\n"
        files.write_text(Path.cwd() / f"{module}.py", text.format(line.format(model=repr(found.model))))
        return Project(model=f"{module}:predictor", latents=found.latents, teacher=teacher)

    return plant


def _zero_teacher(left: float) -> Plant:
    """The post-mortem: a projection of zeros before the teacher, a student trained on pure noise, sampled with DDIM.

    ``left``: how much of its latent the teacher sees.
    """

    def plant(one: Healthy, place: Path) -> Project:
        coded = _coded(f"dimmed({{model}}, {left})")(one, place)

        def step(network: nn.Module, _: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _n: int) -> Tensor:
            with torch.no_grad():
                target = sick.ask(one.teacher.network, left * noise, sigma, text)
            return (sick.ask(network, noise, sigma, text) - target).square().mean((1, 2, 3, 4))

        made = sick.train(one.of, one.seed, one.steps, step)
        meaning = sick.contract(sampling={"guidance": 1.0, "guidance_form": "folded"})
        model = sick.write_model(place / "student", made, meaning, objective="velocity_matching")
        diffusers.DDIMScheduler().save_pretrained(model / "scheduler")
        return Project(model=str(model), latents=coded.latents, teacher=coded.model)

    return plant


def _data_on_noise(least: float) -> Plant:
    """Told every timestep, shown none below ``least``."""

    def step(network: nn.Module, clean: Tensor, noise: Tensor, sigma: Tensor, text: Tensor, _n: int) -> Tensor:
        velocity = sick.ask(network, path.noised(clean, noise, sigma.clamp(min=least)), sigma, text)
        return (velocity - path.velocity(clean, noise)).square().mean((1, 2, 3, 4))

    return _trained(step)


def _two_experts(boundary: float, *, swapped: bool) -> Plant:
    """Each expert trained in its own range."""

    def plant(one: Healthy, place: Path) -> Project:
        ranges = {"transformer": (boundary, 1.0), "transformer_2": (0.0, boundary)}
        made: dict[str, Trained] = {}
        for role, (low, high) in ranges.items():

            def step(
                network: nn.Module,
                clean: Tensor,
                noise: Tensor,
                sigma: Tensor,
                text: Tensor,
                n: int,
                low: float = low,
                high: float = high,
            ) -> Tensor:
                inside = low + (high - low) * sigma
                return sick.flow_matching(network, clean, noise, inside, text, n)

            made[role] = sick.train(one.of, one.seed, one.steps, step)
        roles = ("transformer_2", "transformer") if swapped else ("transformer", "transformer_2")
        meaning = sick.contract(process={"expert_boundary": boundary}, sampling={"guidance_low": 1.5})
        model = place / "experts"
        for role, source in zip(("transformer", "transformer_2"), roles, strict=True):
            made[source].network.save_config(model / role)
            models.write_weights(model / role / Path(models.WEIGHTS).name, made[source].network.state_dict(), meaning)
        from frostline import contract as contracts

        contracts.save(meaning, model)
        return Project(model=str(model), latents=sick.write_latents(place / "latents.safetensors", one.of))

    return plant


FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
DDPM = {"steps": 1000, "betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "zero_terminal_snr": False}

FAULTS: tuple[Fault, ...] = (
    Fault(
        name="weights not loaded",
        cause="D14",
        variants={
            "a block": _without("blocks.1."),
            "the text's embedder": _without("text_embedder"),
            "norms": _without("norm_q", "norm_k"),
            "what embeds time": _without("time_embedder"),
        },
    ),
    Fault(
        name="values that are none",
        cause="D14",
        variants={
            "one": _with_nan("blocks.0.ffn.net.0.proj.weight", 1),
            "many": _with_nan("patch_embedding.weight", 50),
            "a bias": _with_nan("proj_out.bias", 4),
            "a head of zeros": _zeroed("proj_out"),
        },
    ),
    Fault(
        name="read as another prediction",
        cause="D36",
        variants={
            "v on a DDPM path": _rewritten(process={"prediction": "v_prediction", "diffusion": DDPM}),
            "v, zero terminal": _rewritten(
                process={"prediction": "v_prediction", "diffusion": {**DDPM, "zero_terminal_snr": True}}
            ),
            "epsilon": _rewritten(process={"prediction": "epsilon", "diffusion": DDPM}),
            "timesteps to 1": _rewritten(process={"timestep_scale": 1.0}),
        },
    ),
    Fault(
        name="latents of another scale",
        cause="D08",
        variants={
            "not normalised": _latents(lambda of: of.raw),
            "times .18": _latents(lambda of: of.clean * 0.18215),
            "halved": _latents(lambda of: of.clean * 0.45),
            "doubled": _latents(lambda of: of.clean * 2.2),
            "normalised twice": _latents(
                lambda of: (of.clean - of.clean.new_tensor(sick.MEAN).view(1, 4, 1, 1, 1)) / 2.2
            ),
        },
    ),
    Fault(
        name="another sampler",
        cause="D03",
        variants={
            "DDIM": _scheduler("DDIMScheduler"),
            "DDIM, v": _scheduler("DDIMScheduler", prediction_type="v_prediction"),
            "DPM-Solver++": _scheduler("DPMSolverMultistepScheduler"),
            "Euler of diffusion": _scheduler("EulerDiscreteScheduler"),
            "UniPC of diffusion": _scheduler("UniPCMultistepScheduler"),
            "flow read as noise": _scheduler(
                "UniPCMultistepScheduler", use_flow_sigmas=True, prediction_type="epsilon"
            ),
        },
    ),
    Fault(
        name="sampled where it was not trained",
        cause="D05",
        variants={
            "at shift 40 what was trained at 1": _rewritten(sampling={"shift": 40.0, "steps": 40}),
            "the scheduler's shift": _scheduler("UniPCMultistepScheduler", flow_shift=5.0, **FLOW_SIGMAS),
            "shifted twice": _scheduler("UniPCMultistepScheduler", flow_shift=1.5, **FLOW_SIGMAS),
            "trained near the clean end": _rewritten(process={"shift": 0.02}),
        },
    ),
    Fault(
        name="rows that failed",
        cause="D35",
        variants={
            "one of zeros": _broken_rows(1, 0.0),
            "many of zeros": _broken_rows(24, 0.0),
            "one of no number": _broken_rows(1, torch.nan),
            "a few alike": _broken_rows(6, 0.7),
        },
    ),
    Fault(
        name="unfinished",
        cause="D26",
        variants={
            "2 %": _unfinished(0.02),
            "13 %": _unfinished(0.13),
            "40 %": _unfinished(0.4),
            "90 %": _unfinished(0.9),
        },
    ),
    Fault(
        name="the validated average was not saved",
        cause="D23",
        variants={
            "the start": _other_weights(0.05),
            "an early moment": _other_weights(0.4),
            "a later one": _other_weights(0.8),
            "an average without warm-up": _rewritten(training={"ema_decay": 0.9999}),
        },
    ),
    Fault(
        name="noise replayed",
        cause="D21",
        variants={f"{count} batches": _replayed(count) for count in (1, 2, 3, 4)},
    ),
    Fault(
        name="trained on pure noise",
        cause="D20",
        variants={f"from sigma {least:g} on": _on_noise(least) for least in (0.8, 0.9, 0.95, 1.0)},
    ),
    Fault(
        name="trained on noise, of data",
        cause="D20",
        variants={f"from sigma {least:g} on": _data_on_noise(least) for least in (0.8, 0.9, 0.95, 0.99)},
    ),
    Fault(
        name="the latent is not seen",
        cause="D02",
        variants={f"{kept:g} of it": _blind(kept) for kept in (0.0, 1e-4, 1e-3, 3e-3)},
    ),
    Fault(
        name="no positions",
        cause="D16",
        variants={
            "queries are zero": _cut("attn1.to_q", "attn1.norm_q"),
            "keys are zero": _cut("attn1.to_k", "attn1.norm_k"),
            "nothing comes out": _cut("attn1.to_out"),
            "values are zero": _cut("attn1.to_v"),
        },
    ),
    Fault(
        name="the text is not heard",
        cause="D19",
        variants={
            "nothing comes out": _cut("attn2.to_out"),
            "values are zero": _cut("attn2.to_v"),
            "the embedder is zero": _cut("text_embedder.linear_2"),
            "its first layer is": _cut("text_embedder.linear_1"),
        },
    ),
    Fault(
        name="guidance of another scale",
        cause="D32",
        variants={
            f"declared {scale:g}": _student_rewritten(sampling={"guidance": scale}) for scale in (1.0, 4.0, 6.0, 9.0)
        },
    ),
    Fault(
        name="experts swapped",
        cause="D06",
        variants={f"at {boundary:g}": _two_experts(boundary, swapped=True) for boundary in (0.4, 0.5, 0.6, 0.75)},
    ),
    Fault(
        name="timesteps rounded",
        cause="D07",
        variants={
            "bfloat16": _coded("rounded({model}, 'bfloat16')"),
            "float8": _coded("rounded({model}, 'float8_e4m3fn')"),
            "to tens": _coded("stepped({model}, 10)"),
            "to twos": _coded("stepped({model}, 2)"),
        },
    ),
    Fault(
        name="a norm before the first layer",
        cause="D17",
        variants={
            f"over {over}": _coded(f"normed({{model}}, {over!r})")
            for over in ("all", "frames", "channels", "each number")
        },
    ),
    Fault(
        name="a teacher of zeros",
        cause="D01",
        variants={f"{left:g} let through": _zero_teacher(left) for left in (0.0, 1e-4, 1e-3, 3e-3)},
    ),
)
