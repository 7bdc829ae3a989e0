"""Captions for media that have none: by a program of the user's, or by a vision-language model in a local folder.

A program gets one JSON object a line, {"id": ..., "path": ..., "medium": "image" | "clip" | "frames"}, and answers
each with one line, {"id": ..., "caption": ...}, in any order; it may read programs.AHEAD lines before it answers, and
its notes go to stderr. A path is a local file, or a folder of frames; what lies in a tar or an object store is copied
for it and removed after the answer. An empty caption means that it has no words for the item, which stays without.

A model sees a picture, or the middle frame of a clip: what moves, it cannot tell. It never samples.

Every caption is kept in the table ``captions.jsonl`` of the work folder before the next is taken, so a killed run
goes on where it was. A caption is found again by what it was made with (the words of the command and the bytes of
those that are relative paths of files; the model's folder and prompt) and by the bytes of its medium; their stamps only
save reading them again.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from frostline import digests
from frostline.captioning import programs, vision
from frostline.captioning.items import Said, Uncaptioned
from frostline.captioning.table import Table
from frostline.errors import WrongUse
from frostline.params.sources import CommandCaptioner, ModelCaptioner

TABLE = "captions.jsonl"

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # what a progress bar does to the things it counts


def fill(
    entries: Sequence[Uncaptioned],
    params: CommandCaptioner | ModelCaptioner,
    work: Path,
    root: str,
    progress: Progress = iter,
) -> dict[str, str]:
    """Captions by locator; an item the captioner has no words for, or that cannot be read, is not among them.

    Raises WrongUse, with the last lines of its stderr, for a program that cannot be started, ends early, hangs, or
    answers what was not asked; what it said before is kept.
    """
    table = Table(work / TABLE, _identity(params))
    found, missing = {}, []
    for entry in entries:
        known = table.find(entry)
        if known is None:
            missing.append(entry)
        else:
            found[entry.locator] = known
    if missing:
        with contextlib.closing(_captions(missing, params, work, root)) as said:
            for _, (entry, caption) in zip(progress(missing), said, strict=True):
                if caption:
                    table.add(entry, caption)
                    found[entry.locator] = caption
    return found


def _captions(entries: Sequence[Uncaptioned], params: CommandCaptioner | ModelCaptioner, work: Path, root: str) -> Said:
    if isinstance(params, CommandCaptioner):
        return programs.captions(entries, params, root, work)
    return vision.captions(entries, params)


def _identity(params: CommandCaptioner | ModelCaptioner) -> str:
    """Digest of what captions are made with."""
    if isinstance(params, ModelCaptioner):
        if not Path(params.model).is_dir():
            raise WrongUse(
                f"{params.model}: no such folder; captioner.model names a local folder in transformers' layout"
            )
        return digests.of_json([digests.of_folder(params.model), params.prompt, params.max_new_tokens])
    return digests.of_json([list(params.command), [digests.of_file(word) for word in params.command if _is_own(word)]])


def _is_own(word: str) -> bool:
    """Is a word of a command a file of the project's?"""
    try:
        return not Path(word).is_absolute() and Path(word).is_file()
    except OSError:  # too long for a path
        return False
