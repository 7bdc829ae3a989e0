"""How often the doctor names the cause of what is wrong, and how often it cries wolf.

    python -m benchmarks.doctor [--quick] [--only NAME ...]

healthy   trainings with nothing wrong, made by the stages themselves (parts/small_project.py): fails and warnings
faults    trainings with one fault each, of known cause (parts/faults.py): how often it is named first, or among two
pairs     the same with two faults (parts/pairs.py): how often both are found, the one upstream first
running   faults planted in a training while it runs (parts/running.py): how often it is stopped within 200 steps
readings  networks in closed form that predict in eight ways, trained and half-trained: how often that is named
miniature the models of `make run`, if they are there: fails, and the seconds of a quick examination

Every case is judged by what `frostline doctor --json` prints. Thresholds were chosen on other seeds, on made-up
patterns; the cases are of digits and of the rendered world, of networks of other shapes. What was judged is kept in
.work/benchmarks-doctor, so that a run that was stopped goes on; remove it to begin anew.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import Frame
from frostline import metrics

WORK, QUICK_STEPS = Path(".work/benchmarks-doctor"), 40
SEEDS = {"digits": 41, "world": 42}  # of what is judged
MODELS = (Path("models/teacher"), Path("models/guided"), Path("models/fast"))
OF_HEALTHY = (
    "other seeds, shapes, optimisers and shifts; v-prediction, epsilon, weights that are trained on, LoRA, students "
    "whole, half as deep and of few steps, clips, clips from a context; on digits and world"
)
LEVELS = ("data", "process", "model", "sampler")


def healthy(frame: Frame) -> None:
    """Nothing is wrong: no fails, few warnings."""
    verdicts: list[str] = []
    failed: list[str] = []
    count = 0
    for name, found in _healthy_quick() if frame.quick else _healthy():
        count += 1
        verdicts += [each["verdict"] for each in found["findings"] if each["verdict"] != "not-applicable"]
        failed += [] if found["passed"] else [f"{name}: {found['cause']}"]
    kinds = (
        "seeds, shapes, optimisers, shifts, v-prediction, epsilon, continued, LoRA, students whole, half as deep and "
    )
    note = f"{kinds}of few steps, clips, clips from a context, on digits and world; " + (
        "; ".join(failed) or "none failed"
    )
    frame.record("healthy_models", count, 100, ">=", unit="models", n=count, spread="", note=kinds + "of few steps")
    spread = _interval(len(failed), count)
    frame.record("healthy_failed", len(failed), 0, "<=", unit="models", n=count, spread=spread, note=note)
    warned = verdicts.count("warn")
    spread, share = _interval(warned, len(verdicts)), 100 * warned / len(verdicts)
    frame.record(
        "healthy_warned",
        share,
        2,
        "<=",
        unit="% of verdicts",
        n=len(verdicts),
        spread=spread,
        note="of the same models",
    )


def _healthy() -> Iterator[tuple[str, dict[str, Any]]]:
    """Trainings by the stages, a kind after the other so that those of a run that was stopped are of all kinds."""
    from benchmarks.parts import judged, small_project
    from benchmarks.parts.sick import Project

    known = judged.Cases(WORK / "healthy")
    for kind, seed in SEEDS.items():
        small_project.make(WORK / kind, kind, seed)
    for name in small_project.healthy(0):
        for kind, seed in SEEDS.items():
            made = small_project.healthy(100 * seed)
            with contextlib.chdir(WORK / kind):
                if not small_project.there(made, name):
                    small_project.learn(made, name)
                if made[name][0] != "trajectories":
                    project = Project(model=f"models/{name}", latents=Path("data/latents"))
                    yield f"{kind} {name}", known.of(f"{kind} {name}", lambda project=project: project)


def _healthy_quick() -> Iterator[tuple[str, dict[str, Any]]]:
    from benchmarks.parts import faults, judged

    with _inside() as folder:
        one = faults.healthy(folder, SEEDS["digits"], QUICK_STEPS, "digits")
        for name, plant in {"teacher": faults.teacher_project, "student": faults.student_project}.items():
            yield name, judged.judged(plant(one, one.place(name)))


def planted(frame: Frame) -> None:
    """One fault each: the cause that is named."""
    from benchmarks.parts import faults

    first, among, missed, seconds = 0, 0, list[str](), list[float]()
    kinds: dict[str, int] = {}
    for name, cause, found in _planted(quick=frame.quick):
        kinds[name.split(",")[0]] = kinds.get(name.split(",")[0], 0) + 1
        seconds.append(found["seconds"])
        named = [found["cause"], *found["second_causes"]]
        first += named[0] == cause
        among += cause in named[:2]
        missed += [] if named[0] == cause else [f"{name}: {cause} wanted, {named[0]} named"]
    count = len(seconds)
    about = f"{len(kinds)} kinds, {min(kinds.values())} cases of each at least, in trainings of {faults.STEPS} steps"
    frame.record("faults_planted", count, 100, ">=", unit="cases", n=count, spread="", note=about)
    for figure, named, target in (("cause_named_first", first, 95), ("cause_among_two", among, 99)):
        spread, note = _interval(named, count), "; ".join(missed) or "none missed"
        frame.record(figure, 100 * named / count, target, ">=", unit="%", n=count, spread=spread, note=note)
    frame.record(
        "seconds_small",
        max(seconds),
        60,
        "<=",
        unit="s",
        n=count,
        spread=f"least {min(seconds):g}",
        note="an examination",
    )


def _planted(*, quick: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each fault with its name and cause: every variant of digits or of the world, then every one of the other."""
    from benchmarks.parts import faults, judged

    chosen = faults.FAULTS[1::9] if quick else faults.FAULTS
    every = [(fault, name) for fault in chosen for name in list(fault.variants)[: 1 if quick else None]]
    with _projects(quick=quick) as (ones, folder):
        known = judged.Cases(folder / "faults")
        for turn in range(1 if quick else 2):
            for number, (fault, name) in enumerate(every):
                kind = tuple(ones)[(number + turn) % len(ones)]
                one, case = ones[kind], f"{fault.name}, {name}, {kind}"
                plant = fault.variants[name]
                place = f"fault-{kind}-{turn}-{number}"
                yield case, fault.cause, known.of(case, lambda: plant(one, one.place(place)))  # noqa: B023 (at once)


def pairs(frame: Frame) -> None:
    """Two faults each: both are to be found, the one upstream first."""
    from benchmarks.parts import judged
    from benchmarks.parts import pairs as two
    from frostline.doctor import catalogue

    right, missed, count = 0, list[str](), 0
    with _projects(quick=frame.quick) as (ones, folder):
        known = judged.Cases(folder / "pairs")
        for number, pair in enumerate(two.pairs()[: 2 if frame.quick else None]):
            one = tuple(ones.values())[number % len(ones)]

            def make(pair: two.Pair = pair, one: Any = one, number: int = number) -> Any:
                found = pair.plant(one, one.place(f"pair-{number}"))
                pair.alter(found)
                return found

            found = known.of(f"{pair.name}, {one.kind}", make)
            count += 1
            wrong = _wrong(found, pair.causes, [catalogue.entry(cause).level for cause in pair.causes])
            right += not wrong
            missed += [f"{pair.name}: {wrong}"] if wrong else []
    note = "found: named, or among the symptoms of the one that explains it; " + ("; ".join(missed) or "none missed")
    frame.record("pairs_planted", count, 30, ">=", unit="cases", n=count, spread="", note="parts/pairs.py")
    spread = _interval(right, count)
    frame.record(
        "both_found_upstream_first", 100 * right / count, 90, ">=", unit="%", n=count, spread=spread, note=note
    )


def _wrong(found: Mapping[str, Any], causes: tuple[str, str], levels: Sequence[str]) -> str:
    """What is wrong with what is said of two faults; nothing where both are found in their order."""
    named = [found["cause"], *found["second_causes"]]
    if not set(causes) <= {*named, *found["symptoms"]}:
        return f"{' and '.join(causes)} wanted, {' '.join(map(str, named))} named"
    places = [LEVELS.index(level) for level in levels]
    if places[0] == places[1]:
        return "" if named[0] in causes else f"{named[0]} named first"
    upstream = causes[places.index(min(places))]
    return "" if named[0] == upstream else f"{upstream} is upstream, {named[0]} named first"


def running(frame: Frame) -> None:
    """Faults of a training that runs: the step at which it is stopped."""
    from benchmarks.parts import running as at_work

    caught, missed, steps = 0, list[str](), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        for case in at_work.cases()[: 2 if frame.quick else None]:
            step, said = at_work.stopped(case, Path(folder))
            print(f"    {case.name}: {'not stopped' if step is None else f'step {step}'} {said}", flush=True)
            named = step is not None and case.cause in said
            caught += named
            steps += [step] if step is not None and named else []
            missed += [] if named else [f"{case.name}: {case.cause} wanted"]
    count = caught + len(missed)
    note = f"stopped at step {min(steps, default=0)} to {max(steps, default=0)}; " + (
        "; ".join(missed) or "none missed"
    )
    spread = _interval(caught, count)
    frame.record("caught_while_running", 100 * caught / count, 100, ">=", unit="%", n=count, spread=spread, note=note)


def readings(frame: Frame) -> None:
    """What a network predicts, of eight kinds of networks that know the truth and that know half of it."""
    from benchmarks.parts import truth
    from frostline.doctor import readings as of_doctor

    rows = truth.rows(16 if frame.quick else 64)
    for figure, blur, target in (("reading_named", 0.0, 100), ("reading_of_half_trained_named", 0.6, 90)):
        named, margins, missed = 0, list[float](), list[str]()
        kinds = truth.PARAMETRISATIONS[:2] if frame.quick else truth.PARAMETRISATIONS
        for reading in kinds:
            first, second = of_doctor.best(of_doctor.scores(truth.network(reading, blur), rows))
            named += first.reading.kind == reading.kind
            margins.append(second.ratio / first.ratio)
            missed += [] if first.reading.kind == reading.kind else [f"{reading} taken for {first.reading}"]
        share = 100 * named / len(kinds)
        note = "the diagonal of the confusion table holds all; " if not missed else "; ".join(missed) + "; "
        note += "margins to the next reading: " + ", ".join(f"{margin:.3g}" for margin in margins)
        frame.record(
            figure, share, target, ">=", unit="%", n=len(kinds), spread=f"least margin {min(margins):.3g}", note=note
        )


def miniature(frame: Frame) -> None:
    """The models of the miniature: nothing is wrong with them."""
    from benchmarks.parts.judged import judged, tell
    from benchmarks.parts.sick import Project

    there = [model for model in MODELS if (model / "contract.json").is_file()]
    if not there:
        for figure, target, unit in (("miniature_failed", 0, "models"), ("seconds_miniature", 60, "s")):
            frame.not_run(figure, target, "<=", unit=unit, reason="the miniature's models are not there: make run")
        return
    failed, seconds = list[str](), list[float]()
    for model in there[:1] if frame.quick else there:
        started = time.perf_counter()
        found = judged(Project(model=str(model), latents=Path("data/latents")))
        seconds.append(time.perf_counter() - started)
        failed += [] if found["passed"] else [f"{model}: {found['cause']}"]
        tell(str(model), found)
    note = "; ".join(failed) or "none failed"
    frame.record("miniature_failed", len(failed), 0, "<=", unit="models", n=len(there), spread="", note=note)
    frame.record(
        "seconds_miniature",
        max(seconds),
        60,
        "<=",
        unit="s",
        n=len(seconds),
        spread=f"least {min(seconds):.1f}",
        note="a quick examination with latents, base and, of the student, its teacher; torch loaded before",
    )


PARTS = {
    "readings": readings,
    "healthy": healthy,
    "faults": planted,
    "pairs": pairs,
    "running": running,
    "miniature": miniature,
}


@contextlib.contextmanager
def _inside() -> Any:
    """A folder that code of cases is found in."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


@contextlib.contextmanager
def _projects(*, quick: bool) -> Iterator[tuple[dict[str, Any], Path]]:
    """What faults are planted in, by the kind of its data, in a folder of their own; and where outcomes are kept."""
    from benchmarks.parts import faults

    kept = WORK.absolute()
    with _inside() as folder:
        steps, seeds = (QUICK_STEPS, {"digits": SEEDS["digits"]}) if quick else (faults.STEPS, SEEDS)
        found = {kind: faults.healthy(folder / kind, seed, steps, kind) for kind, seed in seeds.items()}
        yield found, folder if quick else kept


def _interval(hits: int, count: int) -> str:
    """Of a share, after Wilson."""
    share = metrics.proportion(hits / count, count)
    return f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %"


if __name__ == "__main__":
    benchmarks.main("doctor", PARTS)
