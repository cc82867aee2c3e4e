"""The CRF sees the images of a case, and nothing else of what the network sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from striate.core.image import Image
from striate.data.prepare import prepare_images
from striate.inference.refined import refined


@pytest.mark.parametrize("regions", [None, {"all": (1, 2, 5), "core": (1,)}])
def test_the_mask_of_a_first_stage_is_no_image(plan_of, regions):
    rng = np.random.default_rng(0)
    plan, alone = plan_of(channels=("flair",), scheme="none", regions=regions), np.zeros((1, 6, 7, 8), np.float32)
    alone[:, 2:4] = 1
    ready = prepare_images([Image(alone, np.eye(4))], plan.preparation, "P1")
    shares = rng.dirichlet(np.ones(plan.targets.out_channels), (6, 7, 8)).astype(np.float32)
    rows = np.ascontiguousarray(np.moveaxis(shares, -1, 0)[:, : ready.array.shape[1]])
    given = [(0, rows[(slice(None), *(slice(n) for n in ready.grid.shape))])]
    ((_, found),) = refined(given, ready, 1, plan.targets, 0)
    mask = rng.integers(0, 2, ready.array.shape).astype(np.float32)
    both = replace(ready, array=np.concatenate([ready.array, mask]))
    ((_, again),) = refined(given, both, 1, plan.targets, 0)
    assert np.array_equal(found, again) and not np.array_equal(found, given[0][1])
