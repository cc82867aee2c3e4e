"""Pooling rule against the plans that nnU-Net published (Isensee et al. 2021; computed by its planner)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.planning.rules.patch import fit_patch
from striate.planning.rules.topology import topology

PUBLISHED = {
    "Hippocampus": ((1, 1, 1), (36, 50, 35), (40, 56, 40), (3, 3, 3), (3, 3, 3)),
    "BrainTumour": ((1, 1, 1), (128, 128, 128), (128, 128, 128), (5, 5, 5), (3, 3, 3)),
    "Prostate": ((3.6, 0.62, 0.62), (20, 320, 256), (20, 320, 256), (2, 6, 6), (1, 3, 3)),
    "Heart": ((1.37, 1.25, 1.25), (80, 192, 160), (80, 192, 160), (4, 5, 5), (3, 3, 3)),
    "Spleen": ((1.6, 0.79, 0.79), (64, 192, 160), (64, 192, 160), (4, 5, 5), (1, 3, 3)),
    "Liver": ((1, 0.77, 0.77), (128, 128, 128), (128, 128, 128), (5, 5, 5), (3, 3, 3)),
    "Hippocampus 2D": ((1, 1), (50, 35), (56, 40), (3, 3), (3, 3)),
    "BrainTumour 2D": ((1, 1), (169, 138), (192, 160), (5, 5), (3, 3)),
    "Prostate 2D": ((0.62, 0.62), (320, 319), (320, 320), (6, 6), (3, 3)),
    "Heart 2D": ((1.25, 1.25), (320, 232), (320, 256), (6, 6), (3, 3)),
    "Spleen 2D": ((0.79, 0.79), (512, 512), (512, 512), (7, 7), (3, 3)),
}
"""Name → spacing in mm, median or reduced patch, published patch, poolings per axis, first kernel."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_plans(name):
    spacing, given_patch, patch, pools, first_kernel = PUBLISHED[name]
    found = topology(spacing, given_patch)
    assert found.patch == patch
    assert found.divisor == tuple(2**n for n in pools)
    assert found.kernels[0] == first_kernel
    assert len(found.kernels) == len(found.strides) == max(pools) + 1
    assert found.strides[0] == (1,) * len(patch)
    assert found.kernels[-1] == (3,) * len(patch)


def test_prostate_kernels_turn_isotropic_at_the_third_stage():
    found = topology((3.6, 0.62, 0.62), (20, 320, 256))
    assert [k[0] for k in found.kernels[:4]] == [1, 1, 3, 3]
    assert all(k[1:] == (3, 3) for k in found.kernels)
    assert found.strides[1] == (1, 2, 2)


def test_a_tiny_patch_is_not_pooled():
    found = topology((1, 1, 1), (7, 7, 7))
    assert found.strides == ((1, 1, 1),) and found.kernels == ((3, 3, 3),) and found.patch == (7, 7, 7)


def test_a_single_axis_needs_twelve_voxels():
    assert topology((1, 1), (11, 4)).divisor == (1, 1)
    assert topology((1, 1), (12, 4)).divisor == (2, 1)


SPACING = st.floats(0.3, 6).map(lambda v: round(v, 2))


@given(st.lists(SPACING, min_size=3, max_size=3), st.lists(st.integers(8, 300), min_size=3, max_size=3))
def test_every_patch_divides_and_no_map_falls_below_four(spacing, size):
    found = topology(tuple(spacing), tuple(size))
    for n, padded, d in zip(size, found.patch, found.divisor, strict=True):
        assert padded >= n and padded % d == 0 and padded - n < d
        assert d == 1 or padded // d >= 4
    assert all(k in (1, 3) for kernel in found.kernels for k in kernel)


@given(
    st.lists(st.integers(1, 400), min_size=3, max_size=3),
    st.lists(SPACING, min_size=3, max_size=3),
    st.sampled_from([16**3, 48**3, 96**3]),
    st.sampled_from([None, 0, 2]),
)
def test_fitted_patches_divide_and_keep_near_the_wanted_size(shape, spacing, most, thin):
    found = fit_patch(tuple(shape), tuple(spacing), most, most_poolings=4, min_edge=4, thin_axis=thin).value
    axes = 3 if thin is None else 2
    assert len(found.patch) == axes and len(found.strides) <= 5
    assert all(n % d == 0 and n >= 8 for n, d in zip(found.patch, found.divisor, strict=True))
    kept = [n for a, n in enumerate(shape) if a != thin]
    if math.prod(kept) <= most:  # the whole image fits
        assert all(p >= n for p, n in zip(found.patch, kept, strict=True))
    elif min(kept) >= 16:
        assert math.prod(found.patch) <= 1.5**axes * most


@pytest.mark.parametrize(("shape", "most"), [((16, 167, 308), 16**3), ((20, 512, 512), 48**3), ((9, 9, 4000), 4096)])
def test_where_an_axis_is_held_the_others_share_what_is_left(shape, most):
    found = fit_patch(shape, (1.0, 1.0, 1.0), most, most_poolings=4, min_edge=4).value
    assert found.patch[0] == 8 and 0.5 * most < math.prod(found.patch) < 1.5 * most


def test_the_reason_names_the_median_image():
    whole = fit_patch((20, 24, 16), (1, 1, 1), 96**3, most_poolings=4, min_edge=4)
    assert whole.value.patch == (20, 24, 16) and "the median image (20×24×16 voxels) whole" in whole.reason
    part = fit_patch((200, 240, 160), (1, 1, 1), 96**3, most_poolings=4, min_edge=4)
    assert "proportions of the median image (200×240×160)" in part.reason and "multiples of 16×16×16" in part.reason
