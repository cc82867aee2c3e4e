"""Whole images as samples: what is cut, where it lies, its truth, and the folder that keeps them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole import AS_STORED, FLAT, SLICES, pictures, planes, scan

from striate.core.errors import DataError, FormatError, GeometryError
from striate.data import samples as samples_module
from striate.data.prepare import Preparation
from striate.data.samples import (
    CaseSamples,
    SampleForm,
    SampleStore,
    fit,
    prepare_samples,
    slices_with,
    truths_of,
    unfit,
    window_starts,
)

YES_NO = SampleForm(size=(6, 4), classes=("no", "yes"))


@given(depth=st.integers(1, 300), length=st.integers(1, 40))
def test_windows_cover_everything_and_share_a_half(depth, length):
    starts = window_starts(depth, length)
    assert starts[0] == 0 and starts[-1] == max(0, depth - length)
    seen = {s + t for s in starts for t in range(length)}
    assert seen >= set(range(depth))
    steps = np.diff(starts)
    assert all(0 < step <= max(1, length // 2) for step in steps)


def test_windows_by_hand():
    assert window_starts(3, 4) == window_starts(4, 4) == [0]
    assert window_starts(5, 4) == [0, 1]
    assert window_starts(10, 4) == [0, 2, 4, 6]
    assert window_starts(3, 1) == [0, 1, 2]


def test_fit_cuts_the_centre_and_repeats_the_border():
    array = np.arange(5, dtype=np.float32)[None, :, None] * np.ones((1, 5, 2), np.float32)
    assert fit(array, (3, 2))[0, :, 0].tolist() == [1, 2, 3]
    assert fit(array, (2, 2))[0, :, 0].tolist() == [1, 2]
    assert fit(array, (8, 2))[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
    assert fit(array, (3, 5)).shape == (1, 3, 5) and fit(array, (5, 2)) is not array
    assert np.array_equal(fit(array, (5, 2)), array)


@given(have=st.integers(1, 9), want=st.integers(1, 9))
def test_fit_there_and_back_keeps_the_centre(have, want):
    line = np.arange(have, dtype=np.float32)[None]
    if want >= have:
        assert np.array_equal(fit(fit(line, (want,)), (have,)), line)
    else:
        assert np.array_equal(np.diff(fit(line, (want,))), np.ones((1, want - 1), np.float32))


@pytest.mark.parametrize(("have", "want"), [((7, 8), (5, 8)), ((4, 9), (9, 4)), ((5, 5), (5, 5)), ((6, 3), (9, 8))])
def test_unfit_puts_everything_back_where_it_was(have, want):
    array = np.random.default_rng(0).normal(size=(2, *have)).astype(np.float32)
    again = unfit(fit(array, want), have)
    kept = again != 0
    assert np.array_equal(again[kept], array[kept])
    assert kept.sum() == 2 * np.prod([min(a, b) for a, b in zip(have, want, strict=True)])


def test_a_whole_case(tmp_path):
    array = np.random.default_rng(0).normal(size=(6, 4, 5)).astype(np.float32)
    found = prepare_samples(scan(tmp_path, array), AS_STORED, SampleForm(size=(6, 4, 5)))
    assert found.slices == ((),) and np.array_equal(found.images, array[None, None])


def test_slices_are_counted_from_the_lowest(tmp_path):
    found = prepare_samples(scan(tmp_path, planes()), AS_STORED, SLICES)
    assert found.images.shape == (5, 1, 6, 4) and found.slices == ((0,), (1,), (2,), (3,), (4,))
    assert found.images.mean(axis=(1, 2, 3)).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("axes", ["LPI", "SAR", "AIL"])
def test_however_the_file_is_turned(tmp_path, axes):
    """The same head, stored flipped or along other axes, gives the same slices, in the same order."""
    import nibabel as nib

    array = np.random.default_rng(1).normal(size=(6, 4, 5)).astype(np.float32)
    label = np.zeros(array.shape, np.uint8)
    label[..., 3] = 1
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(axes)
    )
    stored = [nib.orientations.apply_orientation(a, turn) for a in (array, label)]
    affine = nib.orientations.inv_ornt_aff(turn, array.shape)
    case = scan(tmp_path, stored[0], affine=affine, label=stored[1])
    found = prepare_samples(case, AS_STORED, SLICES)
    assert np.array_equal(found.images[:, 0], np.moveaxis(array, 2, 0))
    assert slices_with(case, (1,)).tolist() == [0, 0, 0, 1, 0]


def test_a_label_map_on_another_grid_is_refused(tmp_path):
    """Fewer slices would end in an index out of range, a shift in a wrong truth."""
    case = scan(tmp_path, planes(), label=np.ones((6, 4, 5), np.uint8))
    assert slices_with(case, (1,)).tolist() == [1] * 5
    for depth, shift in ((4, 0), (5, 1)):
        affine = np.eye(4)
        affine[2, 3] = shift
        other = scan(tmp_path, np.ones((6, 4, depth), np.uint8), name="other", affine=affine)
        wrong = replace(case, label=other.channels["mr"])
        with pytest.raises(
            GeometryError, match=r"case a: other_image\.nii\.gz has shape .*a_image.* must lie on the grid"
        ):
            slices_with(wrong, (1,))


def test_an_oblique_file_is_cut_along_its_own_axes(tmp_path):
    angle = np.deg2rad(10)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    found = prepare_samples(scan(tmp_path, planes(), affine=affine), AS_STORED, SLICES)
    assert found.images.mean(axis=(1, 2, 3)).tolist() == [1, 2, 3, 4, 5]


def test_slices_keep_their_own_distance(tmp_path):
    """Within a slice the plan's voxel size, across the slices that of the file."""
    case = scan(tmp_path, planes(shape=(12, 8)), affine=np.diag([0.5, 0.5, 7, 1]))
    found = prepare_samples(case, AS_STORED, SLICES)
    assert found.images.shape == (5, 1, 6, 4)
    assert found.images.mean(axis=(1, 2, 3)) == pytest.approx([1, 2, 3, 4, 5], abs=1e-5)


def test_slices_of_a_cropped_scan_are_those_of_the_file(tmp_path):
    array = planes(7)
    array[..., [0, 1, 6]] = 0
    label = np.zeros(array.shape, np.uint8)
    label[2, 2, 4] = 3
    case = scan(tmp_path, array, label=label)
    found = prepare_samples(case, AS_STORED.changed(crop=True), SLICES)
    assert found.slices == ((2,), (3,), (4,), (5,))
    assert found.images[:, 0, 3, 2].tolist() == [3, 4, 5, 6]
    form = SLICES.changed(classes=("no", "yes"), contains=(3, 5))
    assert truths_of(case, found, form).tolist() == [0, 0, 1, 0]
    assert truths_of(case, found, form.changed(contains=(5,))).tolist() == [0, 0, 0, 0]


def test_sequences(tmp_path):
    label = np.zeros((6, 4, 5), np.uint8)
    label[..., 4] = 1
    case, form = scan(tmp_path, planes(), label=label), SLICES.changed(length=4, classes=("no", "yes"), contains=(1,))
    found = prepare_samples(case, AS_STORED, form)
    assert found.images.shape == (2, 4, 1, 6, 4) == (2, *form.image_shape(1))
    assert found.slices == ((0, 1, 2, 3), (1, 2, 3, 4))
    assert found.images.mean(axis=(2, 3, 4)).tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]
    assert truths_of(case, found, form).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_short_scan_repeats_its_last_slice(tmp_path):
    form = SLICES.changed(length=4, classes=("no", "yes"))
    case = scan(tmp_path, planes(2), classes=("yes",))
    found = prepare_samples(case, AS_STORED, form)
    assert found.slices == ((0, 1, 1, 1),) and found.images.mean(axis=(2, 3, 4)).tolist() == [[1, 2, 2, 2]]
    assert truths_of(case, found, form).tolist() == [[1, 1, 1, 1]]
    several = form.changed(exclusive=False)
    assert truths_of(case, found, several).tolist() == [[[0, 1]] * 4]


def test_truths_of_classes(tmp_path):
    one, none, both = pictures(tmp_path, [("yes",), (), ("no", "yes")])
    there = CaseSamples(np.zeros((1, 1, 6, 4), np.float32), ((),))
    assert truths_of(one, there, YES_NO).tolist() == [1]
    several = YES_NO.changed(exclusive=False)
    assert [truths_of(c, there, several).tolist() for c in (one, none, both)] == [[[0, 1]], [[0, 0]], [[1, 1]]]
    assert truths_of(one, there, SampleForm(size=(6, 4))).shape == (1,)


@pytest.mark.parametrize(
    ("classes", "form", "message"),
    [
        (None, YES_NO, r"case p0: no class; one is needed to learn from.*column class"),
        (("maybe",), YES_NO, r"case p0: class 'maybe' is none of no, yes"),
        ((), YES_NO, r"case p0: classes none: exactly one is needed"),
        (("no", "yes"), YES_NO, r"case p0: classes no, yes: exactly one is needed"),
        (None, YES_NO.changed(contains=(1,)), r"case p0: no label map; one is needed to know what a slice contains"),
    ],
)
def test_a_case_without_the_truth_is_named(tmp_path, classes, form, message):
    case = pictures(tmp_path, [classes])[0]
    with pytest.raises(DataError, match=message) as caught:
        truths_of(case, CaseSamples(np.zeros((1, 1, 6, 4), np.float32), ((),)), form)
    assert caught.value.case == "p0"
    with pytest.raises(DataError, match="p0"):
        SampleStore.build([case], FLAT, form, tmp_path / "store")
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".png")] == []  # whole or not at all


def test_slices_of_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"case p0: an image of shape \(6, 4\); slices are cut from 3D scans"):
        prepare_samples(pictures(tmp_path, [None])[0], FLAT, SLICES)


@pytest.fixture
def cases(tmp_path):
    (tmp_path / "files").mkdir()
    label = np.zeros((6, 4, 3), np.uint8)
    label[..., 1] = 1
    return [
        scan(tmp_path / "files", planes(depth), f"c{depth}", label=label if depth == 3 else np.ones((6, 4, depth), np.uint8))
        for depth in (3, 2)
    ]  # fmt: skip


FORM = SLICES.changed(classes=("no", "yes"), contains=(1,))


def test_a_store_holds_what_was_prepared(cases, tmp_path):
    store = SampleStore.build(cases, AS_STORED, FORM, tmp_path / "store")
    assert store.images.shape == (5, 1, 6, 4) and store.images.dtype == np.float16
    assert store.images.mean(axis=(1, 2, 3)).tolist() == [1, 2, 3, 1, 2]
    assert store.truth.tolist() == [0, 1, 0, 1, 1] and store.truth.dtype == np.uint8
    assert store.rows == {"c3": range(3), "c2": range(3, 5)}
    assert store.slices == [(0,), (1,), (2,), (0,), (1,)] and store.case_of == ["c3"] * 3 + ["c2"] * 2
    assert store.of(["c2", "c3"]).tolist() == [3, 4, 0, 1, 2] and store.of([]).tolist() == []
    assert store.channels == 1 and store.keep_zero == (False,) and store.spacing_mm == (1, 1)
    assert set(store.inputs) == {str(p) for c in cases for p in (c.channels["mr"], c.label)}
    for other in (SampleStore.open(tmp_path / "store"), pickle.loads(pickle.dumps(store))):
        assert np.array_equal(other.images, store.images) and other.form == store.form and other.rows == store.rows
    assert len(pickle.dumps(store)) < 5000


def test_what_half_precision_cannot_hold_is_clipped(tmp_path):
    store = SampleStore.build([scan(tmp_path, planes() * 1e5)], AS_STORED, SLICES, tmp_path / "store")
    assert np.isfinite(store.images).all() and store.images.max() == np.float16(6e4)


def test_background_that_must_stay_is_remembered(cases, tmp_path):
    scheme = Preparation(spacing_mm=(1, 1, 1), normalisation=("zscore_nonzero",), intensities=(None,))
    assert SampleStore.build(cases, scheme, SLICES, tmp_path / "store").keep_zero == (True,)


def test_the_same_again_is_kept(cases, tmp_path, monkeypatch):
    SampleStore.build(cases, AS_STORED, FORM, tmp_path / "store")
    monkeypatch.setattr(samples_module, "prepare_samples", None)
    assert SampleStore.build(cases, AS_STORED, FORM, tmp_path / "store").truth.tolist() == [0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    "what", ["form", "preparation", "cases", "image", "label", "samples.json", "images.raw", "truth.npy"]
)
def test_anything_that_changes_builds_it_anew(cases, tmp_path, what):
    folder, form, preparation = tmp_path / "store", FORM, AS_STORED
    before = np.array(SampleStore.build(cases, AS_STORED, FORM, folder).images)
    if what == "form":
        form = FORM.changed(size=(4, 4))
    elif what == "preparation":
        preparation = AS_STORED.changed(normalisation=("rescale",))
    elif what == "cases":
        cases = cases[:1]
    elif what == "image":
        scan(tmp_path / "files", planes(3) + 7, "c3")
    elif what == "label":
        scan(tmp_path / "files", planes(3), "c3", label=np.ones((6, 4, 3), np.uint8))
    elif what in ("samples.json", "images.raw", "truth.npy"):
        (folder / what).write_bytes((folder / what).read_bytes()[:40])
        with pytest.raises(FormatError, match="store"):
            SampleStore.open(folder)
    after = SampleStore.build(cases, preparation, form, folder)
    if "." in what:
        assert np.array_equal(after.images, before)
    elif what == "label":
        assert after.truth.tolist() == [1, 1, 1, 1, 1]
    else:
        assert after.images.shape != before.shape or not np.array_equal(after.images, before)
    assert after.form == form and sorted(p.name for p in tmp_path.iterdir()) == ["files", "store"]


def test_a_class_corrected_builds_it_anew(tmp_path):
    first = pictures(tmp_path, [("yes",), ("no",)])
    SampleStore.build(first, FLAT, YES_NO, tmp_path / "store")
    second = pictures(tmp_path, [("no",), ("no",)])
    assert SampleStore.build(second, FLAT, YES_NO, tmp_path / "store").truth.tolist() == [0, 0]


def test_no_store(tmp_path):
    with pytest.raises(FormatError, match="samples"):
        SampleStore.open(tmp_path / "nothing")
