"""One store for all tests here: runs and versions that say what they are, fetched with every byte checked."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from frostline import digests, models
from frostline.errors import Refused, WrongUse

NAME = "frostline-tiny"


@pytest.fixture(scope="session")
def tracking():
    from frostline import tracking

    return tracking


@pytest.fixture(scope="session")
def store(registry_store):
    return registry_store


def entry_of(tracking, folder, **changes):
    contract, _, training = models.facts(folder)
    tags = {"weights_digest": training.weights_digest, "contract_digest": contract.digest, "git_commit": "c0ffee"}
    values = {
        "name": NAME,
        "alias": "candidate",
        "tags": tags,
        "params": {"training.steps_done": "10"},
        "metrics": {"1x32x32/accuracy": 0.5},
        "curves": {"loss": tuple((step, 1 / (step + 1)) for step in range(2500))},
    }
    return tracking.Entry(**{**values, **changes})


@pytest.fixture(scope="session")
def registered(tracking, store, tiny_model):
    return tracking.register(store, tiny_model, entry_of(tracking, tiny_model))


def test_the_store_is_one_folder(store, registered):
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "artifacts", "mlflow.db"]


def test_a_version_carries_digests_metrics_and_the_loss_curve(tracking, store, registered, tiny_model):
    version = tracking.lookup(store, f"models:/{NAME}@candidate")
    run = store.client.get_run(version.run_id)
    assert tracking.tags(version)["weights_digest"] == models.facts(tiny_model)[2].weights_digest
    assert tracking.tags(version)["folder_digest"] == digests.of_folder(tiny_model)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"training.steps_done": "10"}
    assert run.data.metrics["1x32x32/accuracy"] == 0.5
    history = store.client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in history) == list(range(2500))


def test_the_same_weights_are_registered_once(tracking, store, registered, tiny_model):
    again = tracking.register(store, tiny_model, entry_of(tracking, tiny_model, metrics={"1x32x32/accuracy": 0.75}))
    assert (again.number, again.created) == (registered.number, False)
    assert len(tracking.versions(store, NAME)) == 1
    run = store.client.get_run(tracking.lookup(store, f"models:/{NAME}@candidate").run_id)
    assert run.data.metrics["1x32x32/accuracy"] == 0.75


def test_a_fetched_folder_is_the_registered_one(tracking, store, registered, tiny_model, tmp_path):
    fetched = tracking.fetch(store, f"models:/{NAME}@candidate", tmp_path)
    assert digests.of_folder(fetched) == digests.of_folder(tiny_model)
    assert models.load(fetched).contract == models.load(tiny_model).contract
    assert tracking.fetch(store, f"models:/{NAME}/{registered.number}", tmp_path) == fetched
    assert [path.name for path in tmp_path.iterdir()] == [fetched.name]


def test_a_damaged_copy_is_fetched_again(tracking, store, registered, tmp_path):
    fetched = tracking.fetch(store, f"models:/{NAME}@candidate", tmp_path)
    whole = digests.of_folder(fetched)
    (fetched / "contract.json").write_text("{}")
    assert digests.of_folder(tracking.fetch(store, f"models:/{NAME}@candidate", tmp_path)) == whole


def test_a_changed_artifact_is_refused_and_leaves_nothing(tracking, store, make_model, tmp_path):
    folder = make_model(tmp_path / "changed", seed=11)
    tracking.register(store, folder, entry_of(tracking, folder, name="frostline-changed"))
    source = tracking.lookup(store, "models:/frostline-changed@candidate").source.removeprefix("file://")
    weights = tmp_path.__class__(source) / models.WEIGHTS
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    with pytest.raises(Refused, match="changed or damaged"):
        tracking.fetch(store, "models:/frostline-changed@candidate", tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []
    shutil.rmtree(source)
    with pytest.raises(WrongUse, match="cannot be read"):
        tracking.fetch(store, "models:/frostline-changed@candidate", tmp_path / "into")


def test_another_contract_on_the_same_weights_is_another_version(tracking, store, registered, make_model, tmp_path):
    folder = make_model(tmp_path / "reshifted", sampling={"shift": 3.0})
    changed = tracking.register(store, folder, entry_of(tracking, folder, alias="reshifted"))
    assert changed.created
    assert tracking.lookup(store, f"models:/{NAME}@candidate").version == registered.number


def test_an_upload_that_fails_leaves_a_failed_run_and_no_version(tracking, store, make_model, tmp_path):
    folder = make_model(tmp_path / "model", seed=12)
    (folder / "curve.tsv").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        tracking.register(store, folder, entry_of(tracking, folder, name="frostline-broken"))
    assert tracking.versions(store, "frostline-broken") == []
    [run] = store.client.search_runs(["1"], "attributes.run_name = 'frostline-broken'")
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("models:/frostline-tiny@champion", "models:/frostline-tiny@candidate"),
        ("models:/nobody@candidate", "not in the registry"),
        ("models:/frostline-tiny/99", "not in the registry"),
        ("models:/frostline-tiny", "write models:/NAME@ALIAS"),
        ("models:/a/b@c", "write models:/NAME@ALIAS"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(tracking, store, registered, reference, says):
    with pytest.raises(WrongUse, match=says):
        tracking.lookup(store, reference)


def test_an_absent_folder_is_not_registered(tracking, store, tiny_model, tmp_path):
    with pytest.raises(WrongUse, match="no such model folder"):
        tracking.register(store, tmp_path / "nowhere", entry_of(tracking, tiny_model, name="frostline-absent"))
    assert tracking.versions(store, "frostline-absent") == []


def test_two_at_once_make_one_store(tracking, tmp_path):
    """Two racing through the first migration fail; another descriptor of the lock waits as another process does."""
    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(tracking.open_store, [tmp_path / "mlruns"] * 2))
    assert [found.name for found in stores[0].client.search_experiments()].count(tracking.EXPERIMENT) == 1


def test_telemetry_is_off(tracking):
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
