"""Which input voxels an output voxel sees, by exact arithmetic on kernels and strides.

Along one axis, a map is described by the first and the last input voxel that each of its voxels sees. With strided and
transposed layers this repeats with a period: voxel ``i + period`` sees what voxel ``i`` sees, moved by ``step`` input
voxels. `Axis` holds one period and each kind of layer makes a new `Axis` of it; the image is taken as endless, so that
the field does not depend on the size of the patch. The classical formula (Araujo, Norris, Sim: Computing receptive
fields of convolutional neural networks. Distill 2019) is the special case of period 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""First and last input voxel."""

EMPTY: Span = (1 << 60, -(1 << 60))


@dataclass(frozen=True)
class Axis:
    """What each voxel of a map sees along one axis; with ``step`` 0, everything.

    Attributes
    ----------
    spans
        First and last input voxel of the map's voxels 0 … period - 1.
    step
        Input voxels that the field moves by per period.
    """

    spans: tuple[Span, ...] = ((0, 0),)
    step: int = 1

    @property
    def size(self) -> int:
        """Input voxels seen by the voxel that sees most."""
        return max(0, max(last - first + 1 for first, last in self.spans))

    def at(self, index: int) -> Span:
        """Return the first and last input voxel seen by voxel `index` (which may be outside the map)."""
        period, within = divmod(index, len(self.spans))
        first, last = self.spans[within]
        return (first + period * self.step, last + period * self.step) if first <= last else EMPTY

    def gather(self, period: int, step: int, sources: Sequence[Sequence[int]]) -> Axis:
        """Return the axis whose voxel ``i`` of one period sees all that the voxels ``sources[i]`` of this one see."""
        spans = tuple(_hull([self.at(j) for j in sources[i]]) for i in range(period))
        return Axis(spans, step)

    def convolved(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
        """Return what a convolution's (or pooling's) output sees."""
        period = math.lcm(stride, len(self.spans)) // stride
        step = period * stride // len(self.spans) * self.step
        return self.gather(
            period, step, [[i * stride - padding + t * dilation for t in range(kernel)] for i in range(period)]
        )

    def transposed(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
        """Return what a transposed convolution's output sees."""
        period = len(self.spans) * stride
        taps = [[i + padding - t * dilation for t in range(kernel)] for i in range(period)]
        return self.gather(period, self.step, [[n // stride for n in ns if n % stride == 0] for ns in taps])

    def enlarged(self, factor: int, *, linear: bool) -> Axis:
        """Return what a map sees that was enlarged by interpolation: of the nearest voxel, or linear of two."""
        period = len(self.spans) * factor
        if not linear:
            return self.gather(period, self.step, [[i // factor] for i in range(period)])
        twice = [2 * i + 1 - factor for i in range(period)]  # position in the small map, times twice the factor
        return self.gather(period, self.step, [[n // (2 * factor), -(-n // (2 * factor))] for n in twice])

    def joined(self, other: Axis) -> Axis | None:
        """Return what a sum or concatenation sees; None where the two maps have different strides."""
        if self.step * len(other.spans) != other.step * len(self.spans):
            return None
        period = math.lcm(len(self.spans), len(other.spans))
        spans = tuple(_hull([self.at(i), other.at(i)]) for i in range(period))
        return Axis(spans, self.step * period // len(self.spans))


def _hull(spans: Sequence[Span]) -> Span:
    if not spans:
        return EMPTY
    return min(first for first, _ in spans), max(last for _, last in spans)
