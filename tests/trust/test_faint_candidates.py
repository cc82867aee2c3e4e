"""Candidates beyond the masks: by hand, and a whole curve against a plain computation with sets of voxels."""

import numpy as np
import pytest
from scipy import ndimage

from striate.core.errors import GeometryError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import LOGITS, quantise
from striate.measure.detection import CURVE, LARGEST, Detection, Ranked
from striate.measure.froc import CPM_POINTS
from striate.measure.lesions import LesionOverlap, LesionRule
from striate.trust.candidates import candidates_of

TARGETS = Targets({"lesion": (1,)}, exclusive=False)


def label_map(mask):
    return LabelMap(mask.astype(np.uint8), np.eye(4))


def found_of(probability, truth, rule=None):
    shares = {"lesion": quantise(probability)}
    return candidates_of(label_map(probability > 0.5), label_map(truth), TARGETS, shares, rule)["lesion"]


def flat(**places):
    """Return a flat row of 60 voxels with one value at each place: p10=0.3."""
    row = np.zeros((60, 3, 1), np.float32)
    for name, value in places.items():
        row[int(name[1:]), 1] = value
    return row


def test_by_hand():
    """The mask finds the lesion at 0 and misses the one at 20; a faint candidate finds that, after one false alarm each."""
    probability = flat(p0=0.9, p1=0.8, p10=0.7, p20=0.2, p30=0.3, p40=0.05)
    truth = flat(p1=1, p20=1, p21=1, p50=1)
    one = found_of(probability, truth)
    assert one.overlap.predicted_voxels.tolist() == [2, 1, 1, 1, 1]
    assert [lesion.real for lesion in one.lesions] == [True, False, True, False, False]
    assert one.largest == pytest.approx([0.9, 0.7, 0.2, 0.3, 0.05], abs=0.01)
    masks = {"a": LesionOverlap.of(probability > 0.5, truth, 1)}
    found = Detection.of(masks, Ranked({"a": one.overlap}, [one.largest], LARGEST), {"a": "s"})
    assert (found.found, found.false_positives, found.sensitivity.value) == (1, 1, pytest.approx(1 / 3))
    assert (found.candidates, found.most_found, found.most_false_positives) == (5, 2, 3)
    assert found.most_false_positives_per_scan == 3 and found.ranked_by == "largest"
    # 0.9 finds; 0.7 and 0.3 are false; 0.2 finds; 0.05 is false
    assert [found.at[n].value for n in CPM_POINTS] == pytest.approx([1 / 3] * 4 + [2 / 3] * 3)
    assert found.mean_sensitivity.value == pytest.approx((4 + 6) / 21)
    assert Detection.from_dict(found.to_dict()) == found


def test_the_rule_of_lesions_holds_for_candidates():
    probability, truth = flat(p20=0.2), flat(p20=1, p21=1, p22=1)
    strict = found_of(probability, truth, LesionRule(minimal_overlap=0.5))
    assert strict.overlap.match().found == 0 and found_of(probability, truth).overlap.match().found == 1


def test_another_grid_is_refused():
    truth = LabelMap(np.zeros((60, 3, 1), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(GeometryError):
        candidates_of(label_map(flat() > 0), truth, TARGETS, {"lesion": quantise(flat())})


def parts(mask):
    """Return the components of a mask as sets of voxels."""
    numbers, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return [{tuple(place) for place in np.argwhere(numbers == n)} for n in range(1, count + 1)]


def plain(cases, at):
    """Return the sensitivity at each number of false alarms per scan; a case: (candidates with scores, true lesions)."""
    total, best = sum(len(lesions) for _, lesions in cases), dict.fromkeys(at, 0.0)
    for threshold in {score for candidates, _ in cases for _, score in candidates}:
        found = false = 0
        for candidates, lesions in cases:
            kept = [voxels for voxels, score in candidates if score >= threshold]
            found += sum(any(lesion & voxels for voxels in kept) for lesion in lesions)
            false += sum(not any(lesion & voxels for lesion in lesions) for voxels in kept)
        for n in at:
            if false / len(cases) <= n:
                best[n] = max(best[n], found / total)
    return best


def test_the_curve_is_that_of_a_plain_computation():
    rng = np.random.default_rng(4)
    masks, overlaps, scores, cases = {}, {}, [], []
    for n in range(6):
        smooth = ndimage.gaussian_filter(rng.normal(size=(16, 15, 14)), 1)
        noise = ndimage.gaussian_filter(rng.normal(size=smooth.shape), 1)
        smooth, noise = smooth / smooth.std(), noise / noise.std()
        truth, probability = smooth > 2.2, 1 / (1 + np.exp(-4 * (0.8 * smooth + 0.6 * noise - 2.1)))
        one, bins = found_of(probability, truth), quantise(probability)
        name = f"c{n}"
        masks[name], overlaps[name] = LesionOverlap.of(probability > 0.5, truth, 1), one.overlap
        scores.append(one.largest)
        hills = parts(hills_of(probability > 0.5, bins))
        told = [max(1 / (1 + np.exp(-LOGITS[bins[place]])) for place in voxels) for voxels in hills]
        cases.append(([(v, round(s, 9)) for v, s in zip(hills, told, strict=True)], parts(truth)))
    found = Detection.of(masks, Ranked(overlaps, scores, LARGEST), {name: name for name in masks})
    want = plain(cases, CURVE)
    assert [found.curve[n].value for n in CURVE] == pytest.approx([want[n] for n in CURVE])
    assert found.most_found > found.found and len({e.value for e in found.curve.values()}) > 5


def hills_of(mask, bins):
    """Return mask and hills by flooding: from each free voxel all that has at least half of its probability."""
    probability = 1 / (1 + np.exp(-LOGITS[bins]))
    level = np.where(probability >= 0.005, np.floor(8 * np.log2(np.maximum(probability, 0.005) / 0.005) + 1e-6) + 1, 0)
    heights, found = np.where(mask, 999, level), mask.copy()
    for height in np.unique(heights[(heights >= 9) & ~mask]):
        numbers, count = ndimage.label(heights >= height - 8, np.ones((3, 3, 3)))
        tops = ndimage.maximum(heights, numbers, range(1, count + 1))
        found |= np.isin(numbers, 1 + np.flatnonzero(tops == height))
    return found
