"""The figures of training on a GPU: how much of the card's own matrix rate a step uses, and in how much memory.

    python -m benchmarks.gpu_training [--quick] [--only images clips adapters]

images    Wan's 1.3B shape with random weights, T = 1 at 1024 x 1024
clips     the same, 81 frames at 480 x 832
adapters  the 14B shape with LoRA on a frozen base

The card's rate is that of bfloat16 matrix products in the same run; operations are counted by `frostline.speed`,
without what is computed again. `--quick` goes through the same code on the CPU, with a network of one layer.
"""

import benchmarks
from benchmarks import Frame


def images(frame: Frame) -> None:
    """Single pictures."""
    from benchmarks.parts import gpu_steps

    gpu_steps.measure(frame, "images")


def clips(frame: Frame) -> None:
    """Clips of five seconds."""
    from benchmarks.parts import gpu_steps

    gpu_steps.measure(frame, "clips")


def adapters(frame: Frame) -> None:
    """LoRA on a frozen base."""
    from benchmarks.parts import gpu_steps

    gpu_steps.measure(frame, "adapters")


PARTS = {"images": images, "clips": clips, "adapters": adapters}

if __name__ == "__main__":
    benchmarks.main("gpu_training", PARTS)
