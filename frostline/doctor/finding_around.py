"""What belongs to a target and was not named: the latents it was trained on, its base, its teacher."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from frostline import files, models, prediction
from frostline.codec import Codec
from frostline.contract import Contract
from frostline.doctor import rows, subjects
from frostline.doctor.rows import Cache, Rows
from frostline.doctor.subjects import Subject
from frostline.errors import WrongUse
from frostline.media import Unusable
from frostline.models import Training

LATENTS, TRAJECTORIES = Path("data/latents"), "trajectories"  # the second beside the first
MEDIA = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".mp4", ".webm", ".gif", ".mkv", ".mov"})
SIDE = 256  # pixels, where no contract names a size
MOST = 64  # media that are encoded


def base(given: Path | None, subject: Subject | None) -> Path | None:
    """The folder of the frozen parts: the one named, the model's own, or the one its base.json names."""
    if given is not None:
        if not (given / "vae" / "config.json").is_file():
            raise WrongUse(f"{given}: holds no vae/config.json; a base is a diffusers Wan pipeline folder")
        return given
    folder = subject.folder if subject else None
    if folder is None:
        return None
    named = [Path()] if (folder / "vae" / "config.json").is_file() else []
    if named:
        return folder
    if not (folder / "base.json").is_file():
        return None
    path = str(files.read_json(folder / "base.json").get("path", ""))
    places = (place / path for place in (Path(), *folder.resolve().parents))
    return next((place for place in places if (place / "vae" / "config.json").is_file()), None)


def teacher(given: str | None, subject: Subject | None, device: str = "cpu") -> Subject | None:
    """The teacher: the one named, or a model beside the student whose weights its record names."""
    if given is not None:
        return subjects.open_(given, device)
    training = subject.training if subject else None
    folder = subject.folder if subject else None
    if training is None or folder is None or training.teacher_digest is None:
        return None
    for beside in sorted(folder.resolve().parent.glob(f"*/{models.RECORD}")):
        if files.read_json(beside).get("weights_digest") == training.teacher_digest:
            return subjects.open_(str(beside.parent), device)
    return None


@contextlib.contextmanager
def latents(
    given: Path | None, media: Path | None, subject: Subject | None, base: Path | None
) -> Iterator[Cache | None]:
    """Latents to ask about: those named, those encoded from media, or those the model was trained on."""
    if given is not None:
        with rows.opened(given) as cache:
            yield cache
    elif media is not None:
        yield encoded(media, base, subject.contract if subject else None)
    else:
        with _trained_on(subject) as cache:
            yield cache


@contextlib.contextmanager
def _trained_on(subject: Subject | None) -> Iterator[Cache | None]:
    """The caches of the project a model lies in, if they are those its record names."""
    training = subject.training if subject else None
    folder = subject.folder if subject else None
    if training is None or folder is None:
        yield None
        return
    places = [place / LATENTS for place in (Path(), *folder.resolve().parents)]
    found = next((place for place in places if place.is_dir() and rows.is_cache(place)), None)
    if found is None:
        yield None
        return
    with rows.opened(found) as cache:
        fits = cache.dataset is not None and cache.dataset.digest in _origins(training, found.parent)
        yield cache if fits else None


def _origins(training: Training, data: Path) -> set[str]:
    """Digests of what a model learned from: of its rows, and of the latents whose captions its trajectories have."""
    digest = training.dataset_digest
    followed = [files.read_json(index) for index in sorted((data / TRAJECTORIES).glob("*.json"))]
    beyond = [facts["trajectories"]["dataset_digest"] for facts in followed if facts["digest"] == digest]
    return {digest, *beyond}


def encoded(media: Path, base: Path | None, contract: Contract | None) -> Cache:
    """Rows of the first frames of media, encoded by a base, all under the null prompt.

    Raises WrongUse without a base, or if no file there can be read.
    """
    if base is None:
        raise WrongUse(f"{media}: media have to be encoded: name the folder of the VAE with --base")
    codec = Codec(base)
    process = contract.process if contract else None
    _, height, width = min(process.buckets) if process and process.buckets else (1, SIDE, SIDE)
    pictures, unread = [], []
    for path in sorted(path for path in media.rglob("*") if path.suffix.lower() in MEDIA)[:MOST]:
        try:
            shown = prediction.read(path, [(1, height, width)], 1, fps=None, at=None)
        except Unusable as error:
            unread.append(f"{path.name}: {error}")
            continue
        pictures.append(torch.from_numpy(shown.given.copy()))
    if not pictures:
        raise WrongUse(f"{media}: no image or clip that can be read{'; ' + unread[0] if unread else ''}")
    raw = torch.cat([codec.encode(picture[None]).cpu() for picture in pictures])
    [words] = codec.encode_text([""])
    null = torch.zeros(1, codec.latent_space.text_length, words.shape[1])
    null[0, : len(words)] = words.cpu()
    text = null.expand(len(raw), -1, -1)
    alone = Rows(origin=str(media), raw=raw, clean=codec.normalise(raw), text=text, null=null)
    return Cache(origin=str(media), space=codec.latent_space, dataset=None, alone=alone)
