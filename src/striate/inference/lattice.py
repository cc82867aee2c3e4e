"""Gaussian filtering of values that lie anywhere in a space of several dimensions: position and intensities together.

A. Adams, J. Baek, A. Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice. Computer Graphics Forum
29(2):753-762, 2010. Each value is spread over the d + 1 corners of the simplex that it lies in (splat), the corners are
blurred with (½, 1, ½) along each of the d + 1 directions of the lattice, and each point gathers from its corners (slice).
Time and memory grow with the number of points and with d, not with the volume of the space. The result approximates the
Gaussian sum up to a factor that is the same everywhere, and leaves out corners that no point touches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

AT_ONCE = 1 << 18
"""Points whose corners are worked out at a time."""


class Lattice:
    """A filter for the points that it was made with.

    Parameters
    ----------
    features
        (N, d) coordinates of the points, in standard deviations of the Gaussian.

    Notes
    -----
    Memory: 8 · (d + 1) bytes per point and 4 · (d + 2) per corner, and about ten times this for `AT_ONCE` points.

    A corner is found by a linear hash of its coordinates in 64 bits, so that the hash of a neighbour is that of the corner
    plus a constant. With ten million corners, two share a hash with a probability of 3 in a million.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        points, dims = features.shape
        factors = np.random.default_rng(0).integers(0, 1 << 63, dims + 1, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        weights = np.empty((points, dims + 1), dtype=np.float32)
        places = np.empty((points, dims + 1), dtype=np.int32)
        parts = [slice(start, start + AT_ONCE) for start in range(0, points, AT_ONCE)]
        found = []
        for part in parts:
            corners, weights[part] = _corners(features[part], factors)
            hashes, place = np.unique(corners, return_inverse=True)
            places[part] = place.reshape(corners.shape)
            found.append(hashes)
        self.hashes = np.unique(np.concatenate(found))
        for part, hashes in zip(parts, found, strict=True):
            places[part] = np.searchsorted(self.hashes, hashes)[places[part]]
        rows = np.arange(points + 1, dtype=np.int32 if weights.size < 1 << 31 else np.int64) * (dims + 1)
        self.spread = sparse.csr_array((weights.ravel(), places.ravel(), rows), (points, len(self.hashes)))
        self.neighbours = [self._next(step) for step in _steps(factors)]

    def _next(self, step: np.uint64) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return, where both exist, the corners and those one step further along a direction of the lattice."""
        wanted = self.hashes + step
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        here = np.flatnonzero(self.hashes[place] == wanted)
        return here.astype(np.int32), place[here].astype(np.int32)

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return, for each of the points, the sum of `values` (N,) weighted with the Gaussian of their distance."""
        v = self.spread.T @ values
        for here, further in self.neighbours:
            halves = 0.5 * v
            blurred = v.copy()
            blurred[here] += halves[further]
            blurred[further] += halves[here]
            v = blurred
        out: NDArray[np.float32] = self.spread @ v
        return out


def _corners(
    features: NDArray[np.float32], factors: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the hashes (N, d + 1) of the corners around each point, and its barycentric weights."""
    points, dims = features.shape
    high = _elevated(features)
    nearest = np.rint(high / (dims + 1))
    total = nearest.sum(axis=0).astype(np.int64)  # 0 for points of the lattice with remainder 0
    rest = high - nearest * (dims + 1)
    rank = np.zeros(high.shape, dtype=np.int64)
    for i in range(dims + 1):
        for j in range(i + 1, dims + 1):
            below = rest[i] < rest[j]
            rank[i] += below
            rank[j] += ~below
    rank += total
    over = (rank > dims).astype(np.int64) - (rank < 0)
    rank -= over * (dims + 1)
    nearest -= over
    rest = (high - nearest * (dims + 1)) / (dims + 1)
    weights = np.zeros((points, dims + 2), dtype=np.float32)
    each = np.arange(points)
    for i in range(dims + 1):
        weights[each, dims - rank[i]] += rest[i]
        weights[each, dims + 1 - rank[i]] -= rest[i]
    weights[:, 0] += 1 + weights[:, dims + 1]
    origin = nearest.astype(np.int64) * (dims + 1)
    hashes = np.zeros((points, dims + 1), dtype=np.uint64)
    for remainder in range(dims + 1):
        for i in range(dims):  # the coordinates add up to 0, so the last one says nothing new
            coordinate = origin[i] + remainder - (dims + 1) * (rank[i] > dims - remainder)
            hashes[:, remainder] += coordinate.astype(np.uint64) * factors[i]
    return hashes, weights[:, : dims + 1]


def _elevated(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the points (d + 1, N) on the plane of the lattice, scaled so that splat, blur and slice have variance 1."""
    points, dims = features.shape
    out = np.empty((dims + 1, points))
    total = np.zeros(points)
    for i in range(dims, 0, -1):
        value = features[:, i - 1] * (np.sqrt(2 / 3) * (dims + 1) / np.sqrt(i * (i + 1)))
        out[i] = total - i * value
        total += value
    out[0] = total
    return out


def _steps(factors: NDArray[np.uint64]) -> list[np.uint64]:
    """Return what each of the d + 1 directions adds to the hash of a corner: (1 … 1, -d, 1 … 1)."""
    dims = len(factors) - 1
    ones = factors[:dims].sum(dtype=np.uint64, keepdims=True)
    return [*(ones - np.uint64(dims + 1) * factors[:dims]), *ones]
