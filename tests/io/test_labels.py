"""What numbers in a mask mean."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import LabelError
from striate.io.labels import smallest_unsigned, understand

WHERE = Path("mask.nii.gz")


def read(values, kind="f4"):
    array = np.array(values, dtype=kind).reshape(1, -1)
    labels, notes = understand(array, WHERE)
    return labels.ravel().tolist(), " ".join(notes), labels.dtype


@pytest.mark.parametrize(
    ("values", "kind", "labels", "note"),
    [
        ([0, 1, 2, 3], "f4", [0, 1, 2, 3], ""),
        ([0, 1, 2, 3], "i2", [0, 1, 2, 3], ""),
        ([0, 1], "?", [0, 1], ""),
        ([0, 255, 255], "u1", [0, 1, 1], "0 and 255 were taken as 0 and 1"),
        ([0.0, 255.0], "f8", [0, 1], "0 and 255 were taken as 0 and 1"),
        ([0, 65535], "u2", [0, 1], "0 and 65535 were taken as 0 and 1"),
        ([0, 0.5, 1], "f4", [0, 1, 1], "soft edges between 0 and 1 (1 voxel) were cut at 0.5"),
        ([0, 0.49, 0.51, 1], "f4", [0, 0, 1, 1], "soft edges"),
        ([0, 127.5, 255], "f4", [0, 1, 1], "soft edges between 0 and 255"),
        ([0, 1, 2, 4], "u1", [0, 1, 2, 4], "label numbers have gaps (1, 2, 4)"),
        ([0, 4], "u1", [0, 4], "label numbers have gaps (4)"),
        ([0.0, 1.0001, 1.9999], "f4", [0, 1, 2], "rounded"),
        ([0, 0, 0], "u1", [0, 0, 0], ""),
        ([0, 1, 255], "u1", [0, 1, 255], "gaps (1, 255)"),
        ([0, 1000, 2035], "i4", [0, 1000, 2035], "gaps (1000, 2035)"),
    ],
)
def test_understood(values, kind, labels, note):
    got, notes, dtype = read(values, kind)
    assert got == labels and note in notes
    assert dtype == (np.uint8 if max(labels) < 256 else np.uint16)
    assert bool(notes) == bool(note)


def test_grey_edges_of_one_white_shape_are_cut_at_half():
    got, notes, _ = read([0] * 50 + [255] * 30 + list(range(20, 240, 20)), "u1")
    assert got[80:] == [v >= 128 for v in range(20, 240, 20)] and "grey edges between 0 and 255 (11 voxels)" in notes


def test_many_labels_with_an_ignore_value_of_255_are_left_alone():
    got, notes, _ = read([*range(21), *range(21), 255], "u1")
    assert got[-1] == 255 and "gaps" in notes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, np.nan], r"mask.nii.gz: 1 voxel of the mask is NaN or infinite; whole numbers.*Replace them by 0"),
        ([0, 1, np.inf], r"1 voxel of the mask is NaN or infinite"),
        ([0, -1, -1], r"2 voxels below zero \(smallest -1\); labels start at 0"),
        ([0, 1.37, 3], r"1 voxel between labels, such as 1.37 \(largest 3\).*nearest neighbour"),
    ],
)
def test_explained(values, words):
    with pytest.raises(LabelError, match=words):
        read(values)


def test_negative_integers_are_explained():
    with pytest.raises(LabelError, match=r"1 voxel below zero \(smallest -5\)"):
        read([0, -5], "i2")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=30), st.sampled_from(["u1", "i2", "i8", "f4", "f8", "u4"]))
def test_whole_numbers_below_white_are_never_changed(values, kind):
    got, _, _ = read(values, kind)
    assert got == values


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_any_floats_are_understood_or_explained(values):
    got, said = [], "mask.nii.gz: "
    try:
        got, _, _ = read(values)
    except LabelError as error:
        said = str(error)
    assert said.startswith("mask.nii.gz: ") and all(v >= 0 for v in got)


def test_smallest_unsigned_type():
    tops = {0: "u1", 255: "u1", 256: "u2", 65535: "u2", 65536: "u4", 2**33: "u8"}
    assert {t: smallest_unsigned(np.array([t])).dtype.str[1:] for t in tops} == tops
