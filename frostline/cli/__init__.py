"""The command line: `frostline`. Exit code 0 good, 1 a finding or a refusal, 2 wrong use.

Nothing heavy is imported before a command runs, so `frostline --help` answers at once. Options take dashes or
underscores: `--model_path` is `--model-path`.
"""

import sys
from typing import Annotated

import typer

from frostline import workspace
from frostline.cli import cache, doctor, estimate, explain, export, fetch, importing, lora, predict, preset, sample
from frostline.errors import FrostlineError


def main() -> None:
    """Run the command line; an expected failure is one line on stderr and its own exit code."""
    workspace.settle()
    try:
        app()
    except FrostlineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def dashed(name: str) -> str:
    """An option's name with dashes, however it was typed."""
    return name.replace("_", "-")


def _say_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(f"frostline {metadata.version('frostline')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Train, distil and sample Wan-class diffusion transformers whose weights say how they must be sampled."""


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": dashed, "help_option_names": ["-h", "--help"]},
)
app.callback()(_options)
app.command("sample")(sample.sample)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.command("fetch")(fetch.fetch)
app.command("estimate")(estimate.estimate)
app.command("preset")(preset.preset)
app.add_typer(cache.app, name="cache")
app.add_typer(lora.app, name="lora")
app.command("import-dataset")(importing.import_dataset)
