import torch

from frostline import randomness
from frostline.doctor import drawn

DATA = randomness.normal((60, 4, 1, 8, 8), "data")
NOISE = randomness.normal((12, 4, 1, 8, 8), "noise")


def test_samples_like_the_data_are_alive():
    samples = randomness.normal((12, 4, 1, 8, 8), "samples")
    assert drawn.collapse(samples, DATA, None, None, 3).verdict == "pass"
    assert drawn.likeness(samples, NOISE).verdict == "pass"


def test_samples_that_are_their_noise_fail():
    assert drawn.likeness(NOISE - 0.1, NOISE).verdict == "fail"


def test_samples_that_are_grey_burnt_alike_or_no_numbers_fail():
    samples = randomness.normal((12, 4, 1, 8, 8), "samples")
    alike = samples[:3].repeat(4, 1, 1, 1, 1)
    for bad, word in [
        (samples * 0.3, "overall_ratio"),
        (samples * 3, "overall_ratio"),
        (samples * torch.tensor([0.2, 1.0, 1.0, 1.0]).view(1, 4, 1, 1, 1), "smallest_ratio"),
        (alike, "spread_over_seeds"),
        (samples * torch.nan, "not_finite"),
    ]:
        found = drawn.collapse(bad, DATA, None, None, 3)
        assert found.verdict == "fail"
        assert word in found.reason


def test_white_pictures_of_data_that_are_not_fail():
    samples = randomness.normal((12, 4, 1, 8, 8), "samples")
    white, grey = torch.ones(12, 1, 16, 16, 3), torch.full((12, 1, 16, 16, 3), 0.5)
    assert drawn.collapse(samples, DATA, white, grey, 3).verdict == "fail"
    assert drawn.collapse(samples, DATA, white, white, 3).verdict == "pass"


def test_a_jigsaw_has_seams_and_the_data_has_not():
    smooth = torch.linspace(0, 1, 32).view(1, 1, 32, 1, 1).expand(4, 1, 32, 32, 3) * torch.linspace(0, 1, 32).view(
        1, 1, 1, 32, 1
    )
    jigsaw = smooth.clone()
    for row in range(0, 32, 8):
        for column in range(0, 32, 8):
            level = float(torch.rand((), generator=torch.Generator().manual_seed(row * 32 + column)))
            jigsaw[:, :, row : row + 8, column : column + 8] = level + 0.1 * smooth[:, :, :8, :8]
    assert drawn.seams(smooth, smooth, 8).verdict == "pass"
    assert drawn.seams(jigsaw, smooth, 8).verdict == "fail"
    seen = drawn.seam_map(jigsaw)
    assert seen.shape == (32, 32)
    assert float(seen[8].mean()) > 2 * float(seen[4].mean())


def test_pictures_of_one_patch_have_no_seams():
    assert drawn.seams(torch.rand(2, 1, 8, 8, 3), torch.rand(2, 1, 8, 8, 3), 8).verdict == "not-applicable"
