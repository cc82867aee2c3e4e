"""Random variations of training patches: what could equally well have been scanned."""

from __future__ import annotations

from striate.core.config import Config


class Augmentation(Config):
    """Probability per sample of each variation; 0 switches it off.

    Ranges follow nnU-Net v2 where it has the variation (ARCHITECTURES of the field: Isensee et al., Nat Methods 2021).
    """

    affine: float = 0.3
    rotation_degrees: float = 20.0
    scale: tuple[float, float] = (0.75, 1.35)
    elastic: float = 0.1
    mirror_axes: tuple[int, ...] = ()
    noise: float = 0.1
    blur: float = 0.15
    brightness: float = 0.15
    contrast: float = 0.15
    gamma: float = 0.3
    low_resolution: float = 0.15
    bias_field: float = 0.15
