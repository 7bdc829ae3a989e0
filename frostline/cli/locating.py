"""Where a command finds a model and its base: a folder, or a version of the registry."""

import os
from pathlib import Path

from frostline.errors import WrongUse

SCHEME = "models:/"
REGISTRY = "mlruns"
FETCHED = Path(".work") / "fetched"


def model_folder(model: str, registry: str) -> Path:
    """The folder of ``PATH`` or ``models:/NAME@ALIAS``; a registered model is fetched and its digest checked."""
    if not model.startswith(SCHEME):
        return Path(model)
    from frostline import tracking

    tracking.require_reference(model)
    root = project()
    return tracking.fetch(tracking.existing_store(root / registry), model, root / FETCHED)


def project() -> Path:
    """The nearest folder upwards with a dvc.yaml, else the one we are in; DVC_ROOT where DVC runs a copy of it."""
    if "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    found = [folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()]
    return found[0] if found else here


def require_folder(path: Path, what: str) -> Path:
    """The path, if it is a folder; raises WrongUse naming what was looked for."""
    if not path.is_dir():
        raise WrongUse(f"{path}: no such folder, {what} was looked for there")
    return path
