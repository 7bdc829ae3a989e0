"""The figures of the whole pipeline on the embedded miniature.

    python -m benchmarks.pipeline [--quick] [--only vae samplers quality export experts run again]

vae        fidelity of the shipped VAE on the test split
samplers   the samplers of contracts, and eleven wrong conventions, against a closed-form velocity
quality    teacher and student, 5,000 samples per seed (about half an hour of CPU; drawn sets are kept in .work)
export     the stock diffusers pipeline against our samples
experts    the same with two experts, each under its own guidance; small ones with random weights
run        a fresh clone: how long `make run` takes, which bytes differ from those here, what runs again (half an hour)
again      a fresh clone whose `dvc repro` is killed in train and run again: which bytes differ from those here
All but vae, samplers and experts need what `make run` makes here, of the commit that is checked out.
"""

import re
import sys
import tempfile
from pathlib import Path

import benchmarks
from benchmarks import Frame

TEACHER, STUDENT = Path("models/teacher"), Path("models/guided")
PSNR = {1: 35.0, 5: 32.0, 9: 31.5}  # dB by frames
PAIR_ERROR = {"unipc": 0.01, "euler": 0.03}
SEEN_TO_FAIL = 0.05  # pair error from which check D03 fails
WITH_STUDENT = {
    "distill@guided",
    "evaluate",
    "diagnose",
    "register",
}  # what may run when only that student's params change


def vae(frame: Frame) -> None:
    """PSNR of encoding and decoding real pictures of the test split."""
    from frostline import digits, params
    from frostline.foundation import figures

    found = figures.psnr(params.load().base, "test", 4 if frame.quick else digits.SIZES["test"])
    for frames, target in PSNR.items():
        db, n = found[frames]
        note = "pooled over all pixels of the test split"
        frame.record(f"vae_psnr_{frames}", db, target, ">=", unit="dB", n=n, spread="deterministic", note=note)


def samplers(frame: Frame) -> None:
    """Pair error of right samplers and of every wrong convention, 200 steps, shift 5."""
    from benchmarks.parts import conventions
    from frostline.checks import oracle_sampler

    seeds, n = (1 if frame.quick else 3), oracle_sampler.SHAPE[0]
    for kind, target in PAIR_ERROR.items():
        errors = [conventions.pair_error(conventions.right(kind), seed) for seed in range(seeds)]
        frame.record(
            f"pair_error_{kind}",
            max(errors),
            target,
            "<=",
            unit="std",
            n=n * seeds,
            spread=f"{min(errors):.5f} to {max(errors):.5f} over {seeds} seeds",
            note="200 steps, shift 5, against the closed-form endpoint",
        )
    chosen = list(conventions.WRONG)[: 3 if frame.quick else None]
    wrong = {name: conventions.pair_error(conventions.WRONG[name]) for name in chosen}
    frame.record(
        "pair_error_least_wrong",
        min(wrong.values()),
        SEEN_TO_FAIL,
        ">=",
        unit="std",
        n=len(wrong),
        spread=f"{min(wrong.values()):.2f} to {max(wrong.values()):.2f} over the conventions",
        note="smallest error among: " + ", ".join(f"{name} {error:.2f}" for name, error in wrong.items()),
    )


def quality(frame: Frame) -> None:
    """Accuracy, direction, distance and diversity of teacher and student."""
    from benchmarks.parts import quality as measuring
    from benchmarks.parts import stand_in
    from frostline import params

    base = Path(params.load().base)
    if frame.quick:
        with tempfile.TemporaryDirectory() as folder:
            teacher, student = stand_in.make(Path(folder))
            measuring.measure(frame, teacher, student, base, measuring.QUICK)
    else:
        measuring.measure(frame, TEACHER, STUDENT, base, measuring.FULL)


def export(frame: Frame) -> None:
    """The greatest difference between a pixel of ours and of the stock pipeline, same noise."""
    from benchmarks.parts import stand_in, stock
    from frostline import params

    base = Path(params.load().base)
    with tempfile.TemporaryDirectory() as folder:
        models = stand_in.make(Path(folder)) if frame.quick else (TEACHER, STUDENT)
        prompts = stock.PROMPTS[:1] if frame.quick else stock.PROMPTS
        exported = Path(folder) / "exported"
        found = [error for model in models for error in stock.differences(model, base, exported, prompts)]
    frame.record(
        "export_pixel_difference",
        max(found),
        1e-4,
        "<=",
        unit="of 1",
        n=len(found),
        spread=f"{min(found):.1e} to {max(found):.1e} over samples",
        note="teacher and guided, every trained size, pixels in [0, 1]",
    )


def experts(frame: Frame) -> None:
    """The greatest difference between a pixel of ours and of the stock pipeline with two experts, same noise."""
    from benchmarks.parts import stand_in, stock

    with tempfile.TemporaryDirectory() as folder:
        model = stand_in.experts(Path(folder) / "experts")
        prompts = stock.PROMPTS[:1] if frame.quick else stock.PROMPTS
        found = stock.differences(model, model, Path(folder) / "exported", prompts)
    high, low = stand_in.FAMILY.guidance
    frame.record(
        "experts_pixel_difference",
        max(found),
        1e-4,
        "<=",
        unit="of 1",
        n=len(found),
        spread=f"{min(found):.1e} to {max(found):.1e} over samples",
        note=f"two experts with random weights, boundary {stand_in.FAMILY.expert_boundary}, guidance {high:g} and "
        f"{low:g}, {stand_in.EXPERT_STEPS} steps at shift {stand_in.FAMILY.shift:g}; pixels in [0, 1]",
    )


def run(frame: Frame) -> None:
    """Time, sameness and idleness of `make run` in a fresh clone; quick goes through a project of three lines."""
    from benchmarks.parts import project, toy

    with tempfile.TemporaryDirectory() as folder:
        if frame.quick:
            toy.rehearse(frame, Path(folder))
            return
        environment = project.bare(Path(folder) / "home")
        clone = project.clone(Path(folder) / "clone")
        project.run(["make", "install"], clone, environment)
        _time_of_run(frame, clone, environment)
        _same_bytes(frame, "clone_differing_files", clone, "a fresh clone after make run")
        _second_repro(frame, clone, environment)
        _student_change(frame, clone, environment)


def again(frame: Frame) -> None:
    """A clone whose `dvc repro` is killed in train and run again must make the bytes that are here."""
    from benchmarks.parts import project

    if frame.quick:
        print("  rehearsed by run")
        return
    with tempfile.TemporaryDirectory() as folder:
        clone = project.clone(Path(folder) / "clone")
        _kill_and_repeat(clone, project.installed(project.bare(Path(folder) / "home")))
        _same_bytes(
            frame, "killed_differing_files", clone, "a fresh clone, dvc killed (SIGKILL) in train and run again"
        )


def _same_bytes(frame: Frame, figure: str, clone: Path, what: str) -> None:
    from benchmarks.parts import project

    here, there = project.outputs(Path()), project.outputs(clone)
    differing = project.differing(here, there)
    spread, note = ", ".join(differing[:5]), f"{what}, against those here: dvc.lock, data, models, reports"
    frame.record(figure, len(differing), 0, "==", unit="files", n=len(there), spread=spread, note=note)


def _time_of_run(frame: Frame, clone: Path, environment: dict[str, str]) -> None:
    from benchmarks.parts import project

    ran = project.run(["make", "run"], clone, environment)
    note = f"after make install; {ran.cpu:.0f} CPU-seconds, {len(ran.stages)} stages"
    frame.record("make_run", ran.wall / 60, 15, "<=", unit="minutes", n=1, spread="one run", note=note)
    changed = project.run(["git", "diff", "--name-only", "--", "dvc.lock"], clone, environment).output.split()
    note = "dvc.lock of a fresh clone's run against the committed one"
    frame.record("dvc_lock_changes", len(changed), 0, "==", unit="files", n=1, spread="", note=note)


def _second_repro(frame: Frame, clone: Path, environment: dict[str, str]) -> None:
    from benchmarks.parts import project

    runs = [project.run(["dvc", "repro"], clone, project.activated(environment, clone)) for _ in range(3)]
    walls, stages = sorted(ran.wall for ran in runs), sum(len(ran.stages) for ran in runs)
    spread = f"{walls[0]:.1f} to {walls[-1]:.1f}"
    frame.record("second_repro", walls[1], 6, "<=", unit="s", n=len(runs), spread=spread, note="median wall time")
    frame.record("second_repro_stages", stages, 0, "==", unit="stages", n=len(runs), spread="", note="stages that ran")


def _student_change(frame: Frame, clone: Path, environment: dict[str, str]) -> None:
    """Another seed for the student: only it, evaluate and register may run."""
    from benchmarks.parts import project

    params = clone / "params.yaml"
    before, after = params.read_text().split("  guided:", 1)
    params.write_text(before + "  guided:" + re.sub(r"seed: \d+", "seed: 1", after, count=1))
    ran = project.run(["dvc", "repro"], clone, project.activated(environment, clone))
    strangers = sorted(set(ran.stages) ^ WITH_STUDENT)
    note = f"ran: {', '.join(ran.stages)}"
    frame.record("student_change_other_stages", len(strangers), 0, "==", unit="stages", n=1, spread="", note=note)


def _kill_and_repeat(clone: Path, environment: dict[str, str]) -> None:
    """Kill `dvc repro` once train has a checkpoint, and run it to its end; raises Failed if train starts anew."""
    from benchmarks.parts import project

    def training() -> bool:
        return any(clone.glob(".work/train-*/*/step-*"))

    repro = ["dvc", "repro"]
    project.kill_when(training, repro, clone, environment)
    resumed = project.run(repro, clone, environment)
    if "going on after step" not in resumed.output:
        raise project.Failed("the killed training started anew; it must go on from its checkpoint")


PARTS = {
    "vae": vae,
    "samplers": samplers,
    "quality": quality,
    "export": export,
    "experts": experts,
    "run": run,
    "again": again,
}


def main(argv: list[str] | None = None) -> Frame:
    """Run the parts that were asked for."""
    return benchmarks.main("pipeline", PARTS, argv)


if __name__ == "__main__":
    main(sys.argv[1:])
