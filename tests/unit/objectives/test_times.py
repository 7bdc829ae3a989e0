import pytest
import torch

from frostline import randomness, schedule
from frostline.errors import WrongUse
from frostline.objectives import times
from frostline.objectives.times import Beside, Jumps, Simulated
from tests import tiny

SIGMAS = tuple(schedule.grid(4, 3.0).tolist())


def test_one_sigma_for_each_row_is_drawn_as_the_contract_says():
    process = tiny.process(draws="uniform")
    drawn = times.of(process).draw(5, randomness.generator("times"))
    assert torch.equal(drawn, schedule.draw_uniform(5, process.shift, randomness.generator("times")))
    assert times.of(process).spread(3).tolist() == schedule.shift(torch.tensor([1, 3, 5]).double() / 6, 3.0).tolist()


def test_jumps_go_down_between_points_that_were_kept():
    drawn = Jumps(sigmas=SIGMAS).draw(4000, randomness.generator("jumps"))
    assert drawn.shape == (4000, 2)
    assert bool((drawn[:, 1] < drawn[:, 0]).all())
    assert set(drawn[:, 0].tolist()) == set(SIGMAS[:-1])
    assert set(drawn[:, 1].tolist()) == set(SIGMAS[1:])
    # A quarter begin at the noise, and of the others one of four; likewise at the clean end.
    assert float((drawn[:, 0] == 1).double().mean()) == pytest.approx(0.25 + 0.75 / 4, abs=0.03)
    assert float((drawn[:, 1] == 0).double().mean()) > 0.4


def test_a_share_of_one_asks_for_nothing_else():
    all_the_way = Jumps(sigmas=SIGMAS, from_noise=0.0, to_clean=1.0).draw(100, randomness.generator("jumps"))
    assert set(all_the_way[:, 1].tolist()) == {0.0}
    begun = Jumps(sigmas=SIGMAS, from_noise=1.0, to_clean=0.0).draw(100, randomness.generator("jumps"))
    assert set(begun[:, 0].tolist()) == {1.0}


def test_a_validation_sees_every_jump():
    spread = Jumps(sigmas=SIGMAS).spread(20)
    pairs = {(a, b) for a in SIGMAS for b in SIGMAS if a > b}
    assert set(map(tuple, spread.tolist())) == pairs
    assert Jumps(sigmas=SIGMAS).spread(3).shape == (3, 2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sigmas": (1.0,)}, "two or more that fall"),
        ({"sigmas": (0.0, 1.0)}, "two or more that fall"),
        ({"sigmas": SIGMAS, "from_noise": 0.6, "to_clean": 0.6}, "together at most 1"),
    ],
)
def test_jumps_that_lead_nowhere_are_refused(wrong, says):
    with pytest.raises(WrongUse, match=says):
        Jumps(**wrong)


def test_what_is_simulated_is_one_step_of_the_sampler_for_all_rows():
    drawn = [Simulated(steps=4, shift=5.0).draw(2000, randomness.generator("simulated", n)) for n in range(40)]
    assert {float(one[0, times.STEP]) for one in drawn} == {0.0, 1.0, 2.0, 3.0}
    for one in drawn:
        assert one[:, times.STEP].unique().numel() == 1
        assert one[:, times.KEY].unique().numel() == 2000
        assert one.equal(one.round()) is False  # sigmas are no whole numbers
        assert one[:, times.KEY].equal(one[:, times.KEY].round())
    sigma = torch.cat([one[:, times.SIGMA] for one in drawn])
    assert (float(sigma.min()), float(sigma.max())) == pytest.approx(times.CLAMP, abs=1e-3)
    assert float((sigma < 5 / 6).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_a_validation_looks_at_what_the_last_step_makes():
    spread = Simulated(steps=4, shift=5.0).spread(6)
    assert spread[:, times.STEP].tolist() == [3.0] * 6
    assert spread[:, times.KEY].tolist() == [0, 1, 2, 3, 4, 5]
    assert bool((spread[:, times.SIGMA].diff() > 0).all())


def test_two_objectives_draw_side_by_side():
    first, second = times.of(tiny.process(draws="uniform")), Simulated(steps=2, shift=3.0)
    drawn = Beside(first=first, second=second).draw(5, randomness.generator("times"))
    one = randomness.generator("times")
    assert drawn[:, 0].equal(first.draw(5, one))
    assert drawn[:, 1:].equal(second.draw(5, one))
    assert Beside(first=first, second=second).spread(3).shape == (3, 4)
