"""The figures of distillation: on a teacher in closed form, where every error is the student's, and on the miniature.

    python -m benchmarks.distillation [--quick] [--only NAME ...]

One part per objective: students of up to three seeds, trained on one thread from the teacher's velocity and nothing
else, sampled with 1, 2, 4 and 8 steps, 20,000 points each, against 500 steps of Heun's method along the guided
velocity. Then
teacher   the same steps of the teacher itself, with the solvers it would be sampled by
best      the best objective at 4 steps and at 1, against the bound that the floor sets
critic    the critic's target between the boundary of two experts and noise
miniature  `fast` beside its teacher at 4, 2 and 1 steps, 5,000 samples per seed; needs what `make run` makes here
Half an hour of CPU, and as much for the miniature. What was measured of a student is kept in .work under the digest of
the code that made it; `best` reads it, and makes the students that lack.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import benchmarks
from benchmarks import Frame

ROWS, STEPS = 20_000, (1, 2, 4, 8)
MINUTES = 2.0  # of CPU for one student
SEEDS = {  # students of each objective: three of those that may be the best
    "trajectory_matching": 3,
    "flow_map": 3,
    "velocity_matching": 1,
    "consistency": 1,
    "distribution_matching": 1,
    "consistency_and_distribution": 0,  # rehearsed only
}
TEACHER, STUDENT = Path("models/teacher"), Path("models/fast")
QUICK_ROWS, QUICK_SHARE = 500, 0.01
KEPT = Path(".work/benchmarks/few_steps")
CODE = (
    "benchmarks/parts/exact_world.py",
    "benchmarks/parts/few_steps.py",
    "benchmarks/parts/small_student.py",
    "frostline/objectives/*.py",
    *(f"frostline/{name}.py" for name in ("ema", "exact", "guidance", "path", "randomness", "sampling", "schedule")),
)

Row = dict[str, float]
"""Of one student: sliced Wasserstein distance by number of steps, and CPU minutes."""


def objective(frame: Frame, *, name: str) -> None:
    """The students of one objective: CPU minutes, with the distances in the note."""
    rows = _rows(frame, name)
    if not rows:
        reason = "no student of it was trained in full yet"
        frame.not_run(f"minutes_{name}", MINUTES, "<=", unit="CPU minutes", reason=reason)
        return
    minutes = [row["minutes"] for row in rows]
    frame.record(
        f"minutes_{name}",
        max(minutes),
        MINUTES,
        "<=",
        unit="CPU minutes",
        n=len(rows),
        spread=f"{min(minutes):.2f} to {max(minutes):.2f} over seeds",
        note="distance at " + "; ".join(f"{steps}: {_spread(rows, steps)}" for steps in STEPS) + _solver(name),
    )


def teacher(frame: Frame) -> None:
    """How far the teacher's own few steps are: what students must beat."""
    from benchmarks.parts import exact_world, few_steps

    rows = _size(frame)
    reference, noise = exact_world.reference("reference", rows), exact_world.noise(rows, "student", 0)
    found = {}
    for solver in ("euler", "unipc"):
        for steps in STEPS:
            drawn = few_steps.of_teacher(solver, steps, noise)
            found[solver, steps] = exact_world.distance(drawn, reference)
    bound = _bound(frame)
    frame.record(
        "teacher_4_steps",
        min(found[solver, 4] for solver in ("euler", "unipc")),
        bound,
        ">=",
        unit="distance",
        n=rows,
        spread=f"bound of students {bound:.4f}",
        note="; ".join(
            f"{solver} at {', '.join(map(str, STEPS))} steps: "
            + ", ".join(f"{found[solver, steps]:.3f}" for steps in STEPS)
            for solver in ("euler", "unipc")
        )
        + ", each step two evaluations; were it below the bound, no student would be wanted",
    )


def best(frame: Frame) -> None:
    """The best objective at 4 steps within 1.25 x floor + .03, at 1 step within twice that."""
    table = {name: rows for name in SEEDS if (rows := _rows(frame, name))}
    bound = _bound(frame)
    for steps, allowed in ((4, bound), (1, 2 * bound)):
        means = {name: fmean(row[str(steps)] for row in rows) for name, rows in table.items()}
        name = min(means, key=means.__getitem__)
        frame.record(
            f"best_{steps}_steps",
            means[name],
            benchmarks.significant(allowed),
            "<=",
            unit="distance",
            n=_size(frame),
            spread=f"{_spread(table[name], steps)} over {len(table[name])} seeds",
            note=f"{name}; floor {(bound - 0.03) / 1.25:.4f}; all: "
            + ", ".join(f"{other} {mean:.3f}" for other, mean in sorted(means.items(), key=lambda item: item[1])),
        )


def critic(frame: Frame) -> None:
    """The exact target within 2 standard errors under every test function, the naive one off by more than 8 in some."""
    from benchmarks.parts import critic_target

    rows = 2000 if frame.quick else 20_000
    found = [critic_target.off(rows, made_at) for made_at in critic_target.MADE_AT]
    for name, number, target, op, worst in (
        ("critic_target_off", 0, 2.0, "<=", max),
        ("critic_naive_target_off", 1, 8.0, ">=", min),
    ):
        each = [float(pair[number].max()) for pair in found]
        words = "; ".join(
            f"made at {at}: " + ", ".join(f"{value:.1f}" for value in pair[number].tolist())
            for at, pair in zip(critic_target.MADE_AT, found, strict=True)
        )
        frame.record(
            name,
            worst(each),
            target,
            op,
            unit="standard errors",
            n=rows,
            spread=words,
            note="the most of five test functions, the worse of the two sigmas",
        )


def miniature(frame: Frame) -> None:
    """Distance, accuracy, diversity and clips of `fast`, and how far its latents are from its teacher's."""
    from benchmarks.parts import few_step_quality, quality, stand_in
    from frostline import params

    base = Path(params.load().base)
    if frame.quick:
        with tempfile.TemporaryDirectory() as folder:
            teacher, _ = stand_in.make(Path(folder))
            size = quality.QUICK._replace(images=64)  # enough of each digit in whatever is drawn of them again
            few_step_quality.measure(frame, teacher, stand_in.few_steps(Path(folder)), base, size)
    else:
        few_step_quality.measure(frame, TEACHER, STUDENT, base, quality.FULL)


def _rows(frame: Frame, name: str) -> list[Row]:
    """The rows of an objective, measured or kept."""
    return [_row(frame, name, seed) for seed in range(1 if frame.quick else SEEDS[name])]


def _row(frame: Frame, name: str, seed: int) -> Row:
    from benchmarks.parts import exact_world, few_steps
    from frostline import files

    kept = KEPT / f"{name}-{seed}-{_code()}.json"
    if kept.exists() and not frame.quick:
        return files.read_json(kept)
    recipe = few_steps.RECIPES[name]
    made = few_steps.make(recipe, seed, QUICK_SHARE if frame.quick else 1.0)
    reference, noise = (
        exact_world.reference("reference", _size(frame)),
        exact_world.noise(_size(frame), "student", seed),
    )
    row = {"minutes": made.seconds / 60}
    for steps in STEPS:
        drawn = few_steps.drawn(made.network, recipe.sampler, steps, noise, seed)
        row[str(steps)] = exact_world.distance(drawn, reference)
    print(f"  {name}, seed {seed}: {row}", flush=True)
    if not frame.quick:
        files.write_json(kept, row)
    return row


@functools.cache
def _code() -> str:
    """Digest of the code that makes and samples a student."""
    from frostline import digests

    paths = sorted(path for pattern in CODE for path in Path().glob(pattern))
    return digests.of_json([[path.as_posix(), digests.of_file(path)] for path in paths])


def _bound(frame: Frame) -> float:
    """1.25 x floor + .03; the floor is the distance of two references from other noise."""
    from benchmarks.parts import exact_world

    pair = (exact_world.reference(name, _size(frame)) for name in ("reference", "floor"))
    return 1.25 * exact_world.distance(*pair) + 0.03


def _size(frame: Frame) -> int:
    return QUICK_ROWS if frame.quick else ROWS


def _spread(rows: list[Row], steps: int) -> str:
    """Mean and range over seeds, in words."""
    values = [row[str(steps)] for row in rows]
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _solver(name: str) -> str:
    from benchmarks.parts import few_steps

    return f" (sampler {few_steps.RECIPES[name].sampler})"


PARTS: dict[str, Callable[[Frame], None]] = {
    **{name: functools.partial(objective, name=name) for name in SEEDS},
    "teacher": teacher,
    "best": best,
    "critic": critic,
    "miniature": miniature,
}

if __name__ == "__main__":
    benchmarks.main("distillation", PARTS)
