"""Facts of whole images: intensities by hand, and a memory that does not grow with the number of cases."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture

from striate.core.case import Case
from striate.data.cohort import Cohort
from striate.planning import image_facts


def cohort_of(folder, arrays) -> Cohort:
    """Write one grey picture a case."""
    cases = []
    for n, array in enumerate(arrays):
        Picture.fromarray(array).save(folder / f"p{n}.png")
        cases.append(Case(f"p{n}", f"p{n}", {"grey": folder / f"p{n}.png"}, classes=("a",)))
    return Cohort("pictures", tuple(cases))


def arrays_of(count, size=(12, 10)):
    rng = np.random.default_rng(0)
    return [rng.integers(1, 255, size).astype(np.uint8) for _ in range(count)]


def test_intensities_of_all_voxels(tmp_path):
    arrays = arrays_of(4)
    cohort = cohort_of(tmp_path, arrays)
    found, everything = image_facts.measure_images(cohort, cohort.cases), np.stack(arrays).astype(np.float64)
    low, middle, high = np.percentile(everything, (0.5, 50, 99.5))
    (one,) = found.intensities
    assert (one.mean, one.std) == pytest.approx((everything.mean(), everything.std()), rel=1e-12)
    assert (one.p005, one.median, one.p995) == pytest.approx((low, middle, high), rel=1e-6)
    assert found.classes == {"a": 4} and found.cases[0].shape == (10, 12)


def test_many_cases_keep_fewer_voxels_each(tmp_path, monkeypatch):
    cohort, pooled = cohort_of(tmp_path, arrays_of(8)), []
    measured = image_facts._intensity
    monkeypatch.setattr(image_facts, "_intensity", lambda values: pooled.append(values) or measured(values))
    image_facts.measure_images(cohort, cohort.cases)
    monkeypatch.setattr(image_facts, "TOTAL", 80)
    image_facts.measure_images(cohort, cohort.cases)
    assert [(len(v), v.dtype) for v in pooled] == [(960, np.float32), (80, np.float32)]
    monkeypatch.setattr(image_facts, "TOTAL", 3)
    image_facts.measure_images(cohort, cohort.cases)
    assert len(pooled[-1]) == 8
