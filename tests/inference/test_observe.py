"""What is observed beside a mask, against a direct computation in float64 on full-size probabilities."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch

from striate.core.case import Case
from striate.core.errors import GeometryError
from striate.core.image import Image, LabelMap
from striate.core.targets import Targets
from striate.data.prepare import Preparation, prepare_images
from striate.inference.observe import Observer
from striate.inference.observed import BINS, LOGITS, REACH, quantise
from striate.inference.predict import predict_case
from striate.inference.probabilities import ProbabilityWriter
from striate.inference.restore import Restorer
from striate.io.read import read_image
from striate.io.write import write_image

LABELS = Targets.of_labels({1: "core", 2: "oedema", 5: "cyst"})
REGIONS = Targets({"tumour": (1, 2, 3, 4), "core": (1, 3, 4)}, exclusive=False)
LOWEST = 1e-7


def _oblique():
    """Return an affine whose axes are permuted, one reversed, and all turned by 13°."""
    angle = np.deg2rad(13)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag([1.0, 1.1, 2.0]))[:, [2, 0, 1]] * [1, -1, 1]
    affine[:3, 3] = (-31.7, 12.9, 101.3)
    return affine


def _prepared(shape, wanted_mm, affine, crop=True):
    """Return a case whose border of two voxels is background, on a grid that the network sees at `wanted_mm`."""
    array = np.zeros((1, *shape), dtype=np.float32)
    inner = tuple(slice(2, n - 2) for n in shape)
    array[(0, *inner)] = np.random.default_rng(0).normal(100, 10, [n - 4 for n in shape])
    plan = Preparation(spacing_mm=wanted_mm, normalisation=("none",), intensities=(None,), crop=crop)
    return prepare_images([Image(array, affine)], plan, "p")


def _shares(prepared, targets, seed=0, sharpness=6.0):
    """Return probabilities (K, *grid) float32, certain in most places."""
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn((targets.out_channels, *prepared.grid.shape), generator=generator)
    return (logits.softmax(0) if targets.exclusive else logits.sigmoid()).numpy()


def _observed(prepared, targets, shares, axis, truth=None, cuts=(3, 1, 2)):
    """Restore a copy of `shares`, handed over in portions of `cuts` rows along `axis`."""
    observer = Observer(prepared, targets, truth)
    restorer, at, turn = Restorer(prepared, targets, axis, observer=observer), 0, 0
    rows = np.moveaxis(shares.copy(), 1 + axis, 1)
    while at < rows.shape[1]:
        restorer.push(at, rows[:, at : at + cuts[turn % len(cuts)]])
        at, turn = at + cuts[turn % len(cuts)], turn + 1
    return restorer.finish(), observer.finish()


def _bins(shares):
    """Return the bins of probabilities, from their logits in float64."""
    kept = np.clip(np.asarray(shares, dtype=np.float64), LOWEST, 1 - LOWEST)
    logits = np.log(kept) - np.log1p(-kept)
    return np.clip(np.round((logits + REACH) / (2 * REACH) * (BINS - 1)), 0, BINS - 1).astype(int)


def _on_cropped(prepared, shares):
    """Return probabilities (K, *cropped) by torch's interpolation; only where no axis is made coarser."""
    shape, mode = prepared.cropped.shape, "trilinear" if shares.ndim == 4 else "bilinear"
    if prepared.grid.shape == shape:
        return shares.astype(np.float64)
    return torch.nn.functional.interpolate(torch.from_numpy(shares[None]).double(), size=shape, mode=mode)[0].numpy()


def _cropped(prepared, array):
    return prepared.reorientation.apply(array)[prepared.crop]


def _truth(prepared, targets, seed=5):
    values = np.array([0, *targets.values, 9])
    drawn = np.random.default_rng(seed).integers(len(values), size=prepared.source.shape)
    return LabelMap(values[drawn].astype(np.int16), prepared.source.affine)


def _close(counts, bins, where):
    """Compare counts with the direct ones; a float32 logit may fall into the neighbouring bin at an edge."""
    direct = np.bincount(bins[where], minlength=BINS)
    assert counts.sum() == direct.sum()
    assert np.abs(np.cumsum(counts) - np.cumsum(direct)).max() <= max(2, 0.002 * direct.sum())


GRIDS = {
    "3D as it is": ((9, 8, 10), (1.0, 1.1, 2.0), np.diag([1.0, 1.1, 2.0, 1.0])),
    "3D resampled, oblique": ((12, 11, 13), (1.7, 1.5, 3.0), _oblique()),
    "2D": ((15, 12), (1.0, 1.0), np.eye(4)),
    "2D resampled": ((15, 12), (1.6, 1.3), np.eye(4)),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("grid", GRIDS)
def test_exclusive_labels_by_float64(grid, axis):
    prepared = _prepared(*GRIDS[grid])
    shares, truth = _shares(prepared, LABELS), _truth(prepared, LABELS)
    label, observed = _observed(prepared, LABELS, shares, axis, truth)
    whole, said = _on_cropped(prepared, shares), _cropped(prepared, label.array)
    true = _cropped(prepared, truth.array)
    assert np.array_equal(said, np.array([0, 1, 2, 5])[whole.argmax(0)])
    for index, (name, (value,)) in enumerate(LABELS.sets.items(), start=1):
        bins = _bins(whole[index])
        assert observed.counts[name].dtype == np.int64 and observed.counts[name].shape == (2, BINS)
        _close(observed.counts[name][0], bins, said != value)
        _close(observed.counts[name][1], bins, said == value)
        _close(observed.true_counts[name][0], bins, (said != value) & (true == value))
        _close(observed.true_counts[name][1], bins, (said == value) & (true == value))
        own = _cropped(prepared, observed.shares[name]).astype(int)
        assert observed.shares[name].dtype == np.uint8 and np.abs(own - bins).max() <= 1
        certainty = observed.certainty[name]
        assert certainty.shape == prepared.source.shape and certainty.dtype == np.uint8
        assert np.abs(_cropped(prepared, certainty).astype(int) - _bins(whole.max(0))).max() <= 1
    assert observed.certainty["core"] is observed.certainty["cyst"]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("grid", GRIDS)
def test_regions_by_float64(grid, axis):
    prepared = _prepared(*GRIDS[grid])
    shares, truth = _shares(prepared, REGIONS, sharpness=3), _truth(prepared, REGIONS)
    label, observed = _observed(prepared, REGIONS, shares, axis, truth)
    whole = _on_cropped(prepared, shares)
    for index, (name, values) in enumerate(REGIONS.sets.items()):
        bins = _bins(whole[index])
        said = np.isin(_cropped(prepared, label.array), values)
        true = np.isin(_cropped(prepared, truth.array), values)
        _close(observed.counts[name][0], bins, ~said)
        _close(observed.counts[name][1], bins, said)
        _close(observed.true_counts[name][0], bins, ~said & true)
        _close(observed.true_counts[name][1], bins, said & true)
        assert np.abs(_cropped(prepared, observed.certainty[name]).astype(int) - bins).max() <= 1


def test_without_truth_nothing_is_true():
    prepared = _prepared(*GRIDS["2D"])
    _, observed = _observed(prepared, LABELS, _shares(prepared, LABELS), 0)
    assert observed.true_counts == {} and observed.features.size == 0
    assert all(counts.sum() == np.prod(prepared.cropped.shape) for counts in observed.counts.values())


@pytest.mark.parametrize(("targets", "outside"), [(LABELS, BINS - 1), (REGIONS, 0)])
def test_outside_of_the_crop(targets, outside):
    prepared = _prepared(*GRIDS["3D resampled, oblique"])
    _, observed = _observed(prepared, targets, _shares(prepared, targets), 2)
    beyond = np.ones(prepared.source.shape, dtype=bool)
    prepared.reorientation.apply(beyond)[prepared.crop] = False
    assert beyond.any() and not beyond.all()
    assert all((certainty[beyond] == outside).all() for certainty in observed.certainty.values())


def test_truth_outside_of_the_crop_is_not_counted():
    prepared = _prepared(*GRIDS["3D as it is"])
    truth = LabelMap(np.ones(prepared.source.shape, dtype=np.uint8), prepared.source.affine)
    _, observed = _observed(prepared, LABELS, _shares(prepared, LABELS), 0, truth)
    assert observed.true_counts["core"].sum() == np.prod(prepared.cropped.shape)
    assert observed.true_counts["cyst"].sum() == 0


def test_many_labels_and_portions_change_nothing(monkeypatch):
    targets = Targets.of_labels({i: f"l{i}" for i in range(1, 121)})
    prepared = _prepared(*GRIDS["3D resampled, oblique"])
    shares, truth = _shares(prepared, targets), _truth(prepared, targets)
    found = []
    for size in (1, 64_000_000):
        monkeypatch.setattr("striate.inference.restore.ROWS_BYTES", size)
        found.append(_observed(prepared, targets, shares, 1, truth)[1])
    for name in targets.names:
        assert np.array_equal(found[0].counts[name], found[1].counts[name])
        assert np.array_equal(found[0].true_counts[name], found[1].true_counts[name])
        assert (found[0].true_counts[name] <= found[0].counts[name]).all()
    assert np.array_equal(found[0].certainty["l7"], found[1].certainty["l7"])
    assert sum(found[0].counts[name][1].sum() for name in targets.names) <= np.prod(prepared.cropped.shape)


def test_maps_are_not_held_twice():
    targets, shape = Targets.of_labels({i: f"l{i}" for i in range(1, 31)}), (40, 41, 42)
    prepared = _prepared(shape, (1.0, 1.0, 1.0), np.eye(4))
    truth, rows = _truth(prepared, targets), _shares(prepared, targets)
    tracemalloc.start()
    try:
        observer = Observer(prepared, targets, truth)
        Restorer(prepared, targets, 0, observer=observer).push(0, rows)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        observed = observer.finish()
        more = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(observed.shares) == 30 and all(one.shape == shape for one in observed.shares.values())
    assert more < 30 * math.prod(shape) / 2


def test_labels_that_are_nowhere_are_counted_without_a_logarithm():
    prepared = _prepared(*GRIDS["2D"])
    shares = np.zeros((4, *prepared.grid.shape), np.float32)
    shares[0] = 1
    truth = LabelMap(np.full(prepared.source.shape, 2, dtype=np.uint8), prepared.source.affine)
    _, observed = _observed(prepared, LABELS, shares, 0, truth)
    voxels = np.prod(prepared.cropped.shape)
    assert all(observed.counts[n][0, 0] == observed.counts[n].sum() == voxels for n in LABELS.names)
    assert observed.true_counts["oedema"][0, 0] == voxels
    assert (_cropped(prepared, observed.certainty["core"]) == BINS - 1).all()


def test_bins_and_their_logits():
    shares = np.array([0.0, 1e-9, 0.001, 0.3, 0.7, 0.999, 1.0], np.float32)
    assert quantise(shares).tolist() == _bins(shares).tolist()
    inner = torch.sigmoid(torch.from_numpy(LOGITS))
    assert quantise(inner.float().numpy()).tolist() == list(range(BINS))


def test_a_truth_on_another_grid_is_refused():
    prepared = _prepared(*GRIDS["2D"])
    with pytest.raises(GeometryError, match=r"case p: the truth has .* both must lie on one grid"):
        Observer(prepared, LABELS, LabelMap(np.zeros((15, 13), np.uint8), np.eye(4)))


@pytest.mark.parametrize("grid", GRIDS)
def test_maps_that_were_written_hold_what_was_observed(grid, tmp_path):
    prepared = _prepared(*GRIDS[grid])
    shares, observer = _shares(prepared, REGIONS, sharpness=5), Observer(prepared, REGIONS)
    logits = [8.4, 9.0, 10.0, 11.5]
    shares[0].reshape(-1)[: len(logits)] = 1 / (1 + np.exp(-np.array(logits)))
    with ProbabilityWriter(tmp_path, "p", REGIONS) as writer:
        Restorer(prepared, REGIONS, 0, writer, observer).push(0, shares)
        written, observed = writer.finish(), observer.finish()
    for name in REGIONS.names:
        assert np.array_equal(quantise(read_image(written[name]).array[0]), observed.certainty[name])
    seen = quantise(shares[0]).reshape(-1)[: len(logits)]
    assert np.abs(LOGITS[seen] - logits).max() <= 0.06  # half a bin and what single precision rounds


@pytest.mark.parametrize("regions", [None, {"all": (1, 2, 5), "core": (1,)}])
def test_a_case_from_its_files(model_of, tmp_path, regions):
    rng, affine = np.random.default_rng(0), np.array([[-1.0, 0, 0, 9], [0, 0, 1.5, -4], [0, 1, 0, 2], [0, 0, 0, 1]])
    array = np.zeros((1, 20, 18, 14), dtype=np.float32)
    array[:, 2:-2, 3:-1, 1:-1] = rng.normal(100, 20, (1, 16, 14, 12))
    write_image(tmp_path / "flair.nii.gz", Image(array, affine))
    model, case = model_of(channels=("flair",), regions=regions), Case("P1", "P1", {"flair": tmp_path / "flair.nii.gz"})
    plain = predict_case(model, case)
    assert plain.observed is None
    seen = predict_case(model, case, observe=True, truth=plain.label, save_probabilities=tmp_path / "maps")
    assert np.array_equal(seen.label.array, plain.label.array)
    assert seen.observed is not None
    assert seen.observed.features.size > 0 and np.isfinite(seen.observed.features).all()
    for name in model.plan.targets.names:
        counts, true = seen.observed.counts[name], seen.observed.true_counts[name]
        assert counts.sum() == 16 * 14 * 12  # voxels of the files inside of the head
        assert counts[1].sum() == model.plan.targets.mask(plain.label.array, name).sum()
        assert np.array_equal(true[1], counts[1]) and not true[0].any()
        share = read_image(seen.probabilities[name]).array[0]
        inside = array[0] != 0
        wanted = _bins(share[inside] if regions else share[inside & model.plan.targets.mask(plain.label.array, name)])
        where = inside if regions else inside & model.plan.targets.mask(plain.label.array, name)
        assert np.abs(seen.observed.certainty[name][where].astype(int) - wanted).max(initial=0) <= 1
