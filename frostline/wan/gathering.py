"""The files of a published model, brought onto a local disk: from the hub, an object store, or a folder that is here.

What was begun and not finished is gone on with: a file that is whole is not fetched again.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from frostline import files, storage
from frostline.errors import WrongUse
from frostline.wan import layouts

WANTED = (
    *("model_index.json", "config.json", layouts.WEIGHTS, f"diffusion_pytorch_model*{layouts.INDEX}"),
    *(f"{role}/*" for role in (*layouts.ROLES, "tokenizer", "scheduler")),
    *(f"{folder}/*" for folder in (*layouts.EXPERTS.values(), layouts.NATIVE_TOKENIZER)),
    *(f"{stem}.*" for stem in (*layouts.NATIVE_VAES, layouts.NATIVE_TEXT_ENCODER)),
)
"""What a model needs of its repository: no pictures, no other models."""

COPIED = 1 << 23  # bytes at a time

UNWANTED = ("*.msgpack", "*.onnx", "*.gguf", "*.py", "*.md")


class Gathered(NamedTuple):
    """A model's files on a local disk."""

    root: Path
    source: str  # as it was asked for
    revision: str | None  # the commit, where the source has commits
    temporary: bool  # whether the files may be moved


def gather(source: str, work: Path, *, revision: str | None = None) -> Gathered:
    """The files behind a folder, an address in an object store, or a name on the hub.

    ``work`` is where files are kept until all are there. Raises WrongUse if there is no such source, or if a revision
    is asked for of what has none.
    """
    if "://" not in source and Path(source).exists():
        _no_revision(source, revision)
        return Gathered(Path(source), source, None, temporary=False)
    if storage.is_remote(source):
        _no_revision(source, revision)
        return Gathered(_from_store(source, work), source, None, temporary=True)
    if source.count("/") != 1 or source.startswith((".", "/")):
        raise WrongUse(f"{source}: neither a folder here, nor s3://bucket/prefix, nor OWNER/NAME on the hub")
    return _from_hub(source, work, revision)


def _no_revision(source: str, revision: str | None) -> None:
    if revision is not None:
        raise WrongUse(f"{source}: has no revisions; leave {revision!r} out")


def _from_store(address: str, work: Path) -> Path:
    """All files below an address."""
    for name, blob in storage.tree(address):
        target = work / name
        if not target.is_file() or target.stat().st_size != blob.size:
            with files.replacing(target) as beside, blob.open() as remote, beside.open("wb") as local:
                shutil.copyfileobj(remote, local, COPIED)
    return work


def _from_hub(repository: str, work: Path, revision: str | None) -> Gathered:
    """The wanted files of a repository at one commit; raises WrongUse with what the hub answered if it gives none."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        commit = huggingface_hub.HfApi().model_info(repository, revision=revision).sha
        huggingface_hub.snapshot_download(
            repository,
            revision=commit,
            local_dir=work,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
        )
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.OfflineModeIsEnabled, OSError) as error:
        raise WrongUse(f"{repository}: the hub did not give it: {error}") from None
    return Gathered(work, repository, commit, temporary=True)
