"""The first layers of `inception_v3` and `inception_resnet_v2`: 3×299×299 → 192×35×35.

For small images the first convolution and the first pooling keep the resolution, as H.-C. Shin et al. (IEEE TMI
35(5):1285-1298, 2016) changed GoogLeNet for images of 64×64. C. Szegedy et al. (CVPR 2016, section 9) compare the same at
79×79, with the pooling left out: 75.2 % of images right, against 76.6 % at 299×299 for the same number of operations.
79 is also the size that gives the grids of 35, 17 and 8 voxels here.
"""

from __future__ import annotations

from striate.networks.layers.branches import Conv, Maximum, Step

LEAST, LEAST_SMALL = 75, 23
"""Smallest size that leaves one voxel of the third grid, normal and for small images; the same with Inception-v4's stem."""


def stem(*, small_input: bool) -> list[Step]:
    """Return the steps from the image to the first grid."""
    stride = 1 if small_input else 2
    return [
        Conv(32, 3, stride, padded=False),
        Conv(32, 3, padded=False),
        Conv(64, 3),
        Maximum(stride),
        Conv(80),
        Conv(192, 3, padded=False),
        Maximum(),
    ]
