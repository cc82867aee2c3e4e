"""Image quality: each measure against what was put in, against hand-made cases, and the outlier rule."""

import tracemalloc

import heads
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from striate.data.checks import quality_low
from striate.data.checks.facts import CaseFacts, ChannelFacts, CohortFacts
from striate.data.checks.foreground import block_mean, constant_background, find_foreground, otsu
from striate.data.checks.in_parts import deviation
from striate.data.checks.quality import HIGHER_IS_BETTER, measure_quality
from striate.data.checks.quality_air import efc, fber, snr_dietrich
from striate.data.checks.quality_object import blur_crete
from striate.data.checks.tissue import find_tissues, noise_inside

STEP = (heads.SPACING,) * 3


def measured(image):
    return measure_quality(image, STEP, find_foreground(image, STEP)).values


@pytest.mark.parametrize("sigma", [6.0, 15.0, 30.0])
def test_snr_is_that_of_the_noise_put_in(sigma):
    image = heads.scan(2, sigma=sigma)
    clean = heads.scan(2, sigma=0.0)
    found = find_foreground(image, STEP)
    inside = clean[found.box][found.mask].mean()
    values = measure_quality(image, STEP, found).values
    assert values["snr"] == pytest.approx(inside / sigma, rel=0.06)
    assert noise_inside(image[found.box], found.mask, STEP) >= 0.85 * sigma


def test_noise_inside_is_exact_on_a_flat_object():
    rng = np.random.default_rng(0)
    flat = rng.normal(100, 5, (40, 40, 40)).astype(np.float32)
    assert noise_inside(flat, np.ones_like(flat, dtype=bool), (1, 1, 1)) == pytest.approx(5, rel=0.02)
    assert noise_inside(flat, np.ones_like(flat, dtype=bool), (1, 1, 4)) == pytest.approx(5, rel=0.02)


def test_hand_computed_definitions():
    inside, air = np.array([10.0, 20.0, 30.0], np.float32), np.array([1.0, 3.0], np.float32)
    assert snr_dietrich(inside, air) == pytest.approx(20 / (np.sqrt(2 / (4 - np.pi)) * 1.0))
    assert fber(inside, air) == pytest.approx((100 + 400 + 900) / 3 / 5)
    one = np.zeros((4, 4, 4), np.float32)
    one[1, 2, 3] = 5
    assert efc(one) == pytest.approx(0)
    assert efc(np.full((4, 4, 4), 3.0, np.float32)) == pytest.approx(1)


def test_sums_are_those_of_numpy_and_copy_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(100, 5, (150, 150, 150)).astype(np.float32)
    assert deviation(values) == pytest.approx(values.std(dtype=np.float64), rel=1e-12)
    assert deviation(np.full(7, 3.5, np.float32)) == 0
    x = np.abs(values) / np.sqrt(np.square(values, dtype=np.float64).sum())
    whole = -float((x * np.log(x)).sum() / (np.sqrt(x.size) * np.log(np.sqrt(x.size))))
    tracemalloc.start()
    measures = efc(values), fber(values, values[::2]), snr_dietrich(values.ravel(), values.ravel())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert measures[0] == pytest.approx(whole, rel=1e-6)
    assert peak < 2 * values.nbytes + 25e6  # every second slice is brought into one row


def test_crete_blur_against_a_direct_reading_of_the_paper():
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.normal(size=(30, 26)), 1.0).astype(np.float32)
    values = []
    for turned in (image, image.T):
        kernel = np.ones(9) / 9
        padded = np.pad(turned, ((4, 4), (0, 0)), mode="edge")
        smooth = np.stack([np.convolve(c, kernel, "valid") for c in padded.T], axis=1)
        sharp, blurred = np.abs(np.diff(turned, axis=0)), np.abs(np.diff(smooth, axis=0))
        values.append(1 - np.maximum(0, sharp - blurred).sum() / sharp.sum())
    found = blur_crete(image[..., None], np.ones((30, 26, 1), bool), (1, 1, 1))
    assert found == pytest.approx(max(values), abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts(axis):
    image = heads.scan(2)
    assert measured(image)["ghost"] < 0.01
    ghost = image + 0.06 * np.roll(image, heads.SHAPE[axis] // 2, axis=axis)
    assert measured(ghost)["ghost"] == pytest.approx(0.06, abs=0.025)


def test_spikes():
    image = heads.scan(2)
    before = measured(image)["spikes"]
    spectrum = np.fft.fftn(image)
    spectrum[10, 14, 9] += 0.15 * np.abs(spectrum).max()
    after = measured(np.abs(np.fft.ifftn(spectrum)).astype(np.float32))["spikes"]
    assert before < 8 and after > 15


@pytest.mark.parametrize("strength", [1.0, 1.5, 2.2])
def test_bias_field(strength):
    image = heads.scan(2, sigma=4.0, lesion=False)
    ramp = np.linspace(0, 1, heads.SHAPE[1])[None, :, None]
    biased = (image * strength ** (1.8 * (ramp - 0.5))).astype(np.float32)
    found = find_foreground(biased, STEP)
    core = find_tissues(found, STEP).core
    true = block_mean(np.broadcast_to(strength ** (1.8 * (ramp - 0.5)), image.shape).astype(np.float32), found.factors)
    low, high = np.percentile(true[core], (5, 95))
    assert measured(biased)["bias"] == pytest.approx(high / low, rel=0.12)


def test_each_defect_moves_its_measures_the_right_way():
    image = heads.scan(2)
    base = measured(image)
    blurred = measured(ndimage.gaussian_filter(image, 1.0))
    assert blurred["blur"] > base["blur"] + 0.1 and blurred["edge_strength"] < 0.95 * base["edge_strength"]
    noisy = measured(heads.scan(2, sigma=40.0))
    for name in ("snr", "snr_object", "cnr", "fber"):
        assert noisy[name] < base[name]
    assert noisy["efc"] > base["efc"]
    stripe = image.copy()
    rng = np.random.default_rng(0)
    air = find_foreground(image, STEP).coarse_air
    place = ndimage.binary_dilation((rng.random(air.shape) < 0.002), iterations=2) & air
    stripe[place] += 150
    assert base["qi1"] == 0 and measured(stripe)["qi1"] > 0.02


def test_scale_does_not_matter_and_shift_leaves_contrast():
    image = heads.stripped(heads.scan(2), 2)
    base = measured(image)
    scaled = measured(image * 7)
    shifted = measured(np.where(image == 0, -9, image / 50 - 5).astype(np.float32))
    for name in HIGHER_IS_BETTER:
        if base[name] is not None:
            assert scaled[name] == pytest.approx(base[name], rel=1e-3)
    for name in ("cnr", "cjv", "edge_strength"):
        assert shifted[name] == pytest.approx(base[name], rel=0.02)
    assert shifted["snr_object"] is None and shifted["bias"] is None


def test_reasons_for_what_cannot_be_measured():
    image = heads.scan(2)
    stripped = heads.stripped(image, 2)
    assert measure_quality(stripped, STEP, find_foreground(stripped, STEP)).unmeasured["snr"] == "no background"
    blanked = np.where(image < 25, 0, image).astype(np.float32)
    reason = measure_quality(blanked, STEP, find_foreground(blanked, STEP)).unmeasured["snr"]
    assert reason.endswith("% of the background is blanked") or reason == "no background"
    ct = image * 2 - 1000
    assert "below zero" in measure_quality(ct, STEP, find_foreground(ct, STEP)).unmeasured["snr"]
    full = image[14:48, 12:58, 10:38]
    assert measure_quality(full, STEP, find_foreground(full, STEP)).unmeasured["snr"] in (
        "the object fills the field of view", "no background",
    )  # fmt: skip
    flat = np.ones((20, 20, 20), np.float32)
    assert set(measure_quality(flat, STEP, find_foreground(flat, STEP)).unmeasured.values()) == {
        "object too small or constant"
    }


@settings(max_examples=25, deadline=None)
@given(st.tuples(*(st.integers(1, 24),) * 3), st.integers(0, 99), st.sampled_from(["noise", "zeros", "box"]))
def test_any_shape_is_measured_without_error(shape, seed, kind):
    rng = np.random.default_rng(seed)
    image = rng.rayleigh(5, shape).astype(np.float32)
    if kind != "noise":
        image[tuple(slice(n // 3) for n in shape)] = 0 if kind == "zeros" else 100
    quality = measure_quality(image, (1.0, 1.0, 3.0), find_foreground(image, (1.0, 1.0, 3.0)))
    assert set(quality.values) == set(HIGHER_IS_BETTER)
    assert all((v is None) == (m in quality.unmeasured) for m, v in quality.values.items())
    assert all(v is None or np.isfinite(v) for v in quality.values.values())


def test_foreground_of_raw_stripped_and_shifted_heads():
    head = heads.anatomy(3) > 0
    for image, stripped in (
        (heads.scan(3), False),
        (heads.stripped(heads.scan(3), 3), True),
        (heads.stripped(heads.scan(3), 3, shift=True), True),
    ):
        found = find_foreground(image, STEP)
        mask = np.zeros(head.shape, bool)
        mask[found.box] = found.mask
        assert 2 * (mask & head).sum() / (mask.sum() + head.sum()) > 0.97
        assert found.stripped is stripped and found.coarse_air.any() is np.bool_(not stripped)


def test_block_mean_and_otsu_and_background():
    array = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    np.testing.assert_allclose(block_mean(array, (2, 2, 4)), array.reshape(2, 2, 2, 2, 1, 4).mean((1, 3, 5)))
    values = np.concatenate([np.full(50, v) for v in (0, 10, 30)]).astype(np.float32)
    low, high = otsu(values, classes=3)
    assert (low, high) == pytest.approx((5, 20), abs=0.5)  # the middle of each gap
    assert otsu(values[values != 10]) == pytest.approx((15,), abs=0.5)
    image = np.full((5, 5, 5), -3.0, np.float32)
    image[1:4, 1:4, 1:4] = 1
    assert constant_background(image) == -3
    assert constant_background(np.random.default_rng(0).normal(size=(5, 5, 5)).astype(np.float32)) is None


def case_with(name, **quality):
    from striate.core.image import Grid

    channel = ChannelFacts(Grid((9, 9, 9), np.eye(4)), 0, 1, 0.5, 0.1, 0, 1, quality=quality)
    return CaseFacts(name, name, {"flair": channel})


def low(*cases):
    return [p.sentence for p in quality_low.find(CohortFacts(cases))]


def test_outliers_and_limits():
    usual = [case_with(f"c{i}", snr=20 + 0.3 * i, blur=0.3 + 0.005 * i, ghost=0.001) for i in range(8)]
    assert low(*usual) == []
    (found,) = low(*usual, case_with("bad", snr=9.0, blur=0.5, ghost=0.002))
    assert found.startswith("case bad: flair has signal-to-noise ratio 9 (median of the cohort 20.9); blur 0.5 (median")
    assert "Look at the scan for noise, motion or low resolution" in found
    usual_contrast = [case_with(f"c{i}", cnr=3 + 0.03 * i, cjv=0.3 + 0.003 * i) for i in range(8)]
    (found,) = low(*usual_contrast, case_with("bad", cnr=0.5, cjv=1.3))
    assert "Look at the scan for little contrast, noise or a bias field;" in found
    assert low(*usual, case_with("good", snr=60.0, blur=0.1, ghost=0.0)) == []
    assert low(*usual[:4], case_with("bad", snr=9.0, blur=0.5)) == []  # too few to call it unlike the others
    assert "signal-to-noise ratio 3 (at least 5 is needed)" in low(case_with("x", snr=3.0))[0]
    assert "ghost-to-signal ratio 0.06 (at most 0.025 is needed)" in low(case_with("x", ghost=0.06))[0]


@pytest.mark.parametrize("artefact", ["noise", "blur", "ghost"])
def test_a_bad_scan_among_good_ones(maker, artefact):
    from striate.data.checks.run import run_checks

    for seed in range(6):
        maker.add(f"P{seed}", {"flair": heads.scan(seed)})
    image = heads.scan(6, sigma=45.0 if artefact == "noise" else 8.0)
    if artefact == "blur":
        image = ndimage.gaussian_filter(image, 1.3)
    if artefact == "ghost":
        image = image + 0.08 * np.roll(image, heads.SHAPE[1] // 2, axis=1)
    maker.add("bad", {"flair": image.astype(np.float32)})
    found = [p for p in run_checks(maker.cohort()).problems if p.code == "quality"]
    assert [p.case for p in found] == ["bad"]
    expected = {"noise": "signal-to-noise ratio", "blur": "blur 0.", "ghost": "ghost-to-signal ratio"}
    assert expected[artefact] in found[0].sentence
