import torch

from frostline import muon, randomness
from frostline.muon import Muon


def test_singular_values_end_near_one_and_directions_stay():
    for shape in ((3, 6, 6), (3, 8, 4), (3, 4, 8)):
        matrices = randomness.normal(shape, "matrix")
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        found = muon.orthogonal(matrices)
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.5
        assert values.max() < 1.3
        aligned = (left.mT @ found @ right.mT).diagonal(dim1=-2, dim2=-1)
        torch.testing.assert_close(aligned, values.sort(descending=False).values.flip(-1), atol=0.8, rtol=0)
        assert (aligned > 0.4).all()


def test_kernels_of_one_shape_move_together_as_each_would_alone():
    together = [torch.nn.Parameter(randomness.normal((4, 6), "kernel", n)) for n in range(3)]
    alone = [torch.nn.Parameter(p.detach().clone()) for p in together]
    optimizers = [Muon(together, lr=0.1), *[Muon([p], lr=0.1) for p in alone]]
    for step in range(2):
        for group in (together, alone):
            for n, p in enumerate(group):
                p.grad = randomness.normal((4, 6), "gradient", step, n)
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_has_the_size_of_its_rate_whatever_the_gradient():
    for size in (1e-4, 1e4):
        kernel = torch.nn.Parameter(torch.zeros(8, 8))
        kernel.grad = size * randomness.normal((8, 8), "gradient")
        Muon([kernel], lr=0.1).step()
        assert 0.05 < torch.linalg.matrix_norm(kernel.detach(), 2) < 0.13


def test_a_convolution_is_the_matrix_of_its_outputs():
    matrix = torch.nn.Parameter(torch.zeros(4, 18))
    kernel = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    matrix.grad = randomness.normal((4, 18), "gradient")
    kernel.grad = matrix.grad.view(4, 2, 3, 3).clone()
    for parameter in (matrix, kernel):
        Muon([parameter], lr=0.1).step()
    assert torch.equal(matrix, kernel.view(4, 18))
