"""Truth of slices: against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import UsageError
from striate.core.geometry import valid_affine
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.data.derive import region_named, slices_containing

NAMES = {1: "necrosis", 2: "edema", 4: "enhancing"}
REGIONS = Targets({"core": (1, 4), "edema": (2, 4)}, exclusive=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("edema", ("edema", (2,))),
        ("1+4", ("1_4", (1, 4))),
        ("necrosis+enhancing", ("necrosis_enhancing", (1, 4))),
    ],
)
def test_regions_of_labels(text, found):
    assert region_named(text, NAMES) == found


def test_named_regions_come_first_and_unnamed_labels_have_numbers():
    assert region_named("core", NAMES, REGIONS) == ("core", (1, 4))
    assert region_named("edema", NAMES, REGIONS) == ("edema", (2, 4))
    assert region_named("7", {}) == ("7", (7,))


@pytest.mark.parametrize("text", ["edma", "9", "0", "a b=c"])
def test_unknown_regions_are_refused(text):
    with pytest.raises(UsageError, match=r"unknown region .*Known: core, edema, enhancing, necrosis"):
        region_named(text, NAMES, REGIONS)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 6))
def test_slices_by_hand(seed, values, least):
    labels = np.random.default_rng(seed).choice(5, (4, 3, 6), p=(0.8, 0.05, 0.05, 0.05, 0.05)).astype(np.uint8)
    found = slices_containing(labels, values, least)
    for k in range(6):
        count = sum(int(labels[i, j, k]) in values for i in range(4) for j in range(3))
        assert found[k] == (count >= least)
    assert found.shape == (6,) and found.dtype == bool


def test_slices_are_axial_whatever_the_file_stored():
    array = np.zeros((5, 6, 7), np.uint8)
    array[1, 2, 3] = 1
    affine = valid_affine(np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]))
    turn, _ = to_ras(LabelMap(array, affine).grid)
    assert np.flatnonzero(slices_containing(turn.apply(array), (1,))).tolist() == [3]  # J runs down: 6 - 1 - 2


@pytest.mark.parametrize(("shape", "least"), [((4, 4), 1), ((4, 4, 4), 0)])
def test_what_cannot_be_cut_is_refused(shape, least):
    with pytest.raises(UsageError, match=r"a label map \(I, J, K\) and at least 1 voxel"):
        slices_containing(np.zeros(shape, np.uint8), (1,), least)
