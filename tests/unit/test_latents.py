import pytest
import torch

from frostline import latents, randomness
from frostline.errors import WrongUse
from tests import tiny


def test_normalised_latents_are_those_of_the_published_formula():
    raw = randomness.normal((2, 4, 1, 3, 3), "raw")
    found = latents.normalise(raw, tiny.space())
    for channel, (mean, std) in enumerate(zip(tiny.space().latents_mean, tiny.space().latents_std, strict=True)):
        torch.testing.assert_close(found[:, channel], (raw[:, channel] - mean) / std)
    torch.testing.assert_close(latents.denormalise(found, tiny.space()), raw)


def test_texts_are_padded_with_zeros_after_their_length():
    first, second = torch.ones(2, 8), torch.full((5, 8), 2.0)
    padded = latents.pad([first, second], 6)
    assert padded.shape == (2, 6, 8)
    assert padded[:, :, 0].tolist() == [[1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 2, 0]]


def test_a_text_that_does_not_fit_is_never_cut():
    with pytest.raises(WrongUse, match="7 tokens does not fit the contract's 6"):
        latents.pad([torch.ones(7, 8)], 6)
