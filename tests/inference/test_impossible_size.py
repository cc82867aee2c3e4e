"""A scan whose voxels no body scan has is told by its size, whatever resampling leaves of it."""

from __future__ import annotations

import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import MemoryLimitError
from striate.core.image import Grid, Image
from striate.data.prepare import prepare_images
from striate.inference import memory
from striate.inference.predict import predict_case
from striate.inference.warn import impossible_sizes, nothing_to_see
from striate.io.formats.nifti import Nifti
from striate.io.write import write_image


@pytest.fixture
def micrometres(tmp_path):
    """A scan of 60 mm with voxels of 3 mm whose header says micrometres."""
    array = np.random.default_rng(0).normal(100, 20, (1, 20, 20, 20)).astype(np.float32)
    path = tmp_path / "a.nii"
    write_image(path, Image(array, np.diag([3.0, 3.0, 3.0, 1.0])))
    content = bytearray(path.read_bytes())
    content[123] = 3  # xyzt_units
    path.write_bytes(content)
    assert Nifti().read_header(path).grid.spacing_mm == pytest.approx((0.003, 0.003, 0.003))
    return Case("a", "a", {"flair": path})


def test_a_scan_in_micrometres_is_told_by_its_voxels(model_of, micrometres):
    (caution,) = predict_case(model_of(channels=("flair",)), micrometres).warnings
    assert caution.code == "impossible-size"
    assert str(caution).startswith("case a: voxels of 0.003 × 0.003 × 0.003 mm over 0.06 mm; 0.01 to 25 mm")
    assert "unit is probably not mm" in str(caution) and "constant" not in str(caution)


def test_a_model_of_such_voxels_says_no_such_thing(plan_of):
    image = Image(np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32), np.diag([0.003] * 3 + [1]))
    own = plan_of(channels=("flair",), spacing_mm=(0.003, 0.003, 0.003))
    assert nothing_to_see(own, prepare_images([image], own.preparation, "a"), "case a", "") is None
    flat = prepare_images([Image(np.ones_like(image.array), image.affine)], own.preparation, "a")
    assert nothing_to_see(own, flat, "case a", "the mask is empty").code == "constant-image"
    coarser = plan_of(channels=("flair",), spacing_mm=(0.009,) * 3)  # planned for less time than 0.003 mm takes
    assert nothing_to_see(coarser, prepare_images([image], coarser.preparation, "a"), "case a", "") is None
    usual = plan_of(channels=("flair",))
    found = nothing_to_see(usual, prepare_images([image], usual.preparation, "a"), "case a", "")
    assert found.code == "impossible-size"
    gaps = Image(image.array, np.diag([1.0, 1.0, 100.0, 1.0]))  # of one axis alone the unit is wrong
    found = nothing_to_see(usual, prepare_images([gaps], usual.preparation, "a"), "case a", "")
    assert found.code == "impossible-size"


def test_a_slice_may_be_of_any_thickness(plan_of):
    """Pictures that nnU-Net made volumes of have 999 mm."""
    array = np.random.default_rng(0).normal(size=(1, 20, 20, 1)).astype(np.float32)
    for plan in (plan_of(channels=("flair",)), plan_of(channels=("flair",), spacing_mm=(1.0, 1.0, 999.0))):
        prepared = prepare_images([Image(array, np.diag([1.0, 1.0, 999.0, 1.0]))], plan.preparation, "a")
        assert nothing_to_see(plan, prepared, "case a", "") is None


def test_voxels_of_metres_are_told_where_they_need_the_memory(plan_of, monkeypatch):
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: 1 << 30)
    grid = Grid((56, 69, 59), np.diag([3000.0, 3000.0, 3000.0, 1.0]))
    with pytest.raises(MemoryLimitError, match=r"It has voxels of 3000 × 3000 × 3000 mm .*unit is probably not mm"):
        memory.check_memory(plan_of(channels=("flair",)), grid, 1, {}, "case a", "plan.yaml")
    own = plan_of(channels=("flair",), spacing_mm=(0.003, 0.003, 0.003))
    with pytest.raises(MemoryLimitError, match=r"Cut the image|inference\.patch"):
        memory.check_memory(own, Grid((2000,) * 3, np.diag([0.003] * 3 + [1])), 1, {}, "case a", "plan.yaml")


def test_impossible_voxels_are_told_from_headers_in_few_lines(plan_of):
    plan, usual = plan_of(channels=("flair",)), Grid((20, 20, 20), np.eye(4))
    large = Grid((20, 20, 20), np.diag([40.0, 40.0, 40.0, 1.0]))
    assert impossible_sizes(plan, {"a": usual}) == []
    (line,) = impossible_sizes(plan, {"a": usual, "b": large})
    assert (
        line.startswith("case b: voxels of 40 × 40 × 40 mm over 800 mm; 0.01 to 25 mm")
        and "set the affine in mm" in line
    )
    (line,) = impossible_sizes(plan, {f"c{index}": large for index in range(9)})
    assert line.startswith("9 cases:")
