from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from frostline import randomness
from frostline.doctor import answers

GIVEN = randomness.normal((6, 4, 3, 4, 4), "given")
TOLD = torch.full((6,), 500.0)
TEXT = randomness.normal((6, 5, 8), "text")
Asked = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def lively(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
    """Follows everything there is, places too."""
    places = torch.linspace(0.5, 2.0, given[0].numel()).view(given.shape[1:])
    words = 0.0 if text is None else text.mean((1, 2)).view(-1, 1, 1, 1, 1)
    return given.tanh() * places + told.view(-1, 1, 1, 1, 1) / 1000 + words


def test_a_lively_network_passes_everything():
    found = [
        answers.teacher_input(lively, GIVEN, TOLD, TEXT),
        answers.student_input(lively, lively, GIVEN, TOLD, TEXT),
        answers.position(lively, GIVEN, TOLD, TEXT, (1, 2, 2)),
        answers.scale(lively, GIVEN, TOLD, TEXT),
        answers.dependence(lively, GIVEN, TOLD, TEXT, TOLD + 200),
        answers.precision(lively, GIVEN, TEXT, 1.0),
    ]
    assert [one.verdict for one in found] == ["pass"] * 6


def test_one_answer_for_every_latent_fails():
    def constant(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        return lively(torch.ones_like(given), told, text)

    assert answers.teacher_input(constant, GIVEN, TOLD, TEXT).verdict == "fail"
    assert answers.student_input(constant, lively, GIVEN, TOLD, TEXT).verdict == "fail"
    assert answers.position(constant, GIVEN, TOLD, TEXT, (1, 1, 1)).verdict == "not-applicable"
    assert answers.scale(constant, GIVEN, TOLD, TEXT).verdict == "not-applicable"


def test_a_student_of_a_teacher_that_says_one_thing_is_judged_alone():
    def constant(given: Tensor, _told: Tensor, _text: Tensor | None) -> Tensor:
        return torch.ones_like(given)

    found = answers.student_input(lively, constant, GIVEN, TOLD, TEXT)
    assert "share_of_teachers" not in found.measured
    assert found.verdict == "pass"


def test_each_patch_alone_fails_for_its_place():
    def patchwise(given: Tensor, _told: Tensor, _text: Tensor | None) -> Tensor:
        return given.square() - given

    found = answers.position(patchwise, GIVEN, TOLD, TEXT, (1, 2, 2))
    assert found.verdict == "fail"
    assert found.measured == {"in_space": 0.0, "in_time": 0.0}


def test_positions_in_space_alone_are_not_enough():
    def in_space(given: Tensor, _told: Tensor, _text: Tensor | None) -> Tensor:
        return given * torch.linspace(0.5, 2.0, 16).view(4, 4)

    found = answers.position(in_space, GIVEN, TOLD, TEXT, (1, 1, 1))
    assert found.measured["in_space"] > 0.1
    assert "in_time" in found.reason


def test_pictures_have_no_time_and_one_patch_has_no_places():
    assert "in_time" not in answers.position(lively, GIVEN[:, :, :1], TOLD, TEXT, (1, 1, 1)).measured
    assert answers.position(lively, GIVEN[:, :, :1], TOLD, TEXT, (1, 4, 4)).verdict == "not-applicable"


def test_a_norm_before_the_first_layer_fails():
    def normed(given: Tensor, _told: Tensor, _text: Tensor | None) -> Tensor:
        dims = (1, 2, 3, 4)
        return (given - given.mean(dims, keepdim=True)) / given.std(dims, keepdim=True)

    assert answers.scale(normed, GIVEN, TOLD, TEXT).verdict == "fail"


@pytest.mark.parametrize("deaf", ["by_latent", "by_timestep", "by_text"])
def test_what_is_not_heard_is_named(deaf: str):
    def ask(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        given = torch.ones_like(given) if deaf == "by_latent" else given
        told = torch.zeros_like(told) if deaf == "by_timestep" else told
        return lively(given, told, None if deaf == "by_text" else text)

    found = answers.dependence(ask, GIVEN, TOLD, TEXT, TOLD + 200)
    assert found.verdict == "fail"
    assert deaf in found.reason


def test_without_texts_it_is_said_that_text_was_not_looked_at():
    found = answers.dependence(lively, GIVEN, TOLD, None, TOLD + 200)
    assert found.verdict == "pass"
    assert "no texts were given" in found.reason


@pytest.mark.parametrize(("dtype", "verdict"), [(torch.float32, "pass"), (torch.bfloat16, "fail")])
def test_timesteps_in_bfloat16_are_not_apart(dtype: torch.dtype, verdict: str):
    def ask(given: Tensor, told: Tensor, text: Tensor | None) -> Tensor:
        return lively(given, told.to(dtype).float(), text)

    assert answers.precision(ask, GIVEN, TEXT, 1.0).verdict == verdict
