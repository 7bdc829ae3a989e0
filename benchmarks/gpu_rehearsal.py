"""The rehearsal of published sizes on a GPU: do all stages fit cards of 24, 48 and 80 GB, and how long do they take?

    python -m benchmarks.gpu_rehearsal [--quick] [--only cache adapters distill draw]

cache     texts through UMT5-XXL's shape, waiting on the host, and images through Wan2.1's VAE: 24 GB
adapters  LoRA beside 1.3B, 5B and an expert of A14B: 24, 48 and 80 GB; that expert in float8, too: 24 GB
distill   a student of 1.3B's shape learns from both experts of A14B, which wait on the host: 80 GB
draw      both experts draw by 50 steps: 48 GB with one of them there, 24 GB with a block

Everything at T = 1, 1024 x 1024, with random weights, in 50 steps; the allocator is given no more than a card of the
size has (GB are 10^9 bytes). A figure is the most that was allocated; seconds stand in its note. `--quick` goes through
the same code on the CPU, with networks of one layer and no cap.
"""

import benchmarks
from benchmarks import Frame


def cache(frame: Frame) -> None:
    """What makes latents and embeddings."""
    from benchmarks.parts import rehearsed_drawing

    rehearsed_drawing.encode(frame)


def adapters(frame: Frame) -> None:
    """LoRA on frozen bases."""
    from benchmarks.parts import rehearsed_training

    rehearsed_training.adapters(frame)


def distill(frame: Frame) -> None:
    """A student of two experts."""
    from benchmarks.parts import rehearsed_training

    rehearsed_training.distill(frame)


def draw(frame: Frame) -> None:
    """Samples of two experts."""
    from benchmarks.parts import rehearsed_drawing

    rehearsed_drawing.draw(frame)


PARTS = {"cache": cache, "adapters": adapters, "distill": distill, "draw": draw}

if __name__ == "__main__":
    benchmarks.main("gpu_rehearsal", PARTS)
