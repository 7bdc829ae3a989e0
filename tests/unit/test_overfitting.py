"""D33: a tiny network learns one row by heart, in the product's own loop, and its sampler gives the row back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from frostline import engine, randomness, sampling, transformer
from frostline.dataset import Dataset
from tests import tiny

LIMIT = 0.3  # of the relative error


@pytest.mark.parametrize("bucket", [tiny.IMAGES, tiny.CLIPS])
def test_one_row_is_learned_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str):
    found = Dataset.rows

    def one(self: Dataset, bucket: str, split: str) -> np.ndarray:
        return found(self, bucket, split)[:1]

    monkeypatch.setattr(Dataset, "rows", one)
    rows = tiny.data(tmp_path / "data")
    optimizer = {**tiny.train_params().optimizer.model_dump(mode="json"), "warmup_steps": 20}
    job = tiny.job(
        tmp_path / "work",
        rows,
        model={**tiny.SHAPE.model_dump(mode="json"), "heads": 2, "ffn_dim": 64},
        buckets={bucket: {"share": 1.0, "batch": 16}},
        caption_dropout=0.0,
        steps=400,
        checkpoint_every=10_000,
        optimizer=optimizer,
    )
    trained = engine.run(job).network
    batch = rows.batch([int(rows.rows(bucket, "train")[0])] * 4)
    record = job.contract.sampling
    assert record is not None
    with torch.no_grad():
        drawn = sampling.sampler(record).sample(
            transformer.velocity_fn(trained, batch.text, job.process),
            randomness.normal(tuple(batch.clean.shape), "by heart"),
            steps=20,
        )
    apart = (drawn - batch.clean).square().mean().sqrt() / batch.clean.square().mean().sqrt()
    assert float(apart) < LIMIT
