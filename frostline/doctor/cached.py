"""Whether cached latents and texts are what they should be (D08, D09, D11, D12, D13, D22, D35)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from frostline import findings, randomness
from frostline.checks import cache_identity, codec_roundtrip, latent_stats
from frostline.codec import Codec
from frostline.dataset import Dataset
from frostline.doctor import catalogue
from frostline.doctor.rows import Rows
from frostline.findings import Bound, Finding

FEW = 64  # rows under which statistics of channels say little
EMPTY = tuple(Bound(measure=name, op="==", value=0.0) for name in ("not_finite", "constant"))
APART = (
    Bound(measure="shared_items", op="==", value=0.0),
    Bound(measure="near_duplicates", op="<=", value=0.01),
)
TEXTS = tuple(Bound(measure=name, op="==", value=0.0) for name in ("all_zero", "alike", "not_finite"))
CYCLE = (Bound(measure="cycle_error", op="<", value=0.5),)
CAUSAL = (Bound(measure="difference", op="<", value=1e-3), Bound(measure="decodes_one", op="==", value=1.0))
NEAR = 0.999  # cosine of centred latents


def statistics(clean: Tensor) -> Finding:
    """D08 of a cache: judge normalised latents (N, C, T, H, W), or say that there are too few."""
    if len(clean) < FEW:
        reason = f"{len(clean)} rows: statistics of channels ask for {FEW} at least"
        return findings.not_applicable(latent_stats.ABOUT, reason)
    found = latent_stats.check(clean)
    return found.model_copy(update={"verdict": "pass", "reason": ""}) if _only_few(found) else found


def _only_few(found: Finding) -> bool:
    """Whether all that is amiss is fewer rows than a preflight takes."""
    broken = [bound for bound in found.threshold if not bound.held(found.measured[bound.measure])]
    return [bound.measure for bound in broken] == ["rows"]


def empty(raw: Tensor) -> Finding:
    """D35 of a cache: judge raw latents (N, C, T, H, W) row by row."""
    flat = raw.double().flatten(1)
    finite = torch.isfinite(flat).all(1)
    measured = {
        "not_finite": float((~finite).sum()),
        "constant": float((flat[finite].std(1) < 1e-6).sum()),
        "rows": float(len(flat)),
    }
    return findings.judge(catalogue.about("D35"), measured, EMPTY)


def texts(captions: Sequence[str], text: Tensor) -> Finding:
    """D13: judge embeddings (N, L, D) of different captions, the null prompt among them as ""."""
    about = catalogue.about("D13")
    if len(set(captions)) < 2:
        return findings.not_applicable(about, "fewer than two captions: nothing to compare")
    flat = text.double().flatten(1)
    zero = [caption for caption, row in zip(captions, flat, strict=True) if caption and not bool(row.any())]
    kinds: dict[bytes, set[str]] = {}
    for caption, row in zip(captions, flat, strict=True):
        kinds.setdefault(row.numpy().tobytes(), set()).add(caption)
    alike = [sorted(group) for group in kinds.values() if len(group) > 1]
    measured = {
        "all_zero": float(len(zero)),
        "alike": float(sum(len(group) - 1 for group in alike)),
        "not_finite": float((~torch.isfinite(flat)).any(1).sum()),
        "captions": float(len(set(captions))),
    }
    note = f"for example {alike[0][0]!r} and {alike[0][1]!r}" if alike else ""
    return findings.judge(about, measured, TEXTS, note=note)


def splits(items: Mapping[str, Sequence[str]], latents: Mapping[str, Tensor]) -> Finding:
    """D22: judge source items by split, and latents (n, D) of one size by split."""
    about = catalogue.about("D22")
    held = [split for split in items if split != "train" and items[split]]
    if not held or not items.get("train"):
        return findings.not_applicable(about, "no held-out split, or nothing to train on")
    names = [set(items[split]) for split in items]
    every = sum(len(group) for group in names)
    measured = {"shared_items": float(every - len(set().union(*names)))}
    held_out = [latents[split] for split in held if split in latents]
    if "train" not in latents or not held_out:
        return findings.judge(about, measured, APART[:1], note="no latents of one size in both")
    measured["near_duplicates"] = near_duplicates(latents["train"], torch.cat(held_out))
    return findings.judge(about, measured, APART)


def near_duplicates(train: Tensor, held_out: Tensor) -> float:
    """Share of held-out rows (n, D) that are a training row (m, D) but for a hair."""
    middle = train.mean(0)
    one, other = (torch.nn.functional.normalize(rows - middle, dim=1) for rows in (train, held_out))
    nearest = torch.cat([(part @ one.T).amax(1) for part in other.split(512)])
    return float((nearest > NEAR).double().mean())


def items_by_split(data: Dataset) -> dict[str, list[str]]:
    """The source items of every split, each source's by its own name."""
    found: dict[str, set[str]] = {}
    for source in data.sources:
        for row in source.facts("item", "split"):
            found.setdefault(row["split"], set()).add(f"{source.folder.name}/{row['item']}")
    return {split: sorted(names) for split, names in found.items()}


def cycle(codec: Codec, rows: Rows) -> Finding:
    """D09 without media: what a VAE decodes, it encodes to where it was; another VAE does not."""
    pixels = codec.decode(rows.clean)
    again = codec.normalise(codec.encode(pixels)).cpu()
    error = float((again - rows.clean).norm() / rows.clean.norm())
    return findings.judge(codec_roundtrip.ABOUT, {"cycle_error": error}, CYCLE, note="decoded and encoded again")


def identity(cache_digest: str, base_digest: str, *, cache: str, base: str) -> Finding:
    """D11 by digests alone: encoding again needs the media."""
    bound = Bound(measure="same_digest", op="==", value=1.0)
    note = "" if cache_digest == base_digest else f"{cache} is of the VAE {cache_digest}, {base} of {base_digest}"
    return findings.judge(
        cache_identity.ABOUT, {"same_digest": float(cache_digest == base_digest)}, (bound,), note=note
    )


def causal(codec: Codec) -> Finding:
    """D12: judge a VAE by a clip and its first frames alone."""
    stride = codec.latent_space.temporal_stride
    side = 4 * codec.latent_space.spatial_stride
    generator = randomness.generator("doctor", "clip")
    clip = torch.randint(0, 256, (1, 1 + 2 * stride, side, side, 3), generator=generator, dtype=torch.uint8)
    whole, start = codec.encode(clip).cpu(), codec.encode(clip[:, : 1 + stride]).cpu()
    shared = whole[:, :, : start.shape[2]]
    decoded = codec.decode(codec.normalise(start[:, :, :1]))
    measured = {
        "difference": float((shared - start).norm() / start.norm()),
        "decodes_one": float(decoded.shape[1] == 1),
    }
    return findings.judge(catalogue.about("D12"), measured, CAUSAL)
