"""What params name and no stage makes: the base, models to begin with, media. Only the user can bring it."""

from collections.abc import Iterator
from pathlib import Path

from frostline.errors import WrongUse
from frostline.params import MODELS, Params
from frostline.wan import families

REMOTE = "s3://"


def require(settings: Params, root: Path = Path()) -> None:
    """Raise WrongUse, naming everything at once with what brings it, if something is not there."""
    if lines := absent(settings, root):
        raise WrongUse("\n".join(lines))


def absent(settings: Params, root: Path = Path()) -> list[str]:
    """What is not there of all that a project in the folder ``root`` begins with: a line each, with its remedy."""
    folders, media = _folders(settings), _media(settings)
    return [
        *(_folder(path, keys) for path, keys in folders.items() if not (root / path).is_dir()),
        *(_medium(path, key) for key, path in media if not (root / path).exists()),
    ]


def _folders(settings: Params) -> dict[str, list[str]]:
    """Folders of the base and of models that no training here makes, and the keys that name them."""
    made = {Path(MODELS, name) for name in (*settings.train.runs, *settings.tuned, *settings.students)}
    found = {settings.base: ["base"]}
    for key, path in _models(settings):
        if Path(path) not in made:
            found.setdefault(path, []).append(key)
    return found


def _models(settings: Params) -> Iterator[tuple[str, str]]:
    yield from ((f"tuned.{name}.start", run.start) for name, run in settings.tuned.items())
    yield from ((f"students.{name}.teacher", student.teacher) for name, student in settings.students.items())


def _media(settings: Params) -> list[tuple[str, str]]:
    """Keys of sources, and the local paths they name."""
    paths = [(f"sources.{name}.path", source.path) for name, source in settings.sources.items()]
    return [(key, path) for key, path in paths if not path.startswith(REMOTE)]


def _folder(path: str, keys: list[str]) -> str:
    return (
        f"{path}: not there, and params.yaml names it as {' and '.join(keys)}; `frostline fetch {_repository(path)} "
        f"{path}` brings it (docs/wan.md)"
    )


def _repository(path: str) -> str:
    """Where the model is published that a folder is named after."""
    found = [family.hub[0] for family in families.FAMILIES if family.name == Path(path).name]
    return found[0] if found else "OWNER/NAME"


def _medium(path: str, key: str) -> str:
    return (
        f"{path}: not there, and params.yaml names it as {key}; put your own there, or name where it is (docs/data.md)"
    )
