"""The figures of training: exact to the bit after kills, the same on more processes, and as fast as its parts.

    python -m benchmarks.training [--quick] [--only killing agreeing loop data encoding pause]

killing    a training under `dvc repro`, killed with SIGKILL in steps, in checkpoints and in validations, against one
           that was left alone
agreeing   two processes with gloo and FSDP2 against one
loop       steps of the engine beside bare forward, backward and optimiser on batches in memory
data       steps at shapes bound by their data, beside the same loop on a safetensors file for each row
encoding   steps on cached images, beside steps on images that are encoded each time
pause      how long steps wait for checkpoints at the default interval

`loop`, `data` and `encoding` count CPU seconds, so that other work on the machine does not decide.
"""

import benchmarks
from benchmarks import Frame


def killing(frame: Frame) -> None:
    """Killed and left alone: the same bits."""
    from benchmarks.parts import killed_training

    killed_training.measure(frame)


def agreeing(frame: Frame) -> None:
    """Two processes and one: the same rows, weights that agree."""
    from benchmarks.parts import two_processes

    two_processes.measure(frame)


def loop(frame: Frame) -> None:
    """What the engine adds to a step."""
    from benchmarks.parts import bare_steps

    bare_steps.measure(frame)


def data(frame: Frame) -> None:
    """Large rows under a small network."""
    from benchmarks.parts import large_rows

    large_rows.measure(frame)


def encoding(frame: Frame) -> None:
    """Images encoded once, and at every step."""
    from benchmarks.parts import large_rows

    large_rows.without_latents(frame)


def pause(frame: Frame) -> None:
    """What checkpoints cost."""
    from benchmarks.parts import bare_steps

    bare_steps.pause(frame)


PARTS = {"killing": killing, "agreeing": agreeing, "loop": loop, "data": data, "encoding": encoding, "pause": pause}

if __name__ == "__main__":
    benchmarks.main("training", PARTS)
