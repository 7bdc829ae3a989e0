"""What every test stands on: one thread, no network, no telemetry, nothing written into the project."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import functools
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from frostline import workspace
from frostline.params.trainings import ModelParams

workspace.settle()  # before anything imports torch

hypothesis.settings.register_profile("frostline", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("frostline")

HOME = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails and says which."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(HOME):
            raise AssertionError(f"a test tried to reach {address}: tests and the product stay on this machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def no_handlers_left() -> Iterator[None]:
    """A test, or what it tests, that goes on answering SIGTERM fails: what is forked later would not end by it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    found = signal.signal(signal.SIGTERM, before)
    assert found is before, f"SIGTERM is answered by {found}"


# Tiny parts that many tests need: a base in the layout of a Wan pipeline, and models that live on it. Weights are
# random but fixed, so nothing drawn with them means anything; all shapes and files are the real ones.

BUCKETS = ((1, 32, 32), (5, 32, 32))
TEXT_LENGTH = 12
WORDS = ("a handwritten digit zero one two three four five six seven eight nine", "moving left right up down")
SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
VOCABULARY = [*SPECIAL.values(), *" ".join(WORDS).split()]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder: vae, text_encoder, tokenizer, scheduler; read it, never write in it."""
    return make_base(tmp_path_factory.mktemp("bases") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of the same shapes with another VAE."""
    return make_base(tmp_path_factory.mktemp("bases") / "other", seed=1)


@pytest.fixture(scope="session")
def make_model(tiny_base: Path) -> Callable[..., Path]:
    """Writes a model folder on the tiny base: ``make_model(folder, seed=0, sampling={"guidance": 1.0})``."""
    return functools.partial(write_model, base=tiny_base)


@pytest.fixture(scope="session")
def tiny_model(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with guidance 2 from outside; read it, never write in it."""
    return make_model(tmp_path_factory.mktemp("models") / "teacher")


@pytest.fixture(scope="session")
def tiny_student(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with guidance 2 folded in; read it, never write in it."""
    return make_model(tmp_path_factory.mktemp("models") / "guided", seed=1, sampling={"guidance_form": "folded"})


@pytest.fixture(scope="session")
def tiny_continuing(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of one that continues clips of 5 frames from their first; read it, never write in it."""
    return make_model(tmp_path_factory.mktemp("models") / "future", seed=2, context=1)


@pytest.fixture(scope="session")
def registry_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One MLflow store for all tests of a process: making it takes seconds."""
    from frostline import tracking

    return tracking.open_store(tmp_path_factory.mktemp("store") / "mlruns")


def make_base(folder: Path, *, seed: int) -> Path:
    """Write a base whose VAE, text encoder and tokenizer are of Wan's classes."""
    import torch
    from diffusers import AutoencoderKLWan
    from transformers import UMT5Config, UMT5EncoderModel

    from frostline import sampling

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKLWan(
            base_dim=8,
            z_dim=16,
            dim_mult=[1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[True, True],
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=8,
        )
        torch.manual_seed(0)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(VOCABULARY),
                d_model=32,
                d_kv=8,
                num_heads=4,
                num_layers=1,
                d_ff=64,
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=1,
            )
        )
    vae.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder")
    make_tokenizer().save_pretrained(folder / "tokenizer")
    sampling.unipc_scheduler(solver_order=2, shift=5.0).save_pretrained(folder / "scheduler")
    return folder


def make_tokenizer() -> Any:
    """Words to numbers, an end token last, at most TEXT_LENGTH."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(VOCABULARY)}
    backend = tokenizers.Tokenizer(models.WordLevel(numbers, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, padding_side="right", model_max_length=TEXT_LENGTH, **SPECIAL
    )


def write_model(
    folder: Path,
    *,
    base: Path,
    seed: int = 0,
    sampling: dict[str, Any] | None = None,
    context: int | None = None,
    **training: Any,
) -> Path:
    """Write a model folder with random weights; ``sampling`` and ``training`` change facts of these two records.

    With ``context`` it continues clips from so many latent frames; one that is sampled by ``flow_map`` is a flow map.
    """
    from frostline import codec, contract, files, models, records, transformer

    space = codec.latent_space(base)
    shape = ModelParams(layers=2, heads=2, head_dim=12, ffn_dim=48, patch_size=(1, 1, 1))
    network = transformer.create(shape, space, seed=seed)
    enliven(network, seed)
    maps = (sampling or {}).get("sampler") == "flow_map"
    network = transformer.flow_map_from_layers(network, (0, 1))[0] if maps else network
    facts = contract.Contract(
        latent_space=space,
        process=contract.Process(
            shift=1.0,
            draws="logit_normal",
            prediction="mean_velocity" if maps else "velocity",
            patch_size=(1, 1, 1),
            buckets=BUCKETS,
            conditioning="none" if context is None else "context",
            context=context,
        ),
        sampling=records.parse(contract.Sampling, {**EXTERNAL, **(sampling or {})}, origin="conftest"),
    )
    place = models.Base(path=str(base), vae_digest=space.vae_digest, text_encoder_digest=space.text_encoder_digest)
    finished = {
        "stage": "train",
        "steps_planned": 10,
        "steps_done": 10,
        "parameters": transformer.parameters(network),
        "dataset_digest": "d" * 32,
        "ema_decay": 0.99,
        "objective": "flow_matching",
        "teacher_digest": None,
        "tensor_sources": None,
    }
    with files.new_folder(folder) as beside:
        models.save(beside, network, facts, place, {**finished, **training})
    return folder


EXTERNAL = {
    "sampler": "unipc",
    "rounds_timesteps": True,
    "steps": 4,
    "allowed_steps": None,
    "shift": 5.0,
    "allowed_shifts": None,
    "sigmas": None,
    "guidance": 2.0,
    "guidance_form": "external",
    "teacher_digest": None,
}


def enliven(network: Any, seed: int) -> None:
    """Fill the zero-initialised head: a fresh Wan transformer says 0 to everything."""
    import torch

    from frostline import randomness

    weight = network.proj_out.weight
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=randomness.generator("tiny model", seed)) * 0.3)
