"""What a network's answers depend on: latent, timestep, text, places, scale (D01, D02, D07, D16, D17, D19).

Each function asks a network about a few latents and judges what it says. ``ask`` is readings.Asked; given
(B, C, T, H, W) are latents as the network takes them, told (B,) timesteps, text (B, L, D).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from frostline import findings
from frostline.doctor import catalogue
from frostline.doctor.readings import Asked
from frostline.findings import Bound, Finding

LEAST_SHARE = 0.05
IGNORED = "the answer does not depend on the latent at all (D02)"
TEACHER_INPUT = (Bound(measure="input_share", op=">=", value=LEAST_SHARE),)
STUDENT_INPUT = (*TEACHER_INPUT, Bound(measure="share_of_teachers", op=">=", value=0.3))
POSITION = (Bound(measure="in_space", op=">", value=1e-2), Bound(measure="in_time", op=">", value=1e-2))
SCALE = (Bound(measure="by_scale", op=">", value=1e-2),)
DEPENDENCE = tuple(Bound(measure=name, op=">", value=1e-3) for name in ("by_latent", "by_timestep", "by_text"))
PRECISION = (Bound(measure="timesteps_apart", op=">=", value=0.99),)
NEIGHBOURS = (3, 40, 130, 257, 300, 380, 450, 513, 560, 610, 700, 777, 801, 850, 900, 998)


def input_share(answer: Tensor) -> float:
    """Deviation over the rows of an answer (B, ...), over all its deviation: 0 if every latent gets the same."""
    values = answer.double()
    whole = values.std(correction=0)
    return float(values.var(0).mean().sqrt() / whole) if float(whole) > 0 else 0.0


def teacher_input(ask: Asked, given: Tensor, told: Tensor, text: Tensor | None) -> Finding:
    """D01: judge a teacher by its answers about different latents under one timestep and one prompt."""
    shown = ask(given, told, _one_text(text))
    return findings.judge(catalogue.about("D01"), {"input_share": input_share(shown)}, TEACHER_INPUT)


def student_input(ask: Asked, teacher: Asked | None, given: Tensor, told: Tensor, text: Tensor | None) -> Finding:
    """D02: the same of a student, and relative to its teacher where that is there and answers at all."""
    own = input_share(ask(given, told, _one_text(text)))
    theirs = 0.0 if teacher is None else input_share(teacher(given, told, _one_text(text)))
    if theirs < LEAST_SHARE:
        return findings.judge(catalogue.about("D02"), {"input_share": own}, TEACHER_INPUT)
    return findings.judge(
        catalogue.about("D02"), {"input_share": own, "share_of_teachers": own / theirs}, STUDENT_INPUT
    )


def position(ask: Asked, given: Tensor, told: Tensor, text: Tensor | None, patch: Sequence[int]) -> Finding:
    """D16: judge by moving all patches, of each frame and of time, and moving the answer back."""
    if input_share(ask(given, told, _one_text(text))) < LEAST_SHARE:
        return findings.not_applicable(catalogue.about("D16"), IGNORED)
    measured, bounds = {}, []
    for bound, dims in zip(POSITION, ((3, 4), (2,)), strict=True):
        if all(given.shape[dim] // patch[dim - 2] < 2 for dim in dims):
            continue
        measured[bound.measure] = _moved(ask, given, told, text, patch, dims)
        bounds.append(bound)
    if not measured:
        return findings.not_applicable(catalogue.about("D16"), "latents of one patch: there are no places")
    return findings.judge(catalogue.about("D16"), measured, tuple(bounds))


def _moved(
    ask: Asked, given: Tensor, told: Tensor, text: Tensor | None, patch: Sequence[int], dims: Sequence[int]
) -> float:
    """Relative change of answers when patches are put in the opposite order along some axes, and put back."""
    opposite = given
    for dim in dims:
        opposite = _reversed(opposite, patch[dim - 2], dim)
    back = ask(opposite, told, text)
    for dim in dims:
        back = _reversed(back, patch[dim - 2], dim)
    return change(ask(given, told, text), back)


def _reversed(latents: Tensor, size: int, dim: int) -> Tensor:
    """Latents whose patches along an axis are in the opposite order, each as it was inside."""
    return torch.cat(list(reversed(latents.split(size, dim))), dim)


def scale(ask: Asked, given: Tensor, told: Tensor, text: Tensor | None) -> Finding:
    """D17: judge by a factor and an offset on the input."""
    if input_share(ask(given, told, _one_text(text))) < LEAST_SHARE:
        return findings.not_applicable(catalogue.about("D17"), IGNORED)
    plain = ask(given, told, text)
    changed = change(plain, ask(given * 1.5 + 0.3, told, text))
    return findings.judge(catalogue.about("D17"), {"by_scale": changed}, SCALE)


def dependence(ask: Asked, given: Tensor, told: Tensor, text: Tensor | None, other: Tensor | None) -> Finding:
    """D19: judge by another latent, timestep ``other`` (B,) being another one, and text of the next row."""
    plain = ask(given, told, text)
    measured = {"by_latent": change(plain, ask(given.roll(1, 0), told, text))}
    if other is not None:
        measured["by_timestep"] = change(plain, ask(given, other, text))
    if text is not None and len(torch.unique(text, dim=0)) > 1:
        measured["by_text"] = change(plain, ask(given, told, _another(text)))
    note = "" if "by_text" in measured else "no texts were given, so dependence on text was not looked at"
    bounds = tuple(bound for bound in DEPENDENCE if bound.measure in measured)
    return findings.judge(catalogue.about("D19"), measured, bounds, note=note)


def _another(text: Tensor) -> Tensor:
    """Every row under the text of a row that has another one."""
    kinds = torch.unique(text, dim=0)
    same = (text[:, None] == kinds[None]).flatten(2).all(2)  # (B, kinds)
    return kinds[(same.int().argmax(1) + 1) % len(kinds)]


def precision(ask: Asked, given: Tensor, text: Tensor | None, scale: float) -> Finding:
    """D07: judge by the share of whole timesteps whose answer is another than that of the next.

    ``scale`` is 1 where the network counts timesteps to 1000, else how many it has for one.
    """
    lower = torch.tensor(NEIGHBOURS, dtype=torch.float32)
    one, words = given[:1].expand(len(lower), *given.shape[1:]), _one_text(text, len(lower))
    below, above = (ask(one, steps * scale, words) for steps in (lower, lower + 1))
    apart = (below != above).flatten(1).any(1).double().mean()
    return findings.judge(catalogue.about("D07"), {"timesteps_apart": float(apart)}, PRECISION)


def change(plain: Tensor, changed: Tensor) -> float:
    """Norm of a difference over the norm of what was before; 0 where both are 0."""
    norm = float(plain.double().norm())
    return float((changed.double() - plain.double()).norm()) / norm if norm > 0 else 0.0


def _one_text(text: Tensor | None, count: int | None = None) -> Tensor | None:
    """All rows under the first row's text."""
    return None if text is None else text[:1].expand(count or len(text), *text.shape[1:])
