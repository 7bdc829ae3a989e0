"""preview: pictures of the latents a training leaves while it runs; a process of its own, for it needs the VAE.

python -m stages.preview .work/train-teacher/KEY/preview --pictures previews --watch
python -m stages.preview models/teacher/preview --pictures previews
"""

import argparse
import time
from pathlib import Path

import stages

FRAMES_PER_SECOND = 8
PAUSE = 5.0  # seconds between looks at the folder


def main() -> None:
    """Read latents as they come, write one picture (or clip) per file: the prompts side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latents", type=Path, help="a folder of step-*.safetensors")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--watch", action="store_true", help="wait for more, until the folder goes or Ctrl-C")
    args = parser.parse_args()

    import safetensors.torch

    from frostline import media, params
    from frostline.codec import Codec
    from frostline.errors import WrongUse

    if not args.latents.is_dir():
        raise WrongUse(f"{args.latents}: no such folder; a training writes it at its first validation")
    codec = Codec(params.load(args.params).base)
    seen: set[Path] = set()
    while args.latents.is_dir():
        for path in sorted(set(args.latents.glob("step-*.safetensors")) - seen):
            pixels = codec.decode(safetensors.torch.load_file(path)["latents"]).numpy()  # (N, T, H, W, 3)
            n, frames, height, width, _ = pixels.shape
            row = pixels.transpose(1, 2, 0, 3, 4).reshape(frames, height, n * width, 3)
            out = args.pictures / f"{path.stem}{'.png' if frames == 1 else '.gif'}"
            media.write(out, row, FRAMES_PER_SECOND)
            print(out, flush=True)
            seen.add(path)
        if not args.watch:
            break
        time.sleep(PAUSE)


if __name__ == "__main__":
    stages.run(main)
