"""Batch normalisation that predicts with the mean statistics of the last batches.

Papers
    S. Ioffe, C. Szegedy: Batch Normalization. ICML 2015. The window: K. Kamnitsas et al., Med Image Anal 36:61-78, 2017.
Form
    While predicting, mean and variance are those of the last `WINDOW` batches, each batch counted once, variances with
    n / (n - 1). While there were fewer, of those there were.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 60
"""Batches whose statistics are kept."""


class RollingNorm(nn.Module):
    """Normalise each map over the batch to mean 0 and variance 1, then scale and shift it (learned)."""

    running_mean: Tensor
    running_var: Tensor
    means: Tensor
    variances: Tensor
    batches: Tensor

    def __init__(self, features: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("means", torch.zeros(WINDOW, features))
        self.register_buffer("variances", torch.zeros(WINDOW, features))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised maps (B, C, *S)."""
        if not self.training or x.numel() == x.shape[1]:  # one number per map has no variance
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        out = functional.batch_norm(
            x, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
        )  # momentum 1: `mean` and `variance` become those of this batch
        self._keep(mean, variance)
        return out

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        self.batches += 1
        count = self.batches.clamp(max=WINDOW)
        for window, running, new in (
            (self.means, self.running_mean, mean),
            (self.variances, self.running_var, variance),
        ):
            window.copy_(torch.cat((window[1:], new[None])))
            running.copy_(window.sum(0) / count)
