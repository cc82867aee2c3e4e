"""Sites: scanners that differ in voxels, noise, coil, units and contrast, so that a cohort has more than one origin.

Noise and coil follow the field strength: the signal-to-noise ratio grows with it and the coil's field is less even at 3 T than at
1.5 T (Edelstein et al., Magnetic Resonance in Medicine 3(6), 1986; Collins et al., Journal of Magnetic Resonance Imaging
21(6), 2005). By its root here, because protocols spend part of the gain on speed. Relaxation times are not simulated; the
shift of contrast stands for the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from striate.phantoms.contrast import Contrast
from striate.phantoms.scanner import COARSEST_MM, FINEST_MM, Raster

MOST_SITES = 26
SITE_KEY = 1 << 20
"""First number of the random stream of a site; subjects are numbered far below it."""
THICKNESS_JITTER = 0.08
"""Slices of one scanner differ between subjects by up to this share."""


@dataclass(frozen=True, slots=True)
class Site:
    """One simulated scanner; the defaults are that of cohorts with one site.

    Attributes
    ----------
    name
        ``A``, ``B`` …
    tesla
        Field strength.
    in_plane, thickness
        Voxel size along x and y, and along z, over the size that the cohort was asked for.
    noise, bias, unit
        Noise, strength of the coil's field and brightness, over the usual.
    cortex, csf, lesion
        Added to the brightness of these tissues (white matter is 1).
    """

    name: str = "A"
    tesla: float = 3.0
    in_plane: float = 1.0
    thickness: float = 1.0
    noise: float = 1.0
    bias: float = 1.0
    unit: float = 1.0
    cortex: float = 0.0
    csf: float = 0.0
    lesion: float = 0.0

    def raster(self, spacing_mm: tuple[float, ...], rng: np.random.Generator) -> Raster:
        """Return the raster of one subject, where the cohort was asked for `spacing_mm`; cut to what scanners reach.

        Raises
        ------
        UsageError
            When the spacing is outside the scanner's range.
        """
        Raster.of(spacing_mm)
        jitter = float(rng.uniform(1 - THICKNESS_JITTER, 1 + THICKNESS_JITTER))
        factors = (self.in_plane, self.in_plane, self.thickness * jitter)
        wanted = (round(s * f, 2) for s, f in zip(spacing_mm, factors, strict=True))
        return Raster.of(tuple(min(max(s, FINEST_MM), COARSEST_MM) for s in wanted))

    def shown(self, contrast: Contrast) -> Contrast:
        """Return the contrast that a subject has in this scanner."""
        return replace(
            contrast,
            cortex=contrast.cortex + self.cortex,
            csf=contrast.csf + self.csf,
            lesion=contrast.lesion + self.lesion,
        )


USUAL = Site()


def draw_site(seed: int, index: int) -> Site:
    """Draw site number `index` (0, 1, …) of a seed; it depends on nothing else."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SITE_KEY, index)))
    tesla = float(rng.choice([1.5, 3.0]))
    field = tesla / 3.0
    return Site(
        name=chr(ord("A") + index),
        tesla=tesla,
        in_plane=float(rng.uniform(0.85, 1.2)),
        thickness=float(rng.uniform(0.9, 1.6)),
        noise=float(rng.uniform(0.8, 1.1)) / field**0.5,
        bias=float(rng.uniform(0.7, 1.1)) * field**0.5,
        unit=float(np.exp(rng.uniform(-1.0, 1.0))),
        cortex=float(rng.uniform(-0.06, 0.06)),
        csf=float(rng.uniform(-0.06, 0.08)),
        lesion=float(rng.uniform(-0.10, 0.10)),
    )
