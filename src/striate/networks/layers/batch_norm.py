"""Batch normalisation that trains on a single number per map too.

Paper
    S. Ioffe, C. Szegedy: Batch Normalization. ICML 2015.
Form
    PyTorch's, for any number of axes. Where the batch is one image and its map one voxel there is no variance to measure
    and PyTorch refuses to train; the running statistics are taken there.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalise each map over the batch to mean 0 and variance 1, then scale and shift it (learned)."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  (torch's name)
        """Take maps of any number of axes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the normalised maps (B, C, *S)."""
        if self.training and input.numel() == input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)
