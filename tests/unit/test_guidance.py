import pytest
import torch

from frostline import exact, guidance


def test_combine_at_the_known_scales():
    unconditional, conditional = torch.tensor([1.0]), torch.tensor([3.0])
    for scale, right in [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (-1.0, -1.0)]:
        assert guidance.combine(unconditional, conditional, scale).item() == right


def test_weight_of_the_paper_is_one_less():
    v_0, v_c, weight = torch.tensor([0.7]), torch.tensor([-0.4]), 1.5
    paper = (1 + weight) * v_c - weight * v_0
    torch.testing.assert_close(guidance.combine(v_0, v_c, guidance.scale_of_weight(weight)), paper)


def test_guided_asks_the_null_prompt_only_when_it_matters():
    asked = []

    def unconditional(noised, sigma):
        asked.append(1)
        return noised

    def conditional(noised, sigma):
        return 2 * noised

    point, sigma = torch.ones(2, 3), torch.full((2,), 0.5, dtype=torch.float64)
    assert torch.equal(guidance.guided(conditional, unconditional, 1.0)(point, sigma), 2 * point)
    assert not asked
    assert torch.equal(guidance.guided(conditional, unconditional, 3.0)(point, sigma), 4 * point)
    assert len(asked) == 1


@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
def test_guidance_leads_to_the_class(scale):
    generator = torch.Generator().manual_seed(0)
    teacher = exact.mixture(classes=4, components=2, dimensions=128, generator=generator, spread=4.0)
    wanted = teacher.of_class(2)
    guided = guidance.guided(wanted.velocity, teacher.velocity, scale)
    noise = torch.randn(32, 128, dtype=torch.float64, generator=generator)
    ends = exact.integrate(guided, noise, 1.0, 0.0, 60)
    zero = torch.zeros(32, dtype=torch.float64)
    margin = wanted.log_density(ends, zero) - teacher.log_density(ends, zero)
    plain = exact.integrate(wanted.velocity, noise, 1.0, 0.0, 60)
    margin_plain = wanted.log_density(plain, zero) - teacher.log_density(plain, zero)
    assert float(margin.mean()) >= float(margin_plain.mean()) - 1e-9
    if scale > 1:
        assert float(margin.mean()) > float(margin_plain.mean())
