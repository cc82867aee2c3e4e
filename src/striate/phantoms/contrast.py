"""FLAIR contrast: how bright each tissue is in one subject's scan.

White matter is 1. Grey matter is slightly brighter, most in the cortex; cerebrospinal fluid is dark because its signal
is nulled by the inversion; lesions hold more water that is not nulled and are bright; the white matter around the
ventricles is mildly bright without being a lesion (caps and bands).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from striate.phantoms.anatomy import CSF, GREY, WHITE, Array

CORTEX_MM, NUCLEI_MM = 8.0, 18.0
"""Grey matter is cortex above, and deep nuclei or brainstem below these depths; in between it is blended."""

FAINT = 0.10
"""Smaller fractions of CSF come from the template's blur and are left out."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Brightness of tissues relative to white matter.

    Attributes
    ----------
    cortex, nuclei, csf, lesion
        Relative brightness.
    sulci
        How wide sulci are, 0 (slim) to 0.4 (atrophy): CSF fractions from `FAINT` to 0.9 - `sulci` become 0 to 1.
    caps
        What is added to white matter at the wall of the ventricles; it falls to 1/e over `caps_mm`.
    """

    cortex: float
    nuclei: float
    csf: float
    lesion: float
    sulci: float
    caps: float
    caps_mm: float

    def signal(self, tissue: Array, depth_mm: Array, ventricle_mm: Array, lesion: Array, glow: Array) -> Array:
        """Return the signal without noise.

        Parameters
        ----------
        tissue
            (3, …) fractions of grey matter, white matter, CSF.
        depth_mm, ventricle_mm
            (…) distances to the brain's surface and to the ventricles.
        lesion, glow
            (…) fraction of lesion and its relative brightness.
        """
        deep = np.clip((depth_mm - CORTEX_MM) / (NUCLEI_MM - CORTEX_MM), 0, 1)
        csf = np.clip((tissue[CSF] - FAINT) / (0.9 - self.sulci - FAINT), 0, 1)
        grey, white = tissue[GREY] - (csf - tissue[CSF]), tissue[WHITE]
        solid = grey * (self.cortex + (self.nuclei - self.cortex) * deep)
        solid += white * (1.0 + self.caps * np.exp(-np.maximum(ventricle_mm, 0) / self.caps_mm))
        healthy = solid + csf * self.csf
        return np.asarray(healthy + lesion * (1.0 + (self.lesion - 1.0) * glow - healthy), dtype=np.float32)


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw one subject's contrast."""
    return Contrast(
        cortex=float(rng.uniform(1.20, 1.38)),
        nuclei=float(rng.uniform(1.03, 1.12)),
        csf=float(rng.uniform(0.12, 0.28)),
        lesion=float(rng.uniform(1.50, 1.75)),
        sulci=float(rng.uniform(0.0, 0.35)),
        caps=float(rng.uniform(0.12, 0.32)),
        caps_mm=float(rng.uniform(1.5, 3.0)),
    )
