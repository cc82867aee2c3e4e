"""3D convolution whose bf16 gradient can be trusted on processors.

With bf16 on processors with avx512_bf16, torch 2.13.0 (oneDNN 3.12.0) gives a wrong gradient of the weights, read from
memory that was never written, when the map's first axis is shorter than the kernel (2 for a kernel of 3, at any width;
measured over 13 widths and 13 sizes; with a kernel of 7 it corrupts the heap). The forward pass, the gradient of the
input, 2D and fp32 are right. A U-Net of five halvings meets it at its deepest stage in a patch of 64. Such maps are
small, so the layer computes them in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that leaves bf16 autocast where its gradient would be wrong."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved maps (B, C, *S)."""
        extent = self.dilation[0] * (self.kernel_size[0] - 1) + 1
        trap = x.shape[2] < extent and x.device.type == "cpu"
        if trap and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)
