"""`frostline doctor`: what is wrong with a model, a cache, a training or a network of one's own, and what to do."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cli import locating
from frostline.errors import WrongUse

if TYPE_CHECKING:
    from frostline.doctor.case import Given, Size

FINDING = 1
TARGETS = "Models, trainings by their work folders, caches, weights, models:/NAME@ALIAS, module:function (it is run)."


@dataclass(frozen=True, kw_only=True)
class Around:
    """What was named beside the targets."""

    latents: Path | None
    media: Path | None
    teacher: str | None
    base: Path | None
    size: "Size"
    html: Path | None


def doctor(
    targets: Annotated[list[str], typer.Argument(help=TARGETS)],
    latents: Annotated[
        Path | None, typer.Option(help="Cache, folder of caches, or .safetensors of latents, if not where models say.")
    ] = None,
    media: Annotated[Path | None, typer.Option(help="Images or clips to encode in their place; needs a base.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Of a student, if not beside it; a target of any kind.")] = None,
    base: Annotated[Path | None, typer.Option(help="Folder of VAE and text encoder, if not where models say.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the pictures, here.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few rows and samples; so it is if neither is asked.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Eight times as many rows, five times as many samples.")] = False,
    registry: Annotated[str, typer.Option(help="Folder of the model registry.")] = locating.REGISTRY,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Name the most probable cause of bad samples, with what was measured and what to do. Exit code 1: a finding."""
    if quick and deep:
        raise WrongUse("--quick and --deep: ask for one of the two")
    from frostline.doctor import rows
    from frostline.doctor.case import Size

    caches = [target for target in targets if rows.is_cache(Path(target))]
    networks = [str(locating.model_folder(target, registry)) for target in targets if target not in caches]
    if html is not None and (html.suffix != ".html" or len(networks) > 1):
        raise WrongUse(f"{html}: name a .html file, of one target")
    around = Around(
        latents=_one_cache(caches, latents),
        media=media,
        teacher=teacher,
        base=base,
        size=Size.of(deep=deep),
        html=html,
    )
    outcomes = [_examined(name, around, _silent if as_json else _say) for name in networks or [None]]
    if as_json:
        print(json.dumps(outcomes[0] if len(outcomes) == 1 else outcomes, indent=2, sort_keys=True))
    if not all(outcome["passed"] for outcome in outcomes):
        raise typer.Exit(FINDING)


def _one_cache(caches: Sequence[str], latents: Path | None) -> Path | None:
    named = [*map(Path, caches), *([] if latents is None else [latents])]
    if len(named) > 1:
        raise WrongUse(f"{' and '.join(map(str, named))}: name one cache at a time, or the folder they lie in")
    return named[0] if named else None


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(_line: str) -> None:
    pass


def _examined(target: str | None, around: Around, say: Callable[[str], None]) -> dict[str, Any]:
    """Examine one network, or a cache alone; what is found is said as it is found."""
    from frostline import processes
    from frostline.doctor import examination, finding_around, own_records, subjects, telling
    from frostline.doctor.case import Given

    if target is not None and subjects.is_code(target):
        say(f"{target}: runs your code")
    device = processes.device("auto", "the doctor")
    run = Path(target) if target is not None and own_records.is_run(Path(target)) else None
    subject = None if target is None or run is not None else subjects.open_(target, device)
    place = finding_around.base(around.base, subject)
    theirs = finding_around.teacher(around.teacher, subject, device)
    with finding_around.latents(around.latents, around.media, subject, place) as cache:
        given = Given(subject=subject, teacher=theirs, cache=cache, base=place, size=around.size, run=run)
        say(_opening(given))
        if around.size.deep and (seconds := examination.estimate(given)) is not None:
            say(f"about {max(seconds / 60, 0.1):.1f} minutes")
        examined = examination.examine(given, lambda finding: say(telling.line(finding)))
        for line in (telling.sentence(given.name, examined), *telling.rest(examined), *telling.untold(examined)):
            say(line)
        if around.html is not None:
            from frostline.doctor import page

            page.write(around.html, given, examined)
            say(f"{around.html}: the page")
    return telling.facts(given.name, examined)


def _opening(given: "Given") -> str:
    """What is examined, and with what."""
    latents, teacher = given.cache, given.teacher
    with_it = {
        "latents": latents.origin if latents else "none",
        "base": given.base or "none",
        "teacher": teacher.name if teacher else "none",
    }
    return f"{given.name}: " + ", ".join(f"{what} {value}" for what, value in with_it.items())
