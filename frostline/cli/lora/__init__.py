"""`frostline lora`: LoRA files into models, out of models, from one convention to the other."""

import typer

from frostline.cli.lora import converting, extracting, merging

app = typer.Typer(no_args_is_help=True, help="Merge LoRA files into models, extract them, convert them.")
app.command("merge")(merging.merge)
app.command("extract")(extracting.extract)
app.command("convert")(converting.convert)
