"""`invariance` measures what moving, enlarging and a neighbour change; maxima stand clutter, means do not."""

from __future__ import annotations

import json
import math

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError
from striate.inference.invariance import Invariance, enlarged, invariance, shifted


def objects(side: int = 96) -> torch.Tensor:
    """Four arrangements of two bars in the middle of a dark image (4, 1, side, side)."""
    y, x = torch.meshgrid(torch.arange(side) - side // 2, torch.arange(side) - side // 2, indexing="ij")
    one = (x.abs() <= 1.5) & (y.abs() <= 9) | ((x - y).abs() <= 2) & (x.abs() <= 7)
    two = (x.abs() <= 1.2) & (y.abs() <= 7) | ((x - y).abs() <= 1.6) & (x.abs() <= 5)
    return torch.stack([one, two, one.flip(0), one.T])[:, None].float()


def test_numbers_by_hand() -> None:
    images = torch.zeros(2, 1, 4, 4)
    images[0, 0, 1, 1], images[1, 0, 1, 1], images[1, 0, 2, 2] = 2, 3, 4
    found = invariance(lambda x: x, images, shifts=[(0, 0), (1, 1)], scales=[1.0], clutter=[(2, 2)])
    same, moved = found.shift
    assert (same.cosine, same.relative_l2, same.of_difference, same.recognised) == pytest.approx((1, 0, 0, 1))
    # image 0: 2 at (1, 1) → (2, 2); image 1: 3, 4 → 3 at (2, 2), 4 at (3, 3)
    lengths = [math.sqrt(8), math.sqrt(9 + 1 + 16)]
    apart = math.sqrt(1 + 16)
    assert moved.amount == (1, 1)
    assert moved.cosine == pytest.approx((0 + 12 / 25) / 2)
    assert moved.relative_l2 == pytest.approx((lengths[0] / 2 + lengths[1] / 5) / 2)
    assert moved.of_difference == pytest.approx(sum(lengths) / 2 / apart)
    assert found.scale[0].relative_l2 == pytest.approx(0, abs=1e-6)
    # neighbours are the other image, moved by (2, 2): 3 at (3, 3) beside image 0, 2 at (3, 3) beside image 1
    assert found.clutter[0].relative_l2 == pytest.approx((3 / 2 + 2 / 5) / 2)
    assert json.loads(json.dumps(found.to_dict()))["shift"][1]["amount"] == [1, 1]


def test_one_image_has_no_others_to_differ_from() -> None:
    found = invariance(lambda x: x, torch.rand(1, 1, 6, 6), shifts=[(1, 0)])
    assert found.shift[0].of_difference is None
    assert found == Invariance(1, found.shift, (), ())


def test_shift_and_scale_keep_the_background() -> None:
    images = torch.full((1, 2, 5, 4, 3), -0.5)
    images[0, :, 2, 2, 1] = 7
    moved = shifted(images, (1, -2, 0))
    assert moved[0, 0, 3, 0, 1] == 7 and (moved == -0.5).sum() == moved.numel() - 2
    assert (shifted(images, (9, 0, 0)) == -0.5).all()
    assert torch.allclose(enlarged(torch.full((1, 1, 5, 5), 3.0), 0.5), torch.tensor(3.0))
    square = torch.zeros(1, 1, 12, 12)
    square[..., 4:8, 4:8] = 1
    assert float(enlarged(square, 2.0).sum()) == pytest.approx(64, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"shifts": [(1, 2, 3)]}, r"shifts: \(1, 2, 3\); one number of voxels for each of 2 axes"),
        ({"clutter": [(1,)]}, "clutter: "),
        ({"scales": [0.0]}, "a factor above 0 is needed"),
        ({"neighbours": torch.zeros(2, 1, 9, 9)}, r"neighbours: shape \(2, 1, 9, 9\)"),
    ],
)
def test_what_cannot_be_done_is_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        invariance(lambda x: x, torch.zeros(2, 1, 8, 8), **wrong)
    with pytest.raises(UsageError, match="2D or 3D"):
        invariance(lambda x: x, torch.zeros(8, 8))


def measured(pooling: str) -> Invariance:
    """Measure C2 of `hmax`, organised on the same objects."""
    network = networks.create("hmax", prototype_sizes=(4,), prototypes=50, bands=4, pooling=pooling).eval()
    network.organise(objects(), torch.Generator().manual_seed(0))
    return invariance(
        network.c2, objects(), shifts=[(3, -2), (8, 8)], scales=[1.19, 0.84], clutter=[(0, 28), (26, -22)]
    )


def test_the_maximum_stands_clutter_and_the_mean_does_not() -> None:
    """Riesenhuber and Poggio 1999: both stand a shift, but the mean takes in whatever lies beside the object."""
    largest, mean = measured("max"), measured("mean")
    assert all(change.cosine > 0.998 for change in (*largest.shift, *largest.scale))
    for change in (*largest.shift, *largest.scale, *largest.clutter):
        assert change.of_difference is not None and change.of_difference < 1
    assert all(change.of_difference is not None and change.of_difference < 0.2 for change in mean.shift)
    for beside, blurred in zip(largest.clutter, mean.clutter, strict=True):
        assert beside.of_difference is not None and blurred.of_difference is not None
        assert blurred.of_difference > 3 > 3 * beside.of_difference
        assert blurred.recognised <= beside.recognised


if __name__ == "__main__":  # the figures of docs/networks/hmax.md
    for pooling in ("max", "mean"):
        result = measured(pooling)
        for kind in ("shift", "scale", "clutter"):
            print(
                pooling, kind, [(c.amount, round(c.of_difference or 0, 2), c.recognised) for c in getattr(result, kind)]
            )
