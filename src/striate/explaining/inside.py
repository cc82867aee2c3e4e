"""Check that the explanation is denser in the target than around it.

Share of the absolute attribution that lies in the target, against the share of the tissue that the target is (the energy-based
pointing game of H. Wang et al., Score-CAM, CVPR Workshops 2020, made relative to size). A network may look around a lesion with
good reason; what is asked is only that the lesion gets more than its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.explaining.scene import Scene
from striate.explaining.verdict import Verdict

BOUND = 1.0
"""The share of the attribution, divided by the share of the volume, must exceed this."""


def check(scene: Scene, attribution: NDArray[np.float32]) -> Verdict:
    """Compare the target's share of the attribution with its share of the tissue."""
    if scene.inside is None:
        return Verdict("inside", None, "Not measured: a class of a whole image has no lesion to look into.")
    looked = scene.tissue | scene.inside
    strength = np.abs(attribution).sum(axis=0, dtype=np.float64)
    total = float(strength[looked].sum())
    if total == 0:
        return Verdict("inside", False, "The map is 0 everywhere: it explains nothing.")
    share = float(strength[scene.inside].sum()) / total
    size = np.count_nonzero(scene.inside) / np.count_nonzero(looked)
    sentence = (
        f"{100 * share:.2g} % of the attribution lies in the target, which is {100 * size:.2g} % of the tissue:"
        f" {share / size:.3g} times its share; more than {BOUND:g} is needed."
    )
    numbers = {"share_inside": share, "share_of_volume": size, "ratio": share / size, "bound": BOUND}
    return Verdict("inside", bool(share / size > BOUND), sentence, numbers)
