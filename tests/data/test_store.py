"""The patch store: whole or not at all, reused only where nothing changed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from striate.core import in_threads
from striate.core.case import Case
from striate.core.errors import DataError, FormatError, GeometryError, UsageError
from striate.core.targets import Targets
from striate.data.prepare import Preparation, prepare
from striate.data.store import PatchStore, sample_foreground, stored_bytes
from striate.io.read import read_header

TARGETS = Targets.of_labels({1: "a", 3: "b"})
PREPARATION = Preparation(spacing_mm=(1.0, 1.0, 1.0), normalisation=("zscore_nonzero",), intensities=(None,))


def _cohort(folder: Path, count: int = 3) -> list[Case]:
    rng = np.random.default_rng(0)
    cases = []
    for index in range(count):
        image = np.zeros((14, 12, 10 + index), dtype=np.float32)
        image[2:12, 1:11, 2:8] = rng.normal(50, 9, (10, 10, 6))
        label = np.where(image > 60, 3, np.where(image > 55, 1, 0)).astype(np.uint8)
        for name, array in (("image", image), ("label", label)):
            nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), folder / f"{name}{index}.nii.gz")
        name = f"case {index}"
        cases.append(Case(name, name, {"t1": folder / f"image{index}.nii.gz"}, folder / f"label{index}.nii.gz"))
    return cases


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    return _cohort(tmp_path)


@pytest.mark.parametrize("scheme", ["zscore_nonzero", "none"])
def test_it_takes_no_more_than_was_foreseen(cases, tmp_path, scheme):
    preparation = PREPARATION.changed(normalisation=(scheme,), spacing_mm=(0.5, 1.0, 1.0), crop=False)
    PatchStore.build(cases, preparation, TARGETS, tmp_path / "store")
    size = sum(path.stat().st_size for path in (tmp_path / "store").iterdir())
    foreseen = [stored_bytes(preparation, TARGETS, read_header(case.channels["t1"]).grid, 1) for case in cases]
    assert 0.3 * sum(foreseen) < size <= sum(foreseen)
    assert sum(foreseen) > 3 * 28 * 12 * 10 * (5 if scheme == "none" else 3)


def test_it_holds_what_preparation_gives(cases, tmp_path):
    store = PatchStore.build(cases, PREPARATION, TARGETS, tmp_path / "store")
    assert store.cases == ("case 0", "case 1", "case 2")
    assert store.channels == 1 and store.keep_zero == (True,)
    for case in cases:
        prepared, stored = prepare(case, PREPARATION, TARGETS), store[case.name]
        assert store.shape(case.name) == stored.classes.shape == prepared.grid.shape
        assert stored.images.dtype == np.float16
        assert store.spacing_mm(case.name) == stored.spacing_mm == (1.0, 1.0, 1.0)
        np.testing.assert_allclose(stored.images, prepared.array, atol=2e-3)
        assert np.array_equal(stored.classes, prepared.classes)
        assert set(stored.foreground) == {1, 2}
        for index, voxels in stored.foreground.items():
            assert (stored.classes.ravel()[voxels] == index).all()
            assert len(voxels) == (prepared.classes == index).sum()
    assert set(store.inputs) == {str(p) for c in cases for p in (*c.channels.values(), c.label)}
    assert all(len(digest) == 64 for digest in store.inputs.values())


def test_it_is_reused_and_rebuilt(cases, tmp_path):
    folder = tmp_path / "store"
    PatchStore.build(cases, PREPARATION, TARGETS, folder)
    stamp = (folder / "store.json").stat().st_mtime_ns
    PatchStore.build(cases, PREPARATION, TARGETS, folder)
    assert (folder / "store.json").stat().st_mtime_ns == stamp
    other = PREPARATION.changed(spacing_mm=(2.0, 1.0, 1.0))
    assert PatchStore.build(cases, other, TARGETS, folder).shape("case 0") == (5, 10, 6)
    regions = Targets({"any": (1, 3)}, exclusive=False)
    assert set(PatchStore.build(cases, other, regions, folder)["case 0"].foreground) == {1}
    label = nib.load(cases[0].label)
    nib.save(nib.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), cases[0].label)
    assert PatchStore.build(cases, other, regions, folder)["case 0"].foreground == {}


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch) -> int:
    monkeypatch.setattr(in_threads, "cores", lambda: request.param)
    return request.param


def test_any_number_of_threads_gives_the_same_bytes(cases, tmp_path, monkeypatch):
    stores = []
    for count in (1, 3):
        monkeypatch.setattr(in_threads, "cores", lambda count=count: count)
        stores.append(PatchStore.build(cases, PREPARATION, TARGETS, tmp_path / str(count)).folder)
    names = sorted(p.name for p in stores[0].iterdir())
    assert len(names) == 3 * len(cases) + 1 and names == sorted(p.name for p in stores[1].iterdir())
    assert all((stores[0] / n).read_bytes() == (stores[1] / n).read_bytes() for n in names)


def test_a_failing_case_leaves_nothing(cases, tmp_path, threads):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), cases[1].label)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GeometryError, match=r"case case 1: the mask has shape \(3, 3, 3\)"):
        PatchStore.build(cases, PREPARATION, TARGETS, tmp_path / "store")
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_not_a_store_is_not_replaced(cases, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match="exists and is not empty"):
        PatchStore.build(cases, PREPARATION, TARGETS, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    with pytest.raises(FormatError, match="no such file"):
        PatchStore.open(tmp_path / "mine")


def test_a_case_without_labels_is_named(cases, tmp_path):
    bare = Case("P9", "P9", dict(cases[0].channels))
    with pytest.raises(DataError, match="case P9: no label map"):
        PatchStore.build([bare], PREPARATION, TARGETS, tmp_path / "store")


def test_it_is_picklable_and_says_what_it_lacks(cases, tmp_path):
    store = PatchStore.build(cases, PREPARATION, TARGETS, tmp_path / "store")
    store["case 0"]
    again = pickle.loads(pickle.dumps(store))
    assert again.cases == store.cases
    assert np.array_equal(again["case 1"].images, store["case 1"].images)
    with pytest.raises(UsageError, match="Did you mean 'case 1'"):
        store["case1"]
    os.truncate(tmp_path / "store" / "0002.images.npy", 50)
    with pytest.raises(FormatError, match="broken file of the patch store"):
        store["case 2"]


def test_large_values_keep_their_precision(cases, tmp_path):
    plain = PREPARATION.changed(normalisation=("none",))
    assert PatchStore.build(cases, plain, TARGETS, tmp_path / "store")["case 0"].images.dtype == np.float32


def test_foreground_is_sampled_without_repeats_and_the_same_each_time():
    classes = np.zeros((30, 30, 30), dtype=np.uint8)
    classes[5:25, 5:25, 5:25] = 4
    classes[0, 0, :3] = 1
    found = sample_foreground(classes, "a", most=100)
    assert list(found) == [1, 4]
    assert found[1].tolist() == [0, 1, 2]
    assert len(set(found[4].tolist())) == 100
    assert np.array_equal(found[4], sample_foreground(classes, "a", most=100)[4])
    assert not np.array_equal(found[4], sample_foreground(classes, "b", most=100)[4])
    assert sample_foreground(np.zeros((3, 3), np.uint8), "a") == {}
