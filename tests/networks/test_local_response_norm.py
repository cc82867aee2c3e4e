"""Our local response normalisation is PyTorch's, with right first and second gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from striate.networks.layers.local_response_norm import LocalResponseNorm


@pytest.mark.parametrize("shape", [(2, 7, 4, 5), (1, 3, 2, 3, 4), (1, 1, 3, 3)])
def test_equal_to_pytorch_whose_alpha_is_that_of_the_mean(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = LocalResponseNorm(alpha=0.3, beta=0.75, k=2.0, window=5)(x)
    wanted = functional.local_response_norm(x, 5, alpha=5 * 0.3, beta=0.75, k=2.0)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((y * weight).sum(), x)[0]
    torch.testing.assert_close(found, torch.autograd.grad((wanted * weight).sum(), x)[0], rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(LocalResponseNorm(alpha=0.3)(x), wanted, rtol=1e-12, atol=1e-12)


def test_counted_by_hand() -> None:
    """Three maps of value 1, 2, 2 at one place; the window of 3 sums 5, 9, 8."""
    x = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64).view(1, 3, 1, 1)
    y = LocalResponseNorm(alpha=1.0, beta=0.5, k=0.0, window=3)(x).flatten()
    torch.testing.assert_close(y, torch.tensor([1 / 5**0.5, 2 / 3, 2 / 8**0.5], dtype=torch.float64))


def test_first_and_second_gradient_by_finite_differences() -> None:
    x = torch.randn((1, 6, 1, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer = LocalResponseNorm(alpha=0.3)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))
