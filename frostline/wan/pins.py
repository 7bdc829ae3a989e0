"""What a fetched folder was when it was fetched: ``fetched.json``, with the digest of every file."""

from collections.abc import Mapping
from pathlib import Path

from frostline import digests, files, records
from frostline.errors import Refused
from frostline.records import Record
from frostline.wan.layouts import EXPERTS

FILE = "fetched.json"


class Pins(Record):
    """Where a folder came from and what is in it."""

    source: str
    revision: str | None  # a commit, where the source has commits
    family: str | None  # the published model that it is, by shape
    expert_boundary: float | None
    files: dict[str, str]  # name below the folder to digest


def save(folder: Path, *, source: str, revision: str | None, family: str | None, boundary: float | None) -> Pins:
    """Write down what a finished folder holds."""
    pins = Pins(source=source, revision=revision, family=family, expert_boundary=boundary, files=_digests(folder))
    files.write_json(folder / FILE, pins.model_dump(mode="json"))
    return pins


def load(folder: Path) -> Pins:
    """What a folder is pinned to; raises WrongUse if it was not fetched."""
    return records.parse(Pins, files.read_json(folder / FILE), origin=str(folder / FILE))


def require_whole(folder: Path) -> Pins:
    """Raise Refused, naming the files, if a folder is no longer what was fetched."""
    pins = load(folder)
    found = _digests(folder)
    _refuse_swapped(folder, pins.files, found)
    lines = [
        f"  {name}: {_what(pins.files.get(name), found.get(name))}"
        for name in sorted(pins.files.keys() | found.keys())
        if pins.files.get(name) != found.get(name)
    ]
    if lines:
        raise Refused(f"{folder}: not what was fetched from {pins.source}:\n" + "\n".join(lines) + "\nfetch it again")
    return pins


def _refuse_swapped(folder: Path, pinned: Mapping[str, str], found: Mapping[str, str]) -> None:
    high, low = (
        {name.removeprefix(f"{role}/"): digest for name, digest in pinned.items() if name.startswith(f"{role}/")}
        for role in EXPERTS
    )
    swapped = [
        name
        for name, digest in low.items()
        if name in high and high[name] != digest and found.get(f"transformer/{name}") == digest
    ]
    if swapped:
        raise Refused(
            f"{folder}/transformer: holds the low-noise expert, by the digest of {swapped[0]}: the folders transformer "
            "and transformer_2 were swapped; swap them back"
        )


def _what(pinned: str | None, found: str | None) -> str:
    if pinned is None:
        return "was not there"
    return "is gone" if found is None else f"has the digest {found}, {pinned} when it was fetched"


def _digests(folder: Path) -> dict[str, str]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: digests.of_file(folder / name) for name in names if name != FILE}
