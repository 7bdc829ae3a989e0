import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frostline import codec
from frostline.estimating import bases, encoding, machines
from frostline.estimating.figures import Stage
from frostline.estimating.rows import Rows
from frostline.estimating.walking import Held
from frostline.params.trainings import LaunchParams
from tests import tiny

ALONE = LaunchParams(device="cpu", nodes=1, gpus_per_node=1, rendezvous=None)
BUCKETS = {(1, 32, 32): 3, (5, 32, 32): 2}


def stage(base, **options) -> Stage:
    settings = tiny.cache_params(**options.pop("cache", {}))
    device = options.pop("device", "cpu")
    machine = machines.of_params(ALONE, device, bfloat16=1e-3, float32=1e-3, utilisation=1.0, price=None)
    rows = Rows(source="mine", buckets=BUCKETS, prompts=0, origin="a test")
    return encoding.stage(rows, bases.of_folder(base, settings), settings, machine, options.get("tokens"))


def test_parameters_and_latents_are_those_of_the_codec(tiny_base):
    coder, found = codec.Codec(tiny_base), stage(tiny_base)
    assert found.value("parameters of the VAE") == coder.parameters_of("vae")
    assert found.value("parameters of the text encoder") == coder.parameters_of("text_encoder")
    for bucket, count in BUCKETS.items():
        raw = coder.encode(torch.zeros(count, *bucket, 3, dtype=torch.uint8)).bfloat16()
        assert found.value(f"latents {'x'.join(map(str, bucket))} on disk") == raw.nbytes


def test_texts_are_counted_by_their_tokens_at_most_as_many_as_there_can_be(tiny_base):
    each = 5 * 32 * 4  # captions, numbers of a token, bytes
    assert stage(tiny_base).value("texts on disk") == 12 * each
    assert stage(tiny_base, tokens=4).value("texts on disk") == 4 * each
    assert stage(tiny_base, tokens=400).value("texts on disk") == 12 * each


def test_operations_of_the_text_encoder_are_those_that_torch_counts(tiny_base):
    coder = codec.Codec(tiny_base)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        coder.encode_text(["a handwritten digit"] * 5)
    assert stage(tiny_base).value("texts") == counted.get_total_flops()


@pytest.mark.parametrize("batch", [4, 16])
def test_memory_of_the_text_encoder_is_that_of_a_call_at_most(batch, tiny_base):
    """Within a fifth above."""
    coder = codec.Codec(tiny_base)
    assert coder.text_encoder
    with Held() as held:
        coder.encode_text(["a handwritten digit"] * batch)
    expected = stage(tiny_base, cache={"text_batch": batch})
    assert 0.8 < held.most / expected.value("text encoder, a call") < 1.02


def test_of_a_text_encoder_that_waits_on_the_host_two_blocks_are_there(tiny_base):
    encoder = codec.Codec(tiny_base).text_encoder
    every, block = (sum(p.numel() for p in module.parameters()) for module in (encoder, encoder.encoder.block[0]))
    waits, whole = ({"device": device, "cache": {"offload": True}} for device in ("cuda", "cpu"))
    blocks = len(encoder.encoder.block)
    assert stage(tiny_base, **waits).value("text encoder") == 4 * (every - (blocks - 2) * block)
    assert stage(tiny_base, **whole).value("text encoder") == stage(tiny_base).value("text encoder") == 4 * every


def test_every_call_of_the_vae_is_of_a_whole_batch(tiny_base):
    whole, padded = (stage(tiny_base, cache={"encode_batch": size}) for size in (1, 2))
    assert padded.value("latents 1x32x32") == pytest.approx(whole.value("latents 1x32x32") * 4 / 3)
    assert padded.value("latents 5x32x32") == pytest.approx(whole.value("latents 5x32x32"))


def test_hours_follow_operations_and_peak(tiny_base):
    found = stage(tiny_base)
    flops = sum(figure.value for figure in found.figures if figure.unit == "FLOP")
    assert found.value("device hours") == pytest.approx(flops / 1e9 / 3600)
