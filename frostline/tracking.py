"""The only door to MLflow: a store of runs and registered models that lives in one folder and needs no server.

The store is ``FOLDER/mlflow.db`` (SQLite) and ``FOLDER/artifacts``; with ``MLFLOW_TRACKING_URI`` set, that server is
used instead. A registered version is a model folder of ours, kept as it is, with the digests of its contract, data,
frozen parts and weights as tags. It is fetched as files and checked against those digests; MLflow's own loaders are
never used, because they know nothing of a sampling contract and run code found in the artifact.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from frostline import digests, workspace
from frostline.errors import FrostlineError, Refused, WrongUse
from frostline.records import Record

workspace.settle()
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow.artifacts  # noqa: E402  (its telemetry is decided at import, by the variables above)
from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

EXPERIMENT = "frostline"
DATABASE = "mlflow.db"
MODEL = "model"  # the artifact path of the model folder in its run
FOLDER_DIGEST = "folder_digest"  # tag: names and bytes of every file of the model folder
ALIAS = re.compile(r"models:/(?P<name>[^/@]+)@(?P<alias>[^/@]+)")
NUMBER = re.compile(r"models:/(?P<name>[^/@]+)/(?P<number>[0-9]+)")
BATCH = 1000  # metrics in one request, the most a server takes
ATTEMPTS = 5
PREVIEWS = "previews"  # the artifact path of a training's pictures in its run
RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # of who asks again anyway

T = TypeVar("T")


class Store(Record):
    """Where runs and registered models are kept."""

    uri: str
    folder: Path | None  # None: a server, which knows its own places

    @property
    def client(self) -> MlflowClient:
        """A client of this store alone; MLflow's global settings are neither read nor moved."""
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


class Entry(Record):
    """What is said of a model when it is registered."""

    name: str
    alias: str
    tags: dict[str, str]  # must hold weights_digest and contract_digest
    params: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, tuple[tuple[int, float], ...]]  # name to (step, value)


class Version(Record):
    """A version in the registry; ``created`` is false if the same weights were there before."""

    name: str
    number: int
    created: bool


class Away(FrostlineError):
    """The store did not answer, or could not be written; what was to be said can be said again later."""


class Live:
    """The run of a training while it goes on: its pictures and losses, told as they come.

    There is one run for a training, known by its stage and the digest of all that it is made from; who tells it may
    end and another go on. Nothing waits for the store: where it is away the next call says what is missing.
    """

    def __init__(self, folder: str | Path, stage: str, key: str) -> None:
        """``folder`` as for ``open_store``; nothing is asked of it yet."""
        self._folder, self._tags = folder, {"stage": stage, "stage_key": key}
        self._run: tuple[Store, str] | None = None
        self._told: dict[str, int] = {}  # the last step of each curve
        self._pictures: set[str] = set()
        for name, value in RETRIES.items():
            os.environ.setdefault(name, value)

    def show(self, pictures: Sequence[Path], losses: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Tell what the store does not know of yet; raises Away."""
        with self._answering():
            store, run = self._run = self._run or self._found()
            for picture in pictures:
                if picture.name not in self._pictures:
                    store.client.log_artifact(run, str(picture), PREVIEWS)
                    self._pictures.add(picture.name)
            for name, points in losses.items():
                new = [(step, loss) for step, loss in points if step > self._told.get(name, -1)]
                if new:
                    _log_curve(store.client, run, name, new)
                    self._told[name] = new[-1][0]

    def end(self, status: str) -> None:
        """Mark the run, if there is one, FINISHED or KILLED; raises Away."""
        if self._run is not None:
            with self._answering():
                store, run = self._run
                store.client.set_terminated(run, status)

    def _found(self) -> tuple[Store, str]:
        """The run, made when it is missing, and what it knows."""
        store = open_store(self._folder)
        client, wanted = store.client, " and ".join(f"tags.{key} = '{value}'" for key, value in self._tags.items())
        with _turn(store):
            experiment = _experiment(client, store.folder / "artifacts" if store.folder else None)
            found = client.search_runs([experiment], wanted, max_results=1)
            if not found:
                run = client.create_run(experiment, run_name=self._tags["stage"], tags=self._tags)
                return store, run.info.run_id
        [run] = found
        client.update_run(run.info.run_id, status="RUNNING")
        self._pictures = {Path(entry.path).name for entry in client.list_artifacts(run.info.run_id, PREVIEWS)}
        for name in run.data.metrics:
            self._told[name] = max(point.step for point in client.get_metric_history(run.info.run_id, name))
        return store, run.info.run_id

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            raise Away(f"MLflow, {self._folder} or MLFLOW_TRACKING_URI, does not answer: {error}") from None


def open_store(folder: str | Path) -> Store:
    """The store in a folder, made on first use; or the server that MLFLOW_TRACKING_URI names."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return Store(uri=os.environ["MLFLOW_TRACKING_URI"], folder=None)
    folder = Path(folder).resolve()
    store = Store(uri=f"sqlite:///{folder / DATABASE}", folder=folder)
    with _turn(store):  # two processes racing through the first migration both fail
        _experiment(store.client, folder / "artifacts")
    return store


def exists(folder: str | Path) -> bool:
    """Whether there is a store to read: in the folder, or a server that MLFLOW_TRACKING_URI names."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (Path(folder) / DATABASE).is_file()


def existing_store(folder: str | Path) -> Store:
    """The store in a folder, for reading; raises WrongUse if there is none, and makes none."""
    if not exists(folder):
        raise WrongUse(f"{folder}: holds no model registry; `dvc repro register` fills it, or name another place")
    return open_store(folder)


def register(store: Store, model_folder: str | Path, entry: Entry) -> Version:
    """Put a model folder into the registry and let the alias point at it.

    The same weights under the same contract are never registered twice: the version that is there gets the new
    metrics, tags and the alias. A failed upload leaves a run marked FAILED, and no failure leaves a version.
    """
    with _turn(store):
        client = store.client
        found = _find(client, entry)
        if found is None:
            number = _create(store, client, Path(model_folder), entry)
        else:
            number = int(found.version)
            _log_metrics(client, _run_id(found), entry.metrics)
            for key, value in entry.tags.items():
                client.set_model_version_tag(entry.name, str(number), key, value)
        client.set_registered_model_alias(entry.name, entry.alias, str(number))
    return Version(name=entry.name, number=number, created=found is None)


def versions(store: Store, name: str) -> list[ModelVersion]:
    """All versions of a registered model, newest first; none if the name is not there."""
    return list(store.client.search_model_versions(f"name = '{name}'"))


def lookup(store: Store, reference: str) -> ModelVersion:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/NUMBER`` means."""
    match, client = require_reference(reference), store.client
    try:
        if match.re is ALIAS:
            return client.get_model_version_by_alias(match["name"], match["alias"])
        return client.get_model_version(match["name"], match["number"])
    except MlflowException as error:
        raise WrongUse(f"{reference}: not in the registry {store.uri} ({error.message}); {_known(client)}") from None


def require_reference(reference: str) -> re.Match[str]:
    """The parts of a reference; raises WrongUse for another form."""
    match = ALIAS.fullmatch(reference) or NUMBER.fullmatch(reference)
    if match is None:
        raise WrongUse(
            f"{reference}: write models:/NAME@ALIAS, such as models:/frostline-guided@candidate, or models:/NAME/NUMBER"
        )
    return match


def fetch(store: Store, reference: str, into: str | Path) -> Path:
    """Copy a registered model folder to ``into/<digest>`` and check every byte of it; returns that folder.

    A copy that is there already and has not changed is used again.
    """
    version = lookup(store, reference)
    expected = _tag(version, FOLDER_DIGEST, reference)
    folder = Path(into) / expected
    if not (folder.is_dir() and digests.of_folder(folder) == expected):
        _download(store, version, reference, folder)
    return folder


def tags(version: ModelVersion) -> dict[str, str]:
    """The tags of a version."""
    return dict(version.tags)


def git_commit() -> str:
    """The commit of the code that runs, with ``+changes`` if the working tree differs; ``none`` outside git."""
    if shutil.which("git") is None:
        return "none"
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode != 0:
        return "none"
    status = ["git", "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout.strip()
    return commit.stdout.strip() + ("+changes" if changed else "")


@contextlib.contextmanager
def _turn(store: Store) -> Iterator[None]:
    """Wait for the only right to write a store in a folder; a server orders its writers itself."""
    if store.folder is None:
        yield
        return
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _experiment(client: MlflowClient, artifacts: Path | None) -> str:
    """The id of the one experiment, made when it is missing."""

    def get_or_create() -> str:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return client.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri() if artifacts else None)

    return _again(get_or_create)


def _again(action: Callable[[], T]) -> T:
    """Do a get-or-create again when another process was faster between its two halves."""
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _find(client: MlflowClient, entry: Entry) -> ModelVersion | None:
    weights, contract = entry.tags["weights_digest"], entry.tags["contract_digest"]
    wanted = f"name = '{entry.name}' and tags.weights_digest = '{weights}' and tags.contract_digest = '{contract}'"
    found = client.search_model_versions(wanted)
    return found[0] if found else None


def _create(store: Store, client: MlflowClient, model_folder: Path, entry: Entry) -> int:
    """Write the run, then the version: the version is the last thing to appear."""
    if not model_folder.is_dir():
        raise WrongUse(f"{model_folder}: no such model folder")
    expected = digests.of_folder(model_folder)
    artifacts = store.folder / "artifacts" if store.folder else None
    run = client.create_run(_experiment(client, artifacts), run_name=entry.name, tags=entry.tags)
    run_id = run.info.run_id
    with _ended(client, run_id):
        client.log_batch(run_id, params=[Param(key, value) for key, value in entry.params.items()])
        _log_metrics(client, run_id, entry.metrics)
        for name, points in entry.curves.items():
            _log_curve(client, run_id, name, points)
        client.log_artifacts(run_id, str(model_folder), MODEL)
        source = f"{run.info.artifact_uri}/{MODEL}"
        _require_arrived(store, source, expected)
    _again(lambda: _registered_model(client, entry.name))
    version_tags = {**entry.tags, FOLDER_DIGEST: expected}
    return int(client.create_model_version(entry.name, source, run_id, tags=version_tags).version)


def _require_arrived(store: Store, source: str, expected: str) -> None:
    """Raise Refused unless the uploaded files are, byte for byte, those that were sent."""
    with tempfile.TemporaryDirectory() as beside:
        place = None if store.folder else beside  # files of a local store are read where they lie
        copied = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=place, tracking_uri=store.uri)
        found = digests.of_folder(copied)
    if found != expected:
        raise Refused(f"{source}: what arrived has the digest {found}, what was sent {expected}: register again")


@contextlib.contextmanager
def _ended(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Mark a run FINISHED, or FAILED when the body raises, so that none says Running for ever."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


def _registered_model(client: MlflowClient, name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)


def _log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])


def _log_curve(client: MlflowClient, run_id: str, name: str, points: Sequence[tuple[int, float]]) -> None:
    now = int(time.time() * 1000)
    for start in range(0, len(points), BATCH):
        batch = [Metric(name, value, now, step) for step, value in points[start : start + BATCH]]
        client.log_batch(run_id, metrics=batch)


def _download(store: Store, version: ModelVersion, reference: str, folder: Path) -> None:
    """Copy a version's files beside ``folder``, check them, and only then give them that name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        try:
            copied = mlflow.artifacts.download_artifacts(
                artifact_uri=str(version.source), dst_path=beside, tracking_uri=store.uri
            )
        except (MlflowException, OSError) as error:
            raise WrongUse(
                f"{reference}: its files at {version.source} cannot be read ({error}); if the store was moved or "
                "emptied, register again: `dvc repro --force --single-item register`"
            ) from None
        found = digests.of_folder(copied)
        if found != folder.name:
            raise Refused(
                f"{reference}: the files at {version.source} have the digest {found}, registered was {folder.name}; "
                "they were changed or damaged: register again with `dvc repro --force --single-item register`"
            )
        shutil.rmtree(folder, ignore_errors=True)
        Path(copied).rename(folder)


def _tag(version: ModelVersion, name: str, reference: str) -> str:
    if name not in version.tags:
        raise Refused(f"{reference}: has no tag {name}, so it was not registered by Frostline and cannot be checked")
    return str(version.tags[name])


def _run_id(version: ModelVersion) -> str:
    return str(version.run_id)


def _known(client: MlflowClient) -> str:
    names = sorted(
        f"models:/{model.name}@{alias}" for model in client.search_registered_models() for alias in model.aliases
    )
    return f"there are: {', '.join(names)}" if names else "it is empty: `dvc repro register` fills it"
