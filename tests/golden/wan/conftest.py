import pytest

from tests.golden.wan import cases, small


@pytest.fixture(scope="session")
def transformers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers")
    return {
        name: small.load(
            small.write(folder / f"{name}.safetensors", "transformer", small.transformer_config(name), case["seed"])
        )
        for name, case in cases.TRANSFORMERS.items()
    }
