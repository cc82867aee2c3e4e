"""Batches of whole images: a pure function of seed, rank and step; every variation against an independent one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage
from whole import AS_STORED, FLAT, SLICES, pictures, planes, scan

from striate.core.errors import UsageError
from striate.data.augment import Augmentation
from striate.data.draw_samples import SampleSampling, vary
from striate.data.loader import Loader
from striate.data.samples import SampleForm, SampleStore

NOTHING = Augmentation(
    affine=0, elastic=0, noise=0, blur=0, brightness=0, contrast=0, gamma=0, low_resolution=0, bias_field=0
)
ALL = NOTHING.changed(affine=0.8, noise=0.8, brightness=0.8, contrast=0.8, gamma=0.8, mirror_axes=(0, 1))


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Twelve pictures: two of class a, ten of class b; picture n holds n."""
    folder = tmp_path_factory.mktemp("pictures")
    cases = pictures(folder, [("a",)] * 2 + [("b",)] * 10)
    return SampleStore.build(cases, FLAT, SampleForm(size=(6, 4), classes=("a", "b")), folder / "store")


CASES = tuple(f"p{n}" for n in range(12))


def same(one, two) -> bool:
    return torch.equal(one.images, two.images) and torch.equal(one.truth, two.truth) and one.cases == two.cases


def test_a_batch_is_a_function_of_seed_rank_and_step(store):
    sampling = SampleSampling(CASES, 5, augmentation=ALL, seed=3)
    first = sampling.draw(store, 7, rank=1)
    sampling.draw(store, 2)
    assert same(first, sampling.draw(store, 7, rank=1))
    for other in (sampling.draw(store, 8, rank=1), sampling.draw(store, 7, rank=0),
                  SampleSampling(CASES, 5, augmentation=ALL, seed=4).draw(store, 7, rank=1)):  # fmt: skip
        assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("balanced", [True, False])
def test_images_stay_with_their_truth_and_case(store, balanced):
    batch = SampleSampling(CASES, 40, balanced, augmentation=None).draw(store, 0)
    assert batch.images.shape == (40, 1, 6, 4) and batch.images.dtype == torch.float32
    assert batch.truth.shape == (40,) and batch.truth.dtype == torch.uint8
    for image, truth, case in zip(batch.images, batch.truth, batch.cases, strict=True):
        number = int(case[1:])
        assert int(image[0, 1, 1]) == number and int(image[0, 0, 0]) == 255 and int(truth) == (number >= 2)


def test_rare_classes_are_drawn_as_often_as_common_ones(store):
    sampling = SampleSampling(CASES, 50, augmentation=None)
    drawn = Counter(case for step in range(24) for case in sampling.draw(store, step).cases)
    rare = sum(drawn[f"p{n}"] for n in range(2))
    assert 540 <= rare <= 660  # 1200 draws, half expected, ± 3.5 standard deviations
    assert min(drawn[f"p{n}"] for n in range(2, 12)) > 30 and set(drawn) == set(CASES)


def test_only_the_cases_that_are_given(store):
    chosen = ("p1", "p4", "p9")
    for balanced in (True, False):
        sampling = SampleSampling(chosen, 30, balanced, augmentation=None)
        assert set(sampling.draw(store, 0).cases) == set(chosen)
    alone = SampleSampling(("p5",), 3).draw(store, 0)  # one class only
    assert alone.truth.tolist() == [1, 1, 1]


@pytest.mark.parametrize("batch", [1, 5, 12, 17])
def test_each_once_before_any_again(store, batch):
    """60 draws are five rounds of twelve, wherever the batches end; no two rounds are alike."""
    sampling = SampleSampling(CASES, batch, balanced=False, augmentation=None)
    drawn = [case for step in range(-(-60 // batch)) for case in sampling.draw(store, step).cases]
    rounds = [drawn[i : i + 12] for i in range(0, 60, 12)]
    assert all(sorted(r) == sorted(CASES) for r in rounds)
    assert len({tuple(r) for r in rounds}) == 5
    assert rounds[0] != [c for step in range(12) for c in sampling.draw(store, step, rank=1).cases][:12]


def test_classes_that_go_together_are_drawn_in_rounds(tmp_path):
    cases = pictures(tmp_path, [("a", "b"), (), ("b",)])
    form = SampleForm(size=(6, 4), classes=("a", "b"), exclusive=False)
    batch = SampleSampling(("p0", "p1", "p2"), 3, augmentation=None).draw(
        SampleStore.build(cases, FLAT, form, tmp_path / "s"), 0
    )
    assert {c: t.tolist() for c, t in zip(batch.cases, batch.truth, strict=True)} == {
        "p0": [1, 1], "p1": [0, 0], "p2": [0, 1],
    }  # fmt: skip


def test_sequences_are_balanced_by_what_they_hold(tmp_path):
    label = np.zeros((6, 4, 24), np.uint8)
    label[..., 23] = 1  # in one window of eleven
    form = SLICES.changed(length=4, classes=("no", "yes"), contains=(1,))
    store = SampleStore.build([scan(tmp_path, planes(24), label=label)], AS_STORED, form, tmp_path / "s")
    assert store.images.shape[0] == 11 and store.truth.max(axis=1).sum() == 1
    batch = SampleSampling(("a",), 200, augmentation=None).draw(store, 0)
    assert batch.images.shape == (200, 4, 1, 6, 4) and batch.truth.shape == (200, 4)
    assert 75 <= int(batch.truth.max(dim=1).values.sum()) <= 125
    assert torch.equal(batch.truth[:, 3], (batch.images[:, 3, 0, 0, 0] == 24).to(torch.uint8))


def test_no_case(store):
    with pytest.raises(UsageError, match="at least one case"):
        SampleSampling((), 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_goes_on_where_it_stopped(store, workers):
    sampling = SampleSampling(CASES, 4, augmentation=ALL, seed=1)
    with Loader(store, sampling, stop_step=6, workers=0) as whole:
        straight = dict(whole)
    with Loader(store, sampling, start_step=3, stop_step=6, workers=workers) as rest:
        resumed = dict(rest)
    assert list(straight) == list(range(6)) and list(resumed) == [3, 4, 5]
    assert all(same(batch, straight[step]) for step, batch in resumed.items())


IMAGES = [(2, 3, 8, 6), (2, 3, 8, 6, 4)]


@pytest.mark.parametrize("shape", IMAGES)
def test_nothing_asked_nothing_changed(shape):
    images = torch.randn(shape)
    assert torch.equal(vary(images, NOTHING, generator(), len(shape) - 2), images)


@pytest.mark.parametrize("shape", IMAGES)
def test_the_same_numbers_the_same_images(shape):
    images, dims = torch.randn(shape), len(shape) - 2
    before = images.clone()
    one, two = (vary(images, ALL, generator(5), dims) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(images, before) and torch.isfinite(one).all()
    assert not torch.equal(one, vary(images, ALL, generator(6), dims))


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_in_half_of_the_samples(shape, axis):
    images = torch.randn((40, *shape[1:]))
    found = vary(images, NOTHING.changed(mirror_axes=(axis,)), generator(1), len(shape) - 2)
    flipped = images.flip(2 + axis)
    kept = [torch.equal(f, i) for f, i in zip(found, images, strict=True)]
    turned_over = [torch.equal(f, i) for f, i in zip(found, flipped, strict=True)]
    assert all(k != t for k, t in zip(kept, turned_over, strict=True)) and 8 <= sum(kept) <= 32


def smooth(shape, seed=2):
    """Return an image without edges, of float64."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3, mode="nearest")


def turned(image, found_by):
    """Return the angle whose rotation by scipy comes nearest to `found_by`, in degrees, and the largest difference."""
    inner = (slice(6, -6),) * 2
    errors = {}
    for angle in np.arange(-30, 30.1, 0.5):
        again = ndimage.rotate(image, angle, reshape=False, order=1, mode="nearest")
        errors[angle] = np.abs(again - found_by)[inner].max()
    best = min(errors, key=errors.get)
    return best, errors[best]


def test_rotation_against_scipy():
    """On a picture that is not square, so that a mix of voxels and relative coordinates would show."""
    image = smooth((40, 28))
    images = torch.from_numpy(image).float().expand(6, 1, 40, 28)
    a = NOTHING.changed(affine=1.0, rotation_degrees=30.0, scale=(1.0, 1.0))
    found = vary(images, a, generator(3), 2).numpy()
    angles = []
    for one in found:
        angle, error = turned(image, one[0])
        assert error < 0.06 * np.ptp(image)  # half of the angle's step
        angles.append(angle)
    assert max(angles) > 5 and min(angles) < -5 and len(set(angles)) > 3


def test_the_angle_is_what_was_drawn():
    """The draws are repeated here, and the picture is turned by exactly that angle."""
    image = smooth((40, 28))
    images = torch.from_numpy(image).float()[None, None]
    a = NOTHING.changed(affine=1.0, rotation_degrees=30.0, scale=(1.0, 1.0))
    found = vary(images, a, generator(3), 2)[0, 0].numpy()
    rng = generator(3)
    for _ in range(2):  # whether, and whether it grows
        rng.random(1)
    for _ in range(2):  # by how much
        rng.uniform(1, 1, 1)
    angle = np.rad2deg(np.deg2rad(rng.uniform(-30, 30, (1, 3)))[0, 0])
    inner = (slice(6, -6),) * 2
    errors = [
        np.abs(ndimage.rotate(image, sign * angle, reshape=False, order=1, mode="nearest") - found)[inner].max()
        for sign in (1, -1)
    ]
    assert min(errors) < 1e-5 < max(errors)


@pytest.mark.parametrize(("factor", "size"), [(2.0, 12), (0.5, 3)])
def test_scale_by_hand(factor, size):
    """A box of 6 voxels becomes one of twice or half of its size, about the centre, along every axis."""
    box = torch.zeros(1, 1, 24, 20, 16)
    box[:, :, 9:15, 7:13, 5:11] = 1
    a = NOTHING.changed(affine=1.0, rotation_degrees=0.0, scale=(factor, factor) if factor < 1 else (1.0, factor))
    rng = generator()
    while True:  # draw until it grows (or shrinks) by nearly all of it
        found = vary(box, a, rng, 3)
        change = float(found.sum() / box.sum()) ** (1 / 3)
        if (change > 0.95 * factor) if factor > 1 else (change < 1.05 * factor):
            break
    for axis in range(3):
        line = found[0, 0].sum(dim=[d for d in range(3) if d != axis])
        extent = float(line.sum() / line.max())
        centre = float((line * torch.arange(len(line))).sum() / line.sum())
        assert extent == pytest.approx(6 * change, rel=0.02) and extent == pytest.approx(size, rel=0.06)
        assert centre == pytest.approx((len(line) - 1) / 2, abs=1e-3)


@pytest.mark.parametrize("mirrors", [(), (0, 1)])
def test_a_sequence_moves_as_one(mirrors):
    one = torch.from_numpy(smooth((20, 16))).float()
    images = one.expand(8, 4, 1, 20, 16)
    a = NOTHING.changed(affine=1.0, brightness=1.0, contrast=1.0, gamma=1.0, mirror_axes=mirrors)
    found = vary(images, a, generator(1), 2)
    assert found.shape == images.shape
    assert torch.allclose(found, found[:, :1].expand_as(found), atol=1e-5)
    assert len({round(float(f.std()), 5) for f in found}) == 8  # each in its own way


def test_brightness_and_contrast_by_hand():
    images = torch.rand(30, 2, 8, 8) + 1
    bright = vary(images, NOTHING.changed(brightness=1.0), generator(), 2) / images
    factors = bright.mean(dim=(2, 3))
    assert torch.allclose(bright, factors[..., None, None].expand_as(bright), atol=1e-5)
    assert factors.min() > 0.74 and factors.max() < 1.26 and factors.max() - factors.min() > 0.3
    assert not torch.allclose(factors[:, 0], factors[:, 1])  # each channel in its own way
    harder = vary(images, NOTHING.changed(contrast=1.0), generator(), 2)
    assert torch.allclose(harder.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5)
    ratio = harder.std(dim=(2, 3)) / images.std(dim=(2, 3))
    assert ratio.min() > 0.74 and ratio.max() < 1.26 and ratio.max() - ratio.min() > 0.3


def test_gamma_keeps_the_range_and_the_order():
    images = torch.rand(10, 1, 8, 8) * 3 - 1
    found = vary(images, NOTHING.changed(gamma=1.0), generator(), 2)
    for a, b in ((found.amin(dim=(2, 3)), images.amin(dim=(2, 3))), (found.amax(dim=(2, 3)), images.amax(dim=(2, 3)))):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.equal(found.flatten(1).argsort(dim=1), images.flatten(1).argsort(dim=1))
    assert (found - images).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_noise_has_the_strength_that_was_asked_for():
    images = torch.zeros(400, 1, 12, 12)
    found = vary(images, NOTHING.changed(noise=0.5), generator(), 2)
    strength = found.std(dim=(1, 2, 3))
    assert 160 <= int((strength > 0).sum()) <= 240
    assert float(strength.max()) < 0.316 * 1.25
    assert float((strength[strength > 0] ** 2).mean()) == pytest.approx(0.05, rel=0.2)


def test_background_stays_zero_where_it_must():
    images = torch.randn(4, 2, 8, 8)
    images[..., :3] = 0
    a = NOTHING.changed(noise=1.0, brightness=1.0, contrast=1.0, gamma=1.0)
    found = vary(images, a, generator(), 2, keep_zero=(True, False))
    assert (found[:, 0, :, :3] == 0).all() and (found[:, 0, :, 3:] != images[:, 0, :, 3:]).all()
    assert (found[:, 1, :, :3] != 0).any()


def test_the_store_says_which_channels_keep_their_zero(tmp_path):
    array = np.random.default_rng(0).normal(100, 20, (6, 4, 3)).astype(np.float32)
    array[:3] = 0
    scheme = AS_STORED.changed(normalisation=("zscore_nonzero",))
    store = SampleStore.build([scan(tmp_path, array)], scheme, SLICES, tmp_path / "s")
    batch = SampleSampling(("a",), 6, augmentation=NOTHING.changed(noise=1.0)).draw(store, 0)
    assert (batch.images[:, :, :3] == 0).all() and (batch.images[:, :, 3:] != 0).all()


def test_where_it_is_told_to_write(store):
    sampling = SampleSampling(CASES, 4)
    out = torch.full((4, 1, 6, 4), -1.0), torch.full((4,), 9, dtype=torch.uint8)
    batch = sampling.draw(store, 1, out=out)
    assert batch.images is out[0] and batch.truth is out[1] and same(batch, sampling.draw(store, 1))
    assert sampling.shapes(store) == ((4, 1, 6, 4), (4,))
