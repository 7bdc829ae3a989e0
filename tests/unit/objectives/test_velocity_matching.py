import pytest
import torch

from frostline import path, randomness, transformer
from frostline.dataset import Batch
from frostline.errors import Refused
from frostline.objectives import inputs, teaching, velocity_matching
from frostline.velocities import Low
from tests import tiny

EVERYWHERE = (0.0, 1.0)
CLEAN, NOISE = (randomness.normal((3, 4, 1, 2, 2), name) for name in ("clean", "noise"))
NULL = randomness.normal((1, 6, 8), "null")
SIGMA = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher():
    return tiny.network().requires_grad_(False)


def batch(dropped=(False, False, False)):
    """Three captions; those of dropped rows are replaced, as the dataset does."""
    gone = torch.tensor(dropped)
    text = torch.where(gone.view(-1, 1, 1), NULL, randomness.normal((3, 6, 8), "text"))
    return Batch(rows=(0, 1, 2), clean=CLEAN, text=text, dropped=gone)


def velocities(teacher, given):
    """v_0 and v_c of the teacher."""
    noised = path.noised(CLEAN, NOISE, SIGMA)
    texts = (NULL.expand_as(given.text), given.text)
    return [transformer.velocity_fn(teacher, text, tiny.process())(noised, SIGMA) for text in texts]


def target(teacher, given, scale, interval):
    noised = path.noised(CLEAN, NOISE, SIGMA)
    taught = teaching.guided(tiny.process(), teacher=teacher, null=NULL, scale=scale, interval=interval)
    return taught(given)(noised, SIGMA)


def test_the_target_is_the_guided_velocity(teacher):
    v_0, v_c = velocities(teacher, batch())
    assert (v_c - v_0).abs().max() > 0.01
    torch.testing.assert_close(target(teacher, batch(), 2.0, EVERYWHERE), 2 * v_c - v_0)


def test_scale_one_is_the_prompt_alone(teacher):
    _, v_c = velocities(teacher, batch())
    torch.testing.assert_close(target(teacher, batch(), 1.0, EVERYWHERE), v_c)


def test_rows_without_a_caption_keep_the_null_prompt_s_velocity(teacher):
    given = batch(dropped=(False, True, False))
    v_0, v_c = velocities(teacher, given)
    found = target(teacher, given, 3.0, EVERYWHERE)
    torch.testing.assert_close(found[1], v_0[1])
    torch.testing.assert_close(found[0], 3 * v_c[0] - 2 * v_0[0])


def test_guidance_away_from_a_negative_prompt_leaves_rows_without_a_caption_as_they_are(teacher):
    given = batch(dropped=(False, True, False))
    away = randomness.normal((1, 6, 8), "negative")
    v_0, v_c = velocities(teacher, given)
    noised = path.noised(CLEAN, NOISE, SIGMA)
    v_away = transformer.velocity_fn(teacher, away.expand_as(given.text), tiny.process())(noised, SIGMA)
    taught = teaching.guided(tiny.process(), teacher=teacher, null=away, scale=3.0, interval=EVERYWHERE)
    found = taught(given)(noised, SIGMA)
    torch.testing.assert_close(found[1], v_0[1])
    torch.testing.assert_close(found[0], 3 * v_c[0] - 2 * v_away[0])


def test_outside_the_interval_there_is_no_guidance(teacher):
    v_0, v_c = velocities(teacher, batch())
    found = target(teacher, batch(), 2.0, (0.3, 0.8))
    torch.testing.assert_close(found[[0, 2]], v_c[[0, 2]])
    torch.testing.assert_close(found[1], 2 * v_c[1] - v_0[1])


def test_of_two_experts_each_row_learns_from_the_one_that_serves_it_under_its_guidance(teacher):
    other = tiny.network(1).requires_grad_(False)
    low = Low(network=other.train(), guidance=3.0, boundary=0.5)
    taught = teaching.guided(tiny.process(), teacher=teacher, null=NULL, scale=2.0, interval=(0.3, 1.0), low=low)
    found = taught(batch())(path.noised(CLEAN, NOISE, SIGMA), SIGMA)
    v_0, v_c = velocities(teacher, batch())
    _, low_c = velocities(other, batch())
    torch.testing.assert_close(found[0], low_c[0])  # outside the interval
    torch.testing.assert_close(found[1:], (2 * v_c - v_0)[1:])  # a sigma at the boundary is the high-noise expert's
    low = Low(network=other, guidance=3.0, boundary=0.95)
    taught = teaching.guided(tiny.process(), teacher=teacher, null=NULL, scale=2.0, interval=EVERYWHERE, low=low)
    low_0, _ = velocities(other, batch())
    found = taught(batch())(path.noised(CLEAN, NOISE, SIGMA), SIGMA)
    torch.testing.assert_close(found, 3 * low_c - 2 * low_0)
    other.train()
    with pytest.raises(Refused, match=r"teacher\.eval"):
        taught(batch())(path.noised(CLEAN, NOISE, SIGMA), SIGMA)


def guided(teacher, scale=2.0):
    """What a teacher teaches at every sigma."""
    return teaching.guided(tiny.process(), teacher=teacher, null=NULL, scale=scale, interval=EVERYWHERE)


def test_the_teacher_itself_has_no_loss_at_scale_one_and_some_at_two(teacher):
    losses = {}
    for scale in (1.0, 2.0):
        objective = velocity_matching.objective(tiny.process(), taught=guided(teacher, scale))
        losses[scale] = objective(teacher, batch(), NOISE, SIGMA)
    assert losses[1.0].max() < 1e-10
    assert losses[2.0].min() > 1e-4
    v_0, v_c = velocities(teacher, batch())
    torch.testing.assert_close(losses[2.0], (v_c - v_0).square().flatten(1).mean(1))


def test_gradients_reach_the_student_and_never_the_teacher():
    teacher, student = tiny.network(0), tiny.network(1)
    objective = velocity_matching.objective(tiny.process(), taught=guided(teacher))
    objective(student, batch(), NOISE, SIGMA).mean().backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_a_teacher_is_never_asked_in_training_mode():
    taught = teaching.guided(tiny.process(), teacher=tiny.network().train(), null=NULL, scale=2.0, interval=EVERYWHERE)
    noised = path.noised(CLEAN, NOISE, SIGMA)
    taught(batch())(noised, SIGMA)  # it was put into evaluation mode
    left = tiny.network()
    taught = teaching.guided(tiny.process(), teacher=left, null=NULL, scale=2.0, interval=EVERYWHERE)
    left.train()
    with pytest.raises(Refused, match=r"teacher\.eval"):
        taught(batch())(noised, SIGMA)


def test_the_loss_is_asked_where_it_is_told_and_the_target_gets_no_gradient():
    scale = torch.ones((), requires_grad=True)
    noised = path.noised(CLEAN, NOISE, SIGMA)
    losses = velocity_matching.losses(lambda x, s: 2 * x, lambda x, s: scale * x, noised, SIGMA)
    torch.testing.assert_close(losses, noised.square().flatten(1).mean(1))
    assert not losses.requires_grad


@pytest.mark.parametrize("asked_at", ["teacher", "student"])
def test_rollouts_ask_where_noise_was_carried_to_and_pure_noise_at_sigma_one_only(teacher, asked_at):
    student, given = Watched(tiny.network(1)), batch()
    sigma = torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64)
    objective = velocity_matching.objective(tiny.process(), taught=guided(teacher), asked_at=asked_at, rollout_steps=4)
    losses = objective(student, given, NOISE, sigma)
    taught = guided(teacher)(given)
    own = transformer.velocity_fn(student.network, given.text, tiny.process())
    followed = {"teacher": taught, "student": own}[asked_at]
    expected = inputs.rolled_out(followed, NOISE, sigma, steps=4, shift=tiny.process().shift)
    torch.testing.assert_close(student.asked, expected)
    assert student.asked[0].equal(NOISE[0])
    assert not torch.allclose(student.asked[1:], NOISE[1:], atol=0.05)
    torch.testing.assert_close(losses, velocity_matching.losses(own, taught, expected, sigma))


class Watched(torch.nn.Module):
    """A network that remembers where it was asked last."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, noised, *arguments, **named):
        self.asked = noised
        return self.network(noised, *arguments, **named)
