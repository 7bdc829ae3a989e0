"""A project whose cache is whole."""

import shutil
from pathlib import Path

import pytest

from frostline.caching import encoding
from frostline.codec import Codec
from tests.unit.maintenance.project import Project


@pytest.fixture(scope="session")
def codec(tiny_base: Path) -> Codec:
    return Codec(tiny_base)


@pytest.fixture(scope="session")
def made(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Read it, never write in it."""
    project = Project(tmp_path_factory.mktemp("made"), codec)
    project.encode()
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of it to spoil; cache and pool have each part as one file."""
    shutil.copytree(made.folder / "manifest", tmp_path / "manifest")
    shutil.copytree(made.folder / "pool", tmp_path / "pool")
    shutil.copytree(made.folder / "latents", tmp_path / "latents")
    copy = Project(tmp_path, made.codec)
    for part in copy.latents.rglob("*.parquet"):
        part.unlink()
        part.hardlink_to(copy.pooled(part))
    return copy


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of one batch."""
    monkeypatch.setattr(encoding, "UNIT_BATCHES", 1)
    monkeypatch.setattr(encoding, "UNIT_BYTES", 1)
