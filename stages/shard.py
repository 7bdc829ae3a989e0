"""shard@SOURCE-SHARE: a share of a source's rows through the frozen VAE and text encoder, for cache@SOURCE to take."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read a manifest and the media of its share, write their latents and embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("share", type=int, help="one of those in params.yaml")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--shard", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from frostline import caching, manifest, params, processes, workspace
    from frostline import codec as codecs
    from frostline.caching import shards
    from frostline.caching.pool import Pool
    from frostline.sources import reading

    settings = params.load(args.params)
    source = settings.source(args.source)
    codec = codecs.of_params(settings, processes.device(settings.cache.device, "cache.device"))
    torch.set_num_threads(settings.cache.threads)
    share = shards.Share(manifest.stored(args.manifest), args.share, len(settings.shard.shares))
    caching.write_share(
        args.source,
        share,
        lambda row: reading.pixels(source, row),
        codec,
        settings.cache,
        Pool(workspace.WORK / "latents", codec.latent_space),
        args.shard,
    )
    print(f"{args.source}: {len(share)} rows in share {share}")


if __name__ == "__main__":
    stages.run(main)
