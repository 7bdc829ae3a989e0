"""The checks of a network that is asked about latents, in the order of how much they say."""

from collections.abc import Iterator

import torch
from torch import Tensor

from frostline import findings, path, randomness, schedule
from frostline.doctor import answers, catalogue, errors_by_sigma, of_samples, own_records, readings, solvers
from frostline.doctor.case import Check, Given, Seen
from frostline.doctor.errors_by_sigma import Curve
from frostline.doctor.readings import Asked, Reading
from frostline.doctor.rows import Cache, Rows
from frostline.doctor.subjects import Subject, of_part
from frostline.findings import Finding
from frostline.path import VelocityFn


def checks(subject: Subject, cache: Cache, given: Given, seen: Seen) -> Iterator[tuple[str, Check]]:
    """Checks by identifier, each to be made when its turn comes: later ones need what the first found."""
    seen.rows = rows = fitted(cache.rows(given.size.rows), subject)
    yield "D36", lambda: _parametrisation(subject, rows, seen)
    reading = seen.reading
    if reading is None:
        return
    yield from _of_solver(subject, reading)
    yield from _of_answers(subject, given, rows, reading)
    yield from _of_errors(subject, cache, given, rows, reading, seen)
    yield from of_samples.checks(subject, given, rows, reading, seen)


def fitted(rows: Rows, subject: Subject) -> Rows:
    """Rows with texts of the width that the network takes: zeros where there are none."""
    shape = subject.text_shape
    if rows.text is not None or shape is None:
        return rows
    zeros = torch.zeros(1, *shape)
    return Rows(
        origin=rows.origin,
        raw=rows.raw,
        clean=rows.clean,
        text=zeros.expand(len(rows), -1, -1),
        null=zeros,
        numbers=rows.numbers,
    )


def _parametrisation(subject: Subject, rows: Rows, seen: Seen) -> Finding:
    own = subject.process.diffusion if subject.process else None
    seen.scored = readings.scores(subject.ask, rows, own)
    seen.reading = subject.declared or seen.scored[0].reading
    return readings.check(seen.scored, subject.declared)


def _of_solver(subject: Subject, reading: Reading) -> Iterator[tuple[str, Check]]:
    """What samples it: the contract's sampler, and the folder's scheduler, which the stock pipeline takes."""
    record, process, folder = subject.sampling, subject.process, subject.folder
    if record is not None or (folder is not None and solvers.has_scheduler(folder)):
        yield "D03", lambda: solvers.judged(record, folder, reading)
    if record is not None and process is not None:
        yield "D05", lambda: solvers.coverage(process, record, folder)


def _at(rows: Rows, reading: Reading, sigma: float) -> tuple[Tensor, Tensor]:
    """Noised rows as a network takes them, and what it is told."""
    noised, _, level = errors_by_sigma.noised_at(rows, sigma, "answers")
    return reading.given(noised, level), reading.told(level)


def _of_answers(subject: Subject, given: Given, rows: Rows, reading: Reading) -> Iterator[tuple[str, Check]]:
    few = rows.first(8)
    asked, told = _at(few, reading, 0.5)
    teacher, theirs = given.teacher, None
    if teacher is not None:
        theirs = teacher.declared or reading
        of_teacher = _at(few, theirs, 0.5)
        yield "D01", lambda: answers.teacher_input(teacher.ask, *of_teacher, few.text)
    same = theirs is not None and theirs.kind == reading.kind
    judged_by = teacher.ask if teacher is not None and same else None
    yield "D02", lambda: answers.student_input(subject.ask, judged_by, asked, told, few.text)
    patch = subject.parts[0].config["patch_size"] if subject.parts else (1, 1, 1)
    yield "D16", lambda: answers.position(subject.ask, asked, told, few.text, patch)
    yield "D17", lambda: answers.scale(subject.ask, asked, told, few.text)
    other = _at(few, reading, 0.8)[1]
    yield "D19", lambda: answers.dependence(subject.ask, asked, told, few.text, other)
    scale = 1e-3 if reading.time in ("sigma", "1 - sigma") else 1.0
    yield "D07", lambda: answers.precision(subject.ask, asked, few.text, scale)


def _of_errors(
    subject: Subject, cache: Cache, given: Given, rows: Rows, reading: Reading, seen: Seen
) -> Iterator[tuple[str, Check]]:
    ask, teacher = subject.ask, given.teacher

    def on_data() -> Finding:
        seen.curve = errors_by_sigma.over_linear(ask, reading, rows)
        return errors_by_sigma.progress(seen.curve, seen.unexplained)

    if teacher is not None:
        yield from _against_teacher(subject, teacher, rows, reading, seen)
    yield "D25", on_data
    if teacher is None:
        last = errors_by_sigma.EPSILON_TO if reading.prediction == "epsilon" else 1.0
        yield "D20", lambda: errors_by_sigma.off_manifold(_required(seen.curve), last)
    yield "D08", lambda: _own_scale(ask, reading, rows, seen)
    boundary = subject.process.expert_boundary if subject.process else None
    if len(subject.parts) == 2 and boundary is not None:
        high, low = of_part(subject, 0), of_part(subject, 1)
        yield "D06", lambda: errors_by_sigma.own_range(high, low, reading, boundary, rows)
    training, folder = subject.training, subject.folder
    if training is None or folder is None:
        return
    flows = training.objective == "flow_matching"
    recorded = own_records.last_by_sigma(folder / "sigmas.tsv") if flows else {}
    really = seen.scored[0].reading if seen.scored[0].ratio < readings.LEARNED else reading
    if recorded:
        yield "D21", lambda: _fresh(subject, cache, given, really, recorded)
    yield "D23", lambda: _same_weights(subject, cache, really, flows=flows)


def _required(curve: Curve | None) -> Curve:
    if curve is None:
        raise RuntimeError("the errors by sigma could not be measured (D25)")
    return curve


def _own_scale(ask: Asked, reading: Reading, rows: Rows, seen: Seen) -> Finding:
    finding, seen.scales = errors_by_sigma.own_scale(ask, reading, rows)
    best = seen.scored[0]
    if best.reading.units != reading.units and best.ratio < readings.LEARNED:
        other = min(one.ratio for one in seen.scored if one.reading.units == reading.units)
        if other / best.ratio > 1.1:
            note = f"the network is least wrong on {best.reading.units} latents, {other / best.ratio:.3g} times less"
            return finding.model_copy(
                update={"verdict": "fail", "reason": note, "remedy": catalogue.about("D08").remedy}
            )
    return finding


def _against_teacher(
    subject: Subject, teacher: Subject, rows: Rows, reading: Reading, seen: Seen
) -> Iterator[tuple[str, Check]]:
    student = reading.velocity_fn(subject.ask, rows.text)
    theirs = teacher.declared or reading
    conditional, null = theirs.velocity_fn(teacher.ask, rows.text), _null(theirs, teacher.ask, rows)
    record = subject.sampling
    folded = record is not None and record.guidance_form == "folded"
    scale = record.guidance if record is not None and folded else 1.0
    target = errors_by_sigma.guided(conditional, null, scale)

    def unexplained() -> Finding:
        seen.unexplained = errors_by_sigma.unexplained(student, target, rows)
        return errors_by_sigma.off_teacher(seen.unexplained)

    yield "D20", unexplained
    if record is not None and scale != 0:
        yield (
            "D32",
            lambda: errors_by_sigma.guided_once(errors_by_sigma.folded_scale(student, conditional, null, rows), scale),
        )


def _null(reading: Reading, ask: Asked, rows: Rows) -> VelocityFn:
    null = rows.null
    return reading.velocity_fn(ask, None if null is None else null.expand(len(rows), -1, -1))


def _fresh(subject: Subject, cache: Cache, given: Given, reading: Reading, recorded: dict[float, float]) -> Finding:
    rows = cache.rows(given.size.rows, splits=("train",))
    sigmas = [sigma for sigma in recorded if 0.1 < sigma < 0.99]
    fresh = errors_by_sigma.losses(reading.velocity_fn(subject.ask, rows.text), rows, sigmas)
    return errors_by_sigma.fresh_gap(fresh, recorded)


def _same_weights(subject: Subject, cache: Cache, reading: Reading, *, flows: bool) -> Finding:
    training, folder, process = subject.training, subject.folder, subject.process
    if training is None or folder is None:
        return findings.not_applicable(catalogue.about("D23"), "no record of a training")
    loss = validated = None
    data = cache.dataset
    if flows and data is not None and process is not None and data.digest == training.dataset_digest:
        bucket = min(data.buckets)
        recorded = own_records.curve(folder / "validation.tsv", bucket)
        if recorded:
            validated = recorded[-1]
            loss = _validation_loss(subject, cache.rows(64, splits=("validation",), bucket=bucket), reading)
    return own_records.same_weights(training, subject.weights_digest, loss, validated)


def _validation_loss(subject: Subject, rows: Rows, reading: Reading) -> float:
    """As a training looks at its held-out rows: sigmas spread over the shifted schedule, one each."""
    process = subject.process
    shift = 1.0 if process is None else process.shift
    sigma = schedule.shift((torch.arange(len(rows), dtype=torch.float64) + 0.5) / len(rows), shift)
    noise = randomness.normal(tuple(rows.clean.shape), "doctor", "validation")
    noised = path.noised(rows.clean, noise, sigma)
    velocity = reading.velocity_fn(subject.ask, rows.text)(noised, sigma)
    return float((velocity - path.velocity(rows.clean, noise)).double().square().mean())
