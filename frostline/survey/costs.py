"""The forecast in tables."""

import math
from collections.abc import Sequence

from frostline.pages import words
from frostline.pages.parts import Fact, Line, Table
from frostline.survey.forecast import BucketCost, Forecast


def totals(costs: Forecast) -> list[Fact]:
    """What all of it comes to."""
    latents = sum(one.latent_bytes for one in costs.buckets)
    texts = sum(one.text_bytes for one in costs.texts)
    return [
        Fact("on disk", words.of_bytes(latents + texts), ""),
        Fact("of it latents", words.of_bytes(latents), ""),
        Fact("of it embeddings of captions", words.of_bytes(texts), ""),
        Fact("calls of the VAE", f"{sum(one.calls for one in costs.buckets):,}", ""),
    ]


def tables(costs: Forecast) -> list[Table]:
    """By bucket and source, by captions, by training."""
    found = [_buckets(costs.buckets), _texts(costs), _runs(costs)]
    return [table for table in found if table.rows]


def _buckets(buckets: Sequence[BucketCost]) -> Table:
    return Table(
        title="Latents",
        note="A latent is channels × frames × height × width, as the VAE makes it and the cache stores it. "
        "What is known of a row takes some 250 bytes more.",
        header=["bucket", "source", "rows", "latent", "a row", "on disk", "VAE calls"],
        rows=[
            Line(
                words.name(one.bucket),
                [
                    one.source,
                    f"{one.rows:,}",
                    " × ".join(map(str, one.shape)),
                    words.of_bytes(one.latent_bytes / one.rows),
                    words.of_bytes(one.latent_bytes),
                    f"{one.calls:,}",
                ],
                "",
                differs=False,
            )
            for one in buckets
        ],
        kind="number",
    )


def _texts(costs: Forecast) -> Table:
    return Table(
        title="Embeddings of captions",
        note=f"One per distinct caption of a source, {costs.space.text_dim:,} numbers a token. "
        "Estimated where not every caption was counted.",
        header=["source", "captions", "counted", "tokens, mean", "tokens, most", "cut off", "on disk"],
        rows=[
            Line(
                one.source,
                [
                    f"{one.captions:,}",
                    f"{len(one.lengths):,}",
                    f"{sum(one.lengths) / len(one.lengths):.1f}",
                    f"{max(one.lengths):,}",
                    words.share(one.cut, 1),
                    words.of_bytes(one.text_bytes),
                ],
                "",
                differs=False,
            )
            for one in costs.texts
            if one.lengths
        ],
        kind="number",
    )


def _runs(costs: Forecast) -> Table:
    return Table(
        title="Trainings",
        note="Tokens are patches of latents: time and memory of a step grow with them, attention with the tokens of a "
        "row squared.",
        header=["training", "bucket", "rows", "batch", "tokens a row", "tokens a step", "steps", "each row seen"],
        rows=[
            Line(
                one.run,
                [
                    one.bucket,
                    f"{one.rows:,}",
                    f"{one.batch:,}",
                    f"{one.tokens:,}",
                    f"{one.step_tokens:,}",
                    f"{math.ceil(one.steps):,}",
                    f"{one.seen:.3g} times" if one.rows else "never",
                ],
                "",
                differs=not one.rows or not one.whole,
            )
            for one in costs.runs
        ],
        kind="number",
    )
