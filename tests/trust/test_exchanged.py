"""Masks that do not belong to their images, told by how far they stand out there."""

import numpy as np
import pytest

from striate.core.image import Image, LabelMap
from striate.trust.exchanged import contrasts, exchanged, stray


def ball(centre, radius=4):
    return ((np.indices((40, 40, 40)) - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) < radius**2


PLACES = (12, 12, 12), (27, 27, 27), (12, 27, 12)


def scan(mask, seed, bright=4.0, noise=1.0):
    noisy = np.random.default_rng(seed).normal(100, noise, mask.shape)
    return Image((noisy + bright * mask)[None].astype(np.float32), np.eye(4))


def judged(images, masks):
    found = contrasts(images, tuple(LabelMap(m.astype(np.uint8), np.eye(4)) for m in masks))
    return exchanged(found), stray(found)


OLD, NEW, FOREIGN = ball(PLACES[0]), ball(PLACES[0]) | ball(PLACES[1]), ball(PLACES[2])
IMAGES = scan(OLD, 1), scan(NEW, 2)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ((OLD, NEW), (False, (False, False))),
        ((NEW, OLD), (True, (False, False))),
        ((NEW, OLD & False), (True, (False, False))),
        ((OLD, FOREIGN), (False, (False, True))),
        ((FOREIGN, NEW), (False, (True, False))),
        ((OLD & False, NEW), (False, (False, False))),
        ((OLD & False, NEW & False), (False, (False, False))),
    ],
)
def test_masks_of_other_scans_are_told(masks, expected):
    assert judged(IMAGES, masks) == expected


def test_nothing_is_told_of_a_noisier_visit_or_where_no_lesion_stands_out():
    assert judged((scan(OLD, 1, noise=2.0), IMAGES[1]), (OLD, NEW)) == (False, (False, False))
    assert judged((scan(OLD, 1, bright=0), scan(NEW, 2, bright=0.5)), (OLD, NEW)) == (False, (False, False))


def test_on_different_grids_each_mask_is_seen_on_its_own_image_only():
    moved = np.diag([1, 1, 1.5, 1])
    images = IMAGES[0], Image(IMAGES[1].array, moved)
    labels = LabelMap(OLD.astype(np.uint8), np.eye(4)), LabelMap(FOREIGN.astype(np.uint8), moved)
    found = contrasts(images, labels)
    assert np.isnan(found[[0, 1], [1, 0]]).all() and not exchanged(found) and stray(found) == (False, True)
