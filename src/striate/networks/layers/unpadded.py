"""Which sizes pass through a U-Net of unpadded convolutions, and what it loses.

With two convolutions of kernel 3 per stage, a stage takes 4 voxels from its map. A lowest map of x voxels comes from
``2^h · x + 4 · (2^h - 1)`` voxels when h halvings lie between, so that every halving is of an even size, and gives
``2^h · x - 4 · (2^(h+1) - 1)``: 4 voxels for x = 8, which is
the smallest from two halvings on and is taken as the smallest with one, too.
"""

from __future__ import annotations


def least(halvings: int) -> int:
    """Return the smallest input size; others lie ``2^halvings`` voxels apart."""
    return (12 << halvings) - 4


def margin(halvings: int) -> int:
    """Return the voxels lost on each side."""
    return (6 << halvings) - 4
