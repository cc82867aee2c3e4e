"""3D average pooling that takes maps shorter than its window.

PyTorch 2.13 refuses them in 3D, though not in 2D, whatever the padding.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class AvgPool3d(nn.AvgPool3d):
    """``nn.AvgPool3d``; an axis that every padded window sees whole is averaged by itself (stride 1, border not counted)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Return the means (B, C, *S)."""
        kernel, padding = self.kernel_size, self.padding
        if not (isinstance(kernel, int) and isinstance(padding, int)) or self.stride != 1 or self.count_include_pad:
            return super().forward(input)
        whole = [axis for axis in (2, 3, 4) if input.shape[axis] <= padding + 1 < kernel == 2 * padding + 1]
        if not whole:
            return super().forward(input)
        means = input.mean(whole, keepdim=True).expand_as(input)
        kernels = tuple(1 if axis in whole else kernel for axis in (2, 3, 4))
        pads = tuple(0 if axis in whole else padding for axis in (2, 3, 4))
        return functional.avg_pool3d(means, kernels, 1, pads, count_include_pad=False)
