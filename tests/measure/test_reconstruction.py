"""Reconstruction: by hand, scikit-image's numbers, what does not exist, summary over subjects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from striate.core.errors import DataError, FormatError, GeometryError
from striate.measure.reconstruction import (
    CaseReconstruction,
    ReconstructionEvaluation,
    reconstruction_measures,
    ssim,
)


def test_by_hand() -> None:
    found = reconstruction_measures(np.array([[0.0, 10], [20, 30]]), np.array([[0.0, 12], [19, 30]]))
    assert found["mse"] == pytest.approx(5 / 4)
    assert found["mae"] == pytest.approx(3 / 4)
    assert found["psnr_db"] == pytest.approx(10 * np.log10(900 / 1.25))
    assert found["ssim"] is None, "smaller than the window"


def test_constant_images_by_the_formula() -> None:
    """Without variance only the means count: (2ab + C₁) / (a² + b² + C₁)."""
    a, b, c1 = 60.0, 80.0, (0.01 * 255) ** 2
    wanted = (2 * a * b + c1) / (a * a + b * b + c1)
    assert ssim(np.full((12, 12), a), np.full((12, 12), b), 255) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("shape", "similarity", "ratio_db"),
    [((40, 33), 0.9388173581378815, 19.89198126583036), ((16, 20, 14), 0.9424080941325975, 20.012412124548845)],
)
def test_numbers_of_scikit_image(shape: tuple[int, ...], similarity: float, ratio_db: float) -> None:
    """0.26.0: structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False), peak_signal_noise_ratio."""
    rng = np.random.default_rng(0)
    if len(shape) == 3:
        rng.random((40, 33)), rng.normal(0, 20, (40, 33))
    original = rng.random(shape) * 200
    found = reconstruction_measures(original, original + rng.normal(0, 20, shape))
    assert found["ssim"] == pytest.approx(similarity, abs=1e-10)
    assert found["psnr_db"] == pytest.approx(ratio_db, abs=1e-10)


def test_equal_images() -> None:
    image = np.random.default_rng(0).random((20, 20))
    assert reconstruction_measures(image, image) == {"mse": 0, "mae": 0, "psnr_db": None, "ssim": pytest.approx(1)}


def test_units() -> None:
    """Ten times the intensities: mse × 100, mae × 10, the ratios as they are."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 16, 16))
    once, tenfold = reconstruction_measures(a, b), reconstruction_measures(10 * a, 10 * b)
    assert tenfold["mse"] == pytest.approx(100 * once["mse"])
    assert tenfold["mae"] == pytest.approx(10 * once["mae"])
    assert tenfold["psnr_db"] == pytest.approx(once["psnr_db"])
    assert tenfold["ssim"] == pytest.approx(once["ssim"])


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"\(2, 2\) and \(2, 3\)"):
        reconstruction_measures(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(DataError, match="1 value that is not finite"):
        reconstruction_measures(np.zeros((2, 2)), np.array([[0, np.nan], [0, 0]]))
    constant = reconstruction_measures(np.zeros((12, 12)), np.ones((12, 12)))
    assert (constant["psnr_db"], constant["ssim"]) == (None, None)


def test_summary_and_document(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [
        CaseReconstruction(f"c{n}", {"t1": reconstruction_measures(*rng.random((2, 12, 12)))}, f"s{n // 2}")
        for n in range(8)
    ]
    found = ReconstructionEvaluation.of(cases, seed=2)
    one = found.summary["t1"]["mse"]
    assert one.mean == pytest.approx(np.mean([c.channels["t1"]["mse"] for c in cases]))
    assert one.low < one.mean < one.high
    assert one.n == 8
    found.write(tmp_path)
    assert ReconstructionEvaluation.read(tmp_path) == found
    assert json.loads((tmp_path / "evaluation.json").read_text())["kind"] == "striate-reconstruction-evaluation"
    (tmp_path / "evaluation.json").write_text('{"kind": "striate-reconstruction-evaluation", "schema_version": 1}')
    with pytest.raises(FormatError, match="not readable"):
        ReconstructionEvaluation.read(tmp_path)
    with pytest.raises(DataError, match="case 'c0' twice"):
        ReconstructionEvaluation.of([cases[0], cases[0]])
    with pytest.raises(DataError, match="0 cases"):
        ReconstructionEvaluation.of([])
