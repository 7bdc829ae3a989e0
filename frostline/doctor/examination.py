"""All checks that apply to what was given, one after another; each finding is told as soon as it is made."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from frostline import findings, vitals
from frostline.doctor import catalogue, causes, of_cache, of_network, own_records, settings
from frostline.doctor.case import Check, Given, Seen
from frostline.doctor.causes import Diagnosis
from frostline.doctor.subjects import Subject
from frostline.findings import Finding

NO_LATENTS = "no latents were given: --latents"
NO_BASE = "no base was found: --base"
OF_BASE = ("D09", "D11", "D12")
OF_CACHE = ("D13", "D22")
OF_FILES = ("D14", "D15", "D26")
OF_TEACHER = ("D01", "D15", "D32")
RECORDED = {  # why a training has no such record
    "D18": "it went on from weights that were trained before",
    "D24": "one process trained it",
    "D29": "it continues no clips",
}
QUESTIONS = 130  # of a network, of all rows, without samples


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """The outcome."""

    findings: tuple[Finding, ...]
    crashed: tuple[str, ...]  # checks that the doctor failed to make
    diagnosis: Diagnosis
    seconds: float
    seen: Seen

    @property
    def failed(self) -> bool:
        """Whether a check failed, or the doctor did."""
        return self.diagnosis.cause is not None or bool(self.crashed)


def examine(given: Given, tell: Callable[[Finding], None], *, of_cache: bool = True) -> Examined:
    """Make every check that applies; ``tell`` is called with each finding when it is made.

    ``of_cache``: whether the cache itself is looked at too, and not only its rows shown to a network.
    """
    started, found, crashed, seen = time.monotonic(), list[Finding](), list[str](), Seen()
    for id_, check in _checks(given, seen, with_cache=of_cache):
        finding, fell = _made(id_, check)
        crashed += [id_] if fell else []
        found.append(finding)
        tell(finding)
    said = {finding.id for finding in found}
    for entry in catalogue.entries().values():
        if entry.id not in said:
            found.append(findings.not_applicable(entry.check, _why_not(entry.when, entry.id, given)))
    failed = {finding.id for finding in found if finding.verdict == "fail"} - set(crashed)
    return Examined(
        findings=tuple(found),
        crashed=tuple(crashed),
        diagnosis=causes.diagnose(failed),
        seconds=time.monotonic() - started,
        seen=seen,
    )


def _made(id_: str, check: Check) -> tuple[Finding, bool]:
    """A finding, and whether the check crashed: that is a fail of the doctor and never reads as a pass."""
    try:
        return check(), False
    except Exception as error:  # noqa: BLE001 (whatever a stranger's network raises is said, and fails)
        about = catalogue.about(id_)
        said = f"the check itself failed: {type(error).__name__}: {error}"
        return findings.not_applicable(about, said).model_copy(update={"verdict": "fail"}), True


def _why_not(when: str, id_: str, given: Given) -> str:
    if when == "records":
        return _unrecorded(id_, given)
    if given.run is not None and when == "files":
        return "the training has not ended: a finished model is asked more"
    if when == "test":
        return "told by tests of the code that trains, not by what it leaves behind"
    if id_ in OF_BASE:
        return NO_BASE if given.base is None else "what was given has no latents of this base"
    if id_ in OF_CACHE and given.subject is None:
        return "no latents with splits and captions were given: --latents"
    if given.subject is None:
        return "no network was given"
    if given.cache is None and id_ not in OF_FILES:
        return NO_LATENTS
    if id_ in OF_TEACHER and given.teacher is None:
        return "no teacher was given: --teacher"
    return "it does not apply, or its files do not tell"


def _unrecorded(id_: str, given: Given) -> str:
    """Why what is told while a training runs is not told of this one."""
    folder = None if given.subject is None else given.subject.folder
    if given.run is not None:
        return RECORDED.get(id_, "it was not looked at yet")
    if folder is None or not (folder / vitals.FILE).is_file():
        return f"told while a training runs, and there is no {vitals.FILE} of one"
    return RECORDED.get(id_, "its training was too short to be looked at")


def _checks(given: Given, seen: Seen, *, with_cache: bool) -> Iterator[tuple[str, Check]]:
    if given.run is not None:
        yield from ((one.id, lambda one=one: one) for one in own_records.of_run(given.run))
    if given.cache is not None and with_cache:
        yield from of_cache.checks(given.cache, given, seen)
    if given.subject is not None:
        yield from _of_records(given.subject, given)
        if given.cache is not None:
            yield from of_network.checks(given.subject, given.cache, given, seen)


def _of_records(subject: Subject, given: Given) -> Iterator[tuple[str, Check]]:
    if subject.parts:
        yield (
            "D14",
            lambda: own_records.load_audit([p.audit for p in subject.parts], [p.network for p in subject.parts]),
        )
    training, folder = subject.training, subject.folder
    if folder is not None and settings.has_any(folder):
        yield "D30", lambda: settings.unread(folder)
    if folder is not None and (folder / vitals.FILE).is_file():
        yield from ((finding.id, lambda finding=finding: finding) for finding in own_records.while_training(folder))
    if training is not None and folder is not None:
        yield "D26", lambda: own_records.finished(training, own_records.curve(folder / "curve.tsv", "loss"))
    teacher = given.teacher
    if training is not None and training.tensor_sources and teacher is not None and teacher.parts:
        student, theirs, mapping = subject.parts[0].network, teacher.parts[0].network, training.tensor_sources
        yield "D15", lambda: own_records.sources(mapping, student.state_dict(), theirs.state_dict())


def estimate(given: Given) -> float | None:
    """Seconds that an examination will take, from one question; None where no network can be asked."""
    if given.subject is None or given.cache is None:
        return None
    rows = of_network.fitted(given.cache.rows(min(32, given.size.rows)), given.subject)
    started = time.monotonic()
    given.subject.ask(rows.clean, torch.full((len(rows),), 500.0), rows.text)
    one = (time.monotonic() - started) / len(rows)
    record = given.subject.sampling
    steps = 20 if record is None else record.steps * (1 if record.guidance_form == "folded" else 2)
    return one * (QUESTIONS * given.size.rows + steps * given.size.samples)
