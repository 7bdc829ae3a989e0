"""`frostline cache verify` and `frostline cache prune`: caches and their pool looked at, mended, made smaller."""

import collections
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cli import output
from frostline.errors import Refused

if TYPE_CHECKING:
    from frostline.caching.pool import Pool
    from frostline.codec import Codec
    from frostline.maintenance.findings import Finding
    from frostline.maintenance.pruning import Unused
    from frostline.maintenance.repairing import Repair
    from frostline.maintenance.verifying import Looked
    from frostline.params import Params

SHOWN = 5  # rows of a file that are named
Sources = Annotated[list[str] | None, typer.Argument(help="Of params.yaml; none: all of them, and all of the pool.")]
ParamsFile = Annotated[Path, typer.Option("--params", help="The settings.")]
Latents = Annotated[Path, typer.Option(help="Folder of the caches.")]
Manifests = Annotated[Path, typer.Option(help="Folder of the manifests.")]
PoolFolder = Annotated[Path, typer.Option("--pool", help="Folder of all that was ever encoded.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was found and done as JSON.")]
PARAMS, LATENTS, MANIFESTS, POOL = map(Path, ("params.yaml", "data/latents", "data/manifest", ".work/latents"))

app = typer.Typer(no_args_is_help=True, help="Look after caches of latents and the pool they are made from.")


@app.command()
def verify(
    sources: Sources = None,
    params: ParamsFile = PARAMS,
    latents: Latents = LATENTS,
    index: Annotated[Path, typer.Option(help="The caches as one dataset.")] = Path("data/latents.json"),
    manifests: Manifests = MANIFESTS,
    pool: PoolFolder = POOL,
    deep: Annotated[bool, typer.Option("--deep", help="Read every row, and make some again.")] = False,
    reencode: Annotated[int, typer.Option(min=0, help="Rows, and texts, of a source that --deep makes again.")] = 8,
    repair: Annotated[bool, typer.Option("--repair", help="Read every row; take away what is damaged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Are caches and pool what their manifests, digests and the base say? Exit code 1 if they are not."""
    from frostline import files
    from frostline import params as settings_of
    from frostline.caching.pool import Pool
    from frostline.maintenance import verifying
    from frostline.maintenance.contents import Contents
    from frostline.maintenance.repairing import Repair

    settings = settings_of.load(params)
    for name in sources or ():
        settings.source(name)
    codec = _codec(settings)
    expected = verifying.Expected(
        sources=sorted(settings.sources),
        base=codec.latent_space if codec else None,
        index=files.read_json(index) if index.exists() else None,
    )
    store = Pool(pool, verifying.space(expected, latents))
    with _held(store, alone=repair) as idle:
        contents = Contents() if deep or repair else None
        looked = verifying.look(sources or (), latents, store, expected, contents, idle=idle)
        if deep and reencode:
            looked.found += _made_again(looked, settings, codec, manifests, reencode)
        mended = Repair(store, looked) if repair else None
        if mended:
            mended.run()
    _say(looked, mended, latents, as_json=as_json)


@app.command()
def prune(
    params: ParamsFile = PARAMS,
    latents: Latents = LATENTS,
    manifests: Manifests = MANIFESTS,
    pool: PoolFolder = POOL,
    days: Annotated[
        int | None,
        typer.Option("--store", min=1, help="Also parts in the store, so many days old, that no manifest lists."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove from the pool what no source of params.yaml uses any more."""
    from frostline import codec as codecs
    from frostline import params as settings_of
    from frostline.caching.pool import Pool
    from frostline.maintenance import pruning, superseded

    settings = settings_of.load(params)
    store = Pool(pool, codecs.of_params(settings).latent_space)
    with _held(store, alone=not dry_run):
        unused = pruning.find(sorted(settings.sources), latents, manifests, settings.cache, store)
        if not dry_run:
            pruning.remove(unused, store)
    gone = superseded.all_of(sorted(settings.sources), latents, days) if days else []
    if not dry_run:
        superseded.remove(gone)
    facts = {"pool": str(pool), "dry_run": dry_run, **_counted(unused)}
    facts["store"] = {one.address: {"objects": len(one.objects), "bytes": one.size} for one in gone}
    output.say("\n".join(_lines(facts)), facts, as_json=as_json)


def _codec(settings: "Params") -> "Codec | None":
    """The base, if it is at hand."""
    from frostline import codec as codecs
    from frostline import processes

    if not Path(settings.base).exists():
        return None
    return codecs.of_params(settings, processes.device("auto", "cache"))


@contextlib.contextmanager
def _held(pool: "Pool", *, alone: bool) -> Iterator[bool]:
    """Keep others from removing files, or from using the pool at all; gives whether none did.

    Raises Refused if the pool is asked for alone and is in use.
    """
    with pool.alone() as idle:
        if alone and not idle:
            raise Refused(f"{pool.folder}: another process uses it; wait for that process to end, then run again")
        if alone:
            yield True
            return
    with pool.using():
        yield idle


def _made_again(
    looked: "Looked", settings: "Params", codec: "Codec | None", manifests: Path, count: int
) -> "list[Finding]":
    """Some rows of every cache that is whole so far, encoded again."""
    import torch

    from frostline import manifest
    from frostline.maintenance import findings, reencoding
    from frostline.sources import reading

    if codec is None:
        return [findings.note(Path(settings.base), "no base is here, so nothing was made again")]
    torch.set_num_threads(settings.cache.threads)  # what is encoded again is encoded as the cache was
    found = []
    for cache in looked.caches:
        folder, source = manifests / cache.source, settings.source(cache.source)
        if looked.wrong_in(cache.folder):
            found.append(findings.note(cache.folder, "something is wrong with it, so nothing was made again"))
        elif not folder.is_dir():
            found.append(findings.note(folder, "no manifest is here, so nothing was made again"))
        else:
            rows = manifest.read_columns(folder)
            found += reencoding.look(
                cache, rows, lambda row, source=source: reading.pixels(source, row), codec, settings.cache, count
            )
    return found


# --------------------------------------------------------------------------------------------------- what is printed


def _say(looked: "Looked", mended: "Repair | None", latents: Path, *, as_json: bool) -> None:
    """Print findings, what was done and what is to be run; ends with exit code 1 if something is still wrong."""
    whole = looked.whole if mended is None else mended.whole
    following = mended.following(latents) if mended else []
    done = mended.done if mended else []
    caches = {cache.source: {"parts": len(cache.listing.parts), "rows": cache.rows} for cache in looked.caches}
    facts = {
        "whole": whole,
        "caches": caches,
        "findings": [finding.facts for finding in looked.found],
        "done": done,
        "next": following,
    }
    sizes = [f"{name}: {one['parts']} parts, {one['rows']} rows" for name, one in caches.items()]
    lines = [*_shown(looked.found), *done, *sizes, *(f"run next: {one}" for one in following)]
    lines.append("whole" if whole else "not whole")
    output.say("\n".join(lines), facts, as_json=as_json)
    if not whole:
        raise typer.Exit(1)


def _shown(found: "Sequence[Finding]") -> Iterator[str]:
    """A line a finding, the first rows of a file standing for all."""
    for path, of_file in itertools.groupby(found, lambda one: one.path):
        here = list(of_file)
        yield from (finding.line for finding in here[:SHOWN])
        if len(here) > SHOWN:
            yield f"{path}: {len(here) - SHOWN} more; --json lists all"


def _counted(unused: "Sequence[Unused]") -> dict[str, Any]:
    """Files and bytes by kind."""
    kinds: dict[str, dict[str, int]] = collections.defaultdict(lambda: {"files": 0, "bytes": 0})
    for one in unused:
        kinds[one.kind]["files"] += 1
        kinds[one.kind]["bytes"] += one.size
    return {"kinds": dict(sorted(kinds.items())), "freed": sum(one.freed for one in unused)}


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    for kind, count in facts["kinds"].items():
        yield f"{kind}: {count['files']} file(s), {_megabytes(count['bytes'])}"
    files = sum(count["files"] for count in facts["kinds"].values())
    verb = "would go" if facts["dry_run"] else "removed"
    yield f"{facts['pool']}: {files} file(s) {verb}, {_megabytes(facts['freed'])} of disk"
    for address, count in facts["store"].items():
        yield f"{address}: {count['objects']} object(s) {verb}, {_megabytes(count['bytes'])}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
