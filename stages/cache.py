"""cache@SOURCE: the manifest's media through the frozen VAE and text encoder, once, to parquet."""

import argparse
from pathlib import Path

import stages


def main() -> None:
    """Read a manifest and its media, write the source's latents and embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--shards", type=Path, help="folder with the caches of shares, as far as they are there")
    args = parser.parse_args()

    import torch

    from frostline import caching, manifest, params, processes, workspace
    from frostline import codec as codecs
    from frostline.caching.pool import Pool
    from frostline.sources import reading

    settings = params.load(args.params)
    source = settings.source(args.source)
    codec = codecs.of_params(settings, processes.device(settings.cache.device, "cache.device"))
    torch.set_num_threads(settings.cache.threads)
    facts = caching.write_source(
        args.source,
        manifest.stored(args.manifest),
        lambda row: reading.pixels(source, row),
        codec,
        settings.cache,
        Pool(workspace.WORK / "latents", codec.latent_space),
        args.latents,
        settings.store.of(args.source),
        args.shards,
    )
    for name, count in facts["rows"].items():
        print(f"{args.source}: {count} rows of {name}")


if __name__ == "__main__":
    stages.run(main)
