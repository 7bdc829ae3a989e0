"""preview: what a training shows while it runs, as pictures, as a page and in MLflow; a process of its own.

python -m stages.preview teacher --watch
python -m stages.preview models/teacher/preview --pictures previews
"""

import argparse
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import stages

if TYPE_CHECKING:
    from frostline.codec import Codec
    from frostline.tracking import Live
    from frostline.watching import Losses, Training

PAUSE = 5.0  # seconds between looks at what there is


def main() -> None:
    """Read latents as they come; write a picture (or clip) of each: the prompts side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", help="its name, or a folder of step-*.safetensors")
    parser.add_argument("--pictures", type=Path, help="the folder they go to; .work/pictures/STAGE-NAME by default")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--watch", action="store_true", help="wait for more, until the training is done or Ctrl-C")
    parser.add_argument(
        "--registry", default="mlruns", help="MLflow's folder, where MLFLOW_TRACKING_URI names no server"
    )
    parser.add_argument("--no-mlflow", action="store_true", help="tell MLflow nothing")
    args = parser.parse_args()

    from frostline import params, tracking, watching, workspace
    from frostline.codec import Codec
    from frostline.errors import WrongUse

    codec, folder = Codec(params.load(args.params).base), Path(args.training)
    if folder.is_dir() and not folder.absolute().is_relative_to(workspace.WORK.absolute()):
        decode(codec, folder, args.pictures)
        return
    training = (
        watching.Training(work=folder.parent) if folder.is_dir() else watching.find(args.training, workspace.WORK)
    )
    while training is None and args.watch:
        time.sleep(PAUSE)
        training = watching.find(args.training, workspace.WORK)
    if training is None:
        raise WrongUse(f"{args.training}: no training of that name is under way; start it, or wait for it with --watch")
    pictures = args.pictures or workspace.WORK / "pictures" / training.work.parent.name
    live = None if args.no_mlflow else tracking.Live(args.registry, training.name, training.key)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watch(codec, training, pictures, live, ends=not args.watch)
    except KeyboardInterrupt:
        end(live, "KILLED")


def decode(codec: "Codec", folder: Path, pictures: Path | None) -> None:
    """Pictures of a finished training's previews."""
    from frostline import watching
    from frostline.errors import WrongUse

    if pictures is None:
        raise WrongUse(f"{folder}: name a folder for the pictures with --pictures")
    for path in sorted(folder.glob("step-*.safetensors")):
        print(watching.draw(codec, path, pictures), flush=True)


def watch(codec: "Codec", training: "Training", pictures: Path, live: "Live | None", *, ends: bool) -> None:
    """Show what there is, and what comes until the training is done; with ``ends``, what there is."""
    from frostline import watching

    pictures.mkdir(parents=True, exist_ok=True)
    print(f"{training.name}: {pictures / 'index.html'}", flush=True)
    drawn: dict[str, Path] = {}  # by the name of the preview
    losses: watching.Losses = {}
    began = time.time()
    while True:
        runs = training.work.is_dir() and not ends
        losses = training.losses() or losses
        for path in training.latents() if training.work.is_dir() else left(training, began):
            if path.name not in drawn and (picture := watching.draw(codec, path, pictures)):
                print(picture, flush=True)
                drawn[path.name] = picture
        watching.write(pictures, training.name, list(drawn.values()), losses, runs=runs)
        if live is not None:
            tell(live, list(drawn.values()), losses)
        if not runs:
            break
        time.sleep(PAUSE)
    end(live, "FINISHED" if not training.work.is_dir() else "KILLED")


def left(training: "Training", since: float) -> list[Path]:
    """The previews in the model that came out of a training which was watched: the last ones were seen by nobody."""
    from frostline import params

    folder = Path(params.MODELS) / training.name.partition("@")[2] / "preview"
    return sorted(folder.glob("step-*.safetensors")) if folder.is_dir() and folder.stat().st_mtime > since else []


def tell(live: "Live", pictures: list[Path], losses: "Losses") -> None:
    """MLflow hears what it can; pictures and page are there without it."""
    from frostline import tracking

    try:
        live.show(pictures, losses)
    except tracking.Away as error:
        print(f"{error}; it is told again at the next look", flush=True)


def end(live: "Live | None", status: str) -> None:
    """No run says Running for ever."""
    from frostline import tracking

    if live is None:
        return
    try:
        live.end(status)
    except tracking.Away as error:
        print(error, flush=True)


if __name__ == "__main__":
    stages.run(main)
