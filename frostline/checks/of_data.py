"""Whether cached latents mean what their contract says, and are what this base makes today: D08, D09, D11."""

from collections.abc import Sequence

import torch
from torch import Tensor

from frostline import contract as contracts
from frostline.caching import wanted
from frostline.caching.encoding import Pixels
from frostline.checks import cache_identity, codec_roundtrip, latent_stats
from frostline.codec import Codec
from frostline.dataset import Dataset
from frostline.errors import Refused
from frostline.findings import Finding
from frostline.manifest import Row
from frostline.params import CacheParams, Params


def findings(dataset: Dataset, codec: Codec, rows: Sequence[Row], pixels: Pixels, params: Params) -> list[Finding]:
    """Findings for every bucket of one source, none for prompts without media; ``rows`` is its manifest.

    Raises Refused if the cache is another base's, or lacks a latent or text of one of these rows.
    """
    settings, space = params.preflight, codec.latent_space
    contracts.require_same(
        space,
        dataset.space,
        ours_is=f"the base {codec.base}",
        theirs_is="the cache",
        remedy="make the cache again with this base, `dvc repro`, or set `base` in params.yaml to the cache's",
    )
    shown, prompts = wanted.apart(rows)
    known = {name: number for number, name in enumerate(dataset.ids("latent_id"))}
    ids = [(row, wanted.latent_ids(row, space, params.cache)) for row in shown]
    found_at = [(row, [known[id_] for id_ in of_row if id_ in known]) for row, of_row in ids]
    pairs = [(row, places[0]) for row, places in found_at if places]
    texts = {(prompt.id, prompt.text_id) for prompt in dataset.prompt_items}
    asked = [[(row.id, id_) for id_ in wanted.text_ids(row.captions[0], space, params.cache)] for row in prompts]
    unread = [row for row in asked if texts.isdisjoint(row)]
    missing = len(shown) - len(pairs) + len(unread)
    if missing or not rows:
        raise Refused(
            f"{missing} of {len(rows)} rows have no cached latent or text of the id this base would give them: "
            "the cache is of another manifest; run `dvc repro`"
        )
    found = []
    for bucket in sorted({dataset.bucket(number) for _, number in pairs}):
        here = [(row, number) for row, number in pairs if dataset.bucket(number) == bucket]
        found.append(_statistics(dataset, bucket, settings.statistics_rows))
        found.append(_roundtrip(dataset, codec, here[: settings.roundtrip_rows], pixels, settings.minimum_psnr))
        found.append(_identity(dataset, codec, here[: settings.reencode_rows], pixels, params.cache))
    return found


def _statistics(dataset: Dataset, bucket: str, wanted: int) -> Finding:
    rows = dataset.rows(bucket, "train")
    every = max(1, len(rows) // wanted)
    return latent_stats.check(dataset.batch(rows[::every].tolist()).clean)


def _roundtrip(
    dataset: Dataset, codec: Codec, pairs: Sequence[tuple[Row, int]], pixels: Pixels, minimum: float
) -> Finding:
    latents = dataset.batch([number for _, number in pairs]).clean
    return codec_roundtrip.check(
        pixels=_stacked(pairs, pixels),
        latents=latents,
        decode=lambda given: codec.decode_float(given).cpu(),
        least_decibels=minimum,
    )


def _identity(
    dataset: Dataset, codec: Codec, pairs: Sequence[tuple[Row, int]], pixels: Pixels, params: CacheParams
) -> Finding:
    shown = pairs[0][0]
    tiled = wanted.tiled(shown.height, shown.width, codec.latent_space, params)

    def encode(given: Tensor) -> Tensor:
        padded = torch.cat([given, given[-1:].expand(max(0, params.encode_batch - len(given)), *given.shape[1:])])
        return codec.encode(padded, tiled)[: len(given)].cpu()

    return cache_identity.check(
        pixels=_stacked(pairs, pixels),
        stored=dataset.raw([number for _, number in pairs]),
        stored_dtype=dataset.space.stored_dtype,
        encode=encode,
        cache_digest=dataset.space.vae_digest,
        base_digest=codec.latent_space.vae_digest,
    )


def _stacked(pairs: Sequence[tuple[Row, int]], pixels: Pixels) -> Tensor:
    return torch.stack([torch.from_numpy(pixels(row)) for row, _ in pairs])
