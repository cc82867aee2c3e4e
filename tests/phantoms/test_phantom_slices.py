"""Slices of a phantom subject, with and without its lesions."""

from __future__ import annotations

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.phantoms.slices import draw_slices


def test_the_same_subject_with_and_without_lesions() -> None:
    sick, mask = draw_slices(3, 1, count=4)
    healthy, nothing = draw_slices(3, 1, count=4, lesions=False)
    assert sick.shape == mask.shape == healthy.shape == (4, 42, 52)
    assert sick.dtype == np.float32
    assert mask.sum() > 20
    assert not nothing.any()
    for images in (sick, healthy):
        assert images.mean() == pytest.approx(0, abs=1e-5)
        assert images.std() == pytest.approx(1, abs=1e-5)
    near = (healthy - sick)[mask > 0].mean(), (healthy - sick)[mask == 0].mean()
    assert near[0] < -0.3 < -0.1 < near[1]  # lesions are bright; elsewhere little changes


def test_a_subject_depends_on_its_number_only() -> None:
    assert np.array_equal(draw_slices(3, 1, count=2)[0], draw_slices(3, 1, count=2)[0])
    assert not np.array_equal(draw_slices(3, 2, count=2)[0], draw_slices(3, 1, count=2)[0])


def test_a_spacing_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="spacing: 20 20 20 mm"):
        draw_slices(3, 1, spacing_mm=20)
