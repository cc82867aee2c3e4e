"""Instance normalisation that is fast on processors, in training too.

Paper
    D. Ulyanov, A. Vedaldi, V. Lempitsky: Instance Normalization. arXiv 1607.08022, 2016.
Form
    A subclass of ``nn.GroupNorm`` with one group per map, so weights and prediction are PyTorch's own. While training,
    each case of the batch goes through PyTorch's batch normalisation by itself, which is the same formula: its
    backward kernel is many times faster than that of group normalisation in the channels-last layout (measured with one
    thread on avx512_bf16, 2×16×32×40×32: forward and backward bf16 44.5 ms → 1.9 ms, fp32 7.5 ms → 2.0 ms).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class InstanceNorm(nn.GroupNorm):
    """Normalise each map of each case to mean 0 and variance 1, then scale and shift it (learned)."""

    def __init__(self, features: int, eps: float) -> None:
        super().__init__(features, features, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised maps, in the layout of `x` (B, C, *S)."""
        one_voxel = x[0, 0].numel() == 1
        if one_voxel or not (self.training and torch.is_grad_enabled() and x.device.type == "cpu"):
            return super().forward(x)
        cases = [
            functional.batch_norm(case, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for case in x.chunk(x.shape[0])
        ]
        return cases[0] if len(cases) == 1 else torch.cat(cases)
