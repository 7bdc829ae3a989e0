"""All checks by their identifier."""

from collections.abc import Callable

from frostline.checks import (
    cache_identity,
    codec_roundtrip,
    forward_contract,
    latent_stats,
    oracle_sampler,
    schedule_coverage,
)
from frostline.findings import Check, Finding

MODULES = (oracle_sampler, forward_contract, schedule_coverage, latent_stats, codec_roundtrip, cache_identity)

CHECKS: dict[str, Callable[..., Finding]] = {module.ABOUT.id: module.check for module in MODULES}

ABOUT: dict[str, Check] = {module.ABOUT.id: module.ABOUT for module in MODULES}
