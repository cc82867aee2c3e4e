"""Which voxel size the finest network sees: nnU-Net's rule (Isensee et al., Nat Methods 2021)."""

from __future__ import annotations

import numpy as np

from striate.core.counted import counted
from striate.planning.fingerprint import Fingerprint
from striate.planning.rules import Decision

ANISOTROPY = 3.0


def target_spacing(facts: Fingerprint) -> Decision[tuple[float, ...]]:
    """Return the median spacing in mm along RAS axes; a far coarser axis takes its 10th percentile."""
    all_mm = np.array([c.spacing_mm for c in facts.cases])
    sizes = np.median([c.cropped for c in facts.cases], axis=0)
    chosen = np.median(all_mm, axis=0)
    worst = int(np.argmax(chosen))
    others = [a for a in range(len(chosen)) if a != worst]
    reason = f"median of {counted(len(all_mm), 'case')}"
    if chosen[worst] > ANISOTROPY * max(chosen[others]) and sizes[worst] * ANISOTROPY < min(sizes[others]):
        fine = float(np.percentile(all_mm[:, worst], 10))
        chosen[worst] = max(fine, max(chosen[others]) + 1e-5)
        reason += f"; thick slices along axis {worst}: its 10th percentile, so that thin-slice cases are not blurred"
    return Decision(tuple(round(float(v), 5) for v in chosen), reason)
