"""Image quality of one scan: which measures there are, what each needs, and their published definitions.

=============== ============================================================================ ==========================
measure         definition                                                                   better
=============== ============================================================================ ==========================
snr             mean of the object over the noise of the air, Dietrich et al., JMRI 26:375,  higher
                2007, with the Rayleigh factor √(2/(4−π)) = 1.526
snr_object      mean of the brightest tissue over the noise inside the object (pseudo-       higher
                residuals, Coupé et al., Med Image Anal 14:483, 2010)
cnr             contrast of the two brighter tissues over the root of the summed variances   higher
                of both and of the noise, Magnotta & Friedman, J Digit Imaging 19:140, 2006,
                in the form of MRIQC (Esteban et al., PLoS ONE 12:e0184661, 2017)
cjv             coefficient of joint variation (σ₁+σ₂)/|μ₁−μ₂| of those tissues, Ganzetti     lower
                et al., Front Neuroinform 10:10, 2016
fber            mean energy of the object over that of the air, Shehzad et al., Front        higher
                Neurosci Conf Abstr: Neuroinformatics 2015
efc             entropy focus criterion, Atkinson et al., IEEE TMI 16:903, 1997, divided by  lower
                its largest possible value
qi1             share of air voxels that hold artefacts, Mortamet et al., MRM 62:365, 2009,  lower
                with MRIQC's threshold of ten robust standard deviations
ghost           ghost-to-signal ratio, Giannelli et al., J Appl Clin Med Phys 11:3237, 2010; lower
                the largest over the axes, for shifts of 1/2, 1/3 and 1/4 field of view
edge_strength   mean gradient at the strongest edges over the contrast of the object, per   higher
                mm, after Aksoy et al., MRM 67:1237, 2012 (average edge strength; falls
                with motion)
blur            perceptual blur from 0 (sharp) to 1, Crete et al., SPIE 6492:64920I, 2007;   lower
                the largest over the two finest axes
spikes          largest ratio of a k-space point to the geometric mean of its neighbours, for   lower
                the herringbone of radio-frequency spikes (as described by Campbell-Washburn
                et al., MRM 75:2517, 2016; the ratio is ours; about 5 without spikes)
bias            strength of the bias field: 95th over 5th percentile of the smooth           lower
                multiplicative field within the object (cubic log field around tissue means,
                after Wells et al., IEEE TMI 15:429, 1996), 1 = none
=============== ============================================================================ ==========================

"Tissues" are the three intensity classes of Otsu's method inside the object, not a segmentation: compare the measures
between scans of one protocol, not between protocols. A measure that cannot be computed is None, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from striate.data.checks import quality_air, quality_object
from striate.data.checks.foreground import Foreground, Volume, faces_touched, spread
from striate.data.checks.tissue import Tissues, find_tissues, noise_inside

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "snr": True, "snr_object": True, "cnr": True, "cjv": False, "fber": True, "efc": False, "qi1": False,
    "ghost": False, "edge_strength": True, "blur": False, "spikes": False, "bias": False,
}  # fmt: skip
NO_BACKGROUND = "no background"
SHIFTED = "intensities below zero (normalised or CT)"
LEAST_AIR_VOXELS = 1000
MOST_BLANKED = 0.2
MOST_FACES = 2


@dataclass(frozen=True, slots=True)
class Quality:
    """Measure → value (None where it cannot be measured), and measure → why not."""

    values: dict[str, float | None] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    @classmethod
    def none(cls, reason: str) -> Quality:
        """Return that no measure could be had."""
        return cls(dict.fromkeys(HIGHER_IS_BETTER), dict.fromkeys(HIGHER_IS_BETTER, reason))


def measure_quality(volume: Volume, spacing_mm: tuple[float, ...], foreground: Foreground) -> Quality:
    """Measure the quality of a finite `volume` (I, J, K); see the module's table.

    About 0.4 s for 240 × 240 × 155 voxels on one core.
    """
    crop = volume[foreground.box]
    tissues = find_tissues(foreground, spacing_mm)
    if tissues is None:
        return Quality.none("object too small or constant")
    noise = noise_inside(crop, foreground.mask, spacing_mm)
    shifted = is_shifted(crop, foreground)
    quality = Quality()

    def put(name: str, reason: str | None, compute: Callable[[], float]) -> None:
        value = None if reason else compute()
        if value is not None and not np.isfinite(value):
            value, reason = None, "image too small, or noise or contrast is zero"
        quality.values[name] = value
        if value is None:
            quality.unmeasured[name] = reason or "not a number"

    _measure_air(put, volume, foreground, shifted)
    _measure_object(put, volume, foreground, spacing_mm, tissues, noise, shifted)
    return quality


def _measure_air(
    put: Callable[[str, str | None, Callable[[], float]], None], volume: Volume, foreground: Foreground, shifted: bool
) -> None:
    air_mask = spread(foreground.coarse_air, foreground.factors, volume.shape)
    air = volume[air_mask]
    if foreground.background is not None:
        air = air[air != np.float32(foreground.background)]
    reason = SHIFTED if shifted else None
    if foreground.stripped or air.size < LEAST_AIR_VOXELS:
        reason = NO_BACKGROUND
    elif foreground.blanked > MOST_BLANKED:
        reason = f"{100 * foreground.blanked:.0f}% of the background is blanked"
    elif faces_touched(foreground.coarse_mask) > MOST_FACES:
        reason = "the object fills the field of view"
    inside = volume[foreground.box][foreground.mask]
    put("snr", reason, lambda: quality_air.snr_dietrich(inside, air))
    put("fber", reason, lambda: quality_air.fber(inside, air))
    put("efc", reason, lambda: quality_air.efc(volume))
    put("qi1", reason, lambda: quality_air.qi1(foreground))
    put("ghost", reason, lambda: quality_air.ghost_to_signal(foreground))


def _measure_object(
    put: Callable[[str, str | None, Callable[[], float]], None],
    volume: Volume,
    foreground: Foreground,
    spacing_mm: tuple[float, ...],
    tissues: Tissues,
    noise: float,
    shifted: bool,
) -> None:
    flat = None if noise > 0 else "noise is zero"
    core = spread(tissues.core, foreground.factors, volume.shape)[foreground.box]
    crop = volume[foreground.box]
    put("snr_object", SHIFTED if shifted else flat, lambda: tissues.means[2] / noise)
    put("cnr", None, lambda: quality_object.cnr(tissues, noise))
    put("cjv", None, lambda: quality_object.cjv(tissues))
    put("blur", None, lambda: quality_object.blur_crete(crop, foreground.mask, spacing_mm))
    put("edge_strength", None, lambda: quality_object.edge_strength(crop, core, spacing_mm, tissues))
    put("spikes", None, lambda: quality_object.spike_ratio(foreground.coarse))
    put("bias", SHIFTED if shifted else None, lambda: quality_object.bias_strength(tissues))


def is_shifted(crop: Volume, foreground: Foreground) -> bool:
    """Tell whether intensities have lost their zero: z-scored images and CT, where ratios of means say nothing."""
    if foreground.background is not None and foreground.background < 0:
        return True
    sample = crop[foreground.mask][:: max(1, crop.size // 200_000)]
    low, high = (float(v) for v in np.percentile(sample, (1, 99)))
    return low < -0.02 * abs(high)
