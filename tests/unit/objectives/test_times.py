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


def test_jumps_are_those_of_a_sampler_and_every_number_of_steps_has_its_share():
    drawn = [tuple(pair) for pair in Jumps(sigmas=SIGMAS).draw(6000, randomness.generator("jumps")).tolist()]
    found = {pair: drawn.count(pair) / 6000 for pair in drawn}
    expected = {(SIGMAS[0], SIGMAS[4]): 1 / 3}
    expected |= {(SIGMAS[n], SIGMAS[n + 2]): 1 / 6 for n in (0, 2)}
    expected |= {(SIGMAS[n], SIGMAS[n + 1]): 1 / 12 for n in range(4)}
    assert found == pytest.approx(expected, abs=0.02)


def test_a_validation_sees_every_jump():
    spread = Jumps(sigmas=SIGMAS).spread(70)
    assert len({tuple(pair) for pair in spread.tolist()}) == 7
    assert Jumps(sigmas=SIGMAS).spread(3).shape == (3, 2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sigmas": (1.0,)}, "two or more that fall"),
        ({"sigmas": (0.0, 1.0)}, "two or more that fall"),
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
