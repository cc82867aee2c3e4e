"""Small heads with known noise, made by numpy alone, and cohorts of them on disk."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from striate.core.case import Case
from striate.data.checks.gather import gather
from striate.data.cohort import Cohort

SHAPE = (64, 72, 48)
SPACING = 3.0
MEANS = {"flair": (0, 60, 300, 240), "t1": (0, 40, 180, 300)}  # air, fluid, grey, white


@functools.cache
def anatomy(seed: int) -> np.ndarray:
    """Return 0 air, 1 fluid, 2 grey, 3 white (I, J, K), of another shape for every seed; cached, do not write into it."""
    rng = np.random.default_rng(seed)
    size = np.array(SHAPE)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    wobble = np.stack([ndimage.gaussian_filter(rng.normal(size=SHAPE), 5) for _ in range(3)])
    grid = grid + 0.25 * wobble / np.abs(wobble).max()
    radius = np.sqrt(sum((g / r) ** 2 for g, r in zip(grid, (0.62, 0.68, 0.7), strict=True)))
    folds = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.6)
    folds /= folds.std()
    tissue = np.zeros(SHAPE, dtype=np.uint8)
    tissue[radius < 1] = 1
    tissue[radius < 0.955 + 0.02 * folds] = 2
    tissue[radius < 0.83 + 0.04 * folds] = 3
    tissue[(np.abs(grid[0]) < 0.12) & (np.abs(grid[1] - 0.05) < 0.25) & (np.abs(grid[2]) < 0.2)] = 1
    tissue[radius >= 1] = 0
    assert size.prod() == tissue.size
    return tissue


def scan(seed: int, channel: str = "flair", sigma: float = 8.0, lesion: bool = True) -> np.ndarray:
    """Return the magnitude (I, J, K) of a head with complex noise of `sigma`."""
    tissue = anatomy(seed)
    signal = ndimage.gaussian_filter(np.array(MEANS[channel], dtype=np.float32)[tissue], 0.5)
    if lesion:
        signal[mask(seed) > 0] = {"flair": 420, "t1": 120}[channel]
    rng = np.random.default_rng((seed, len(channel)))
    noisy = signal + sigma * (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE))
    return np.abs(noisy).astype(np.float32)


def mask(seed: int) -> np.ndarray:
    """Return a lesion mask within the head, left of the middle."""
    place = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    centre = (24, 30 + seed % 8, 24)
    distance = sum((p - c) ** 2 for p, c in zip(place, centre, strict=True))
    return (distance < 20).astype(np.uint8)


def stripped(image: np.ndarray, seed: int, shift: bool = False) -> np.ndarray:
    """Return the head alone on a constant background; with `shift` z-scored with the background at the minimum."""
    head = anatomy(seed) > 0
    if not shift:
        return np.where(head, image, 0).astype(np.float32)
    values = (image - image[head].mean()) / image[head].std()
    return np.where(head, values, values[head].min() - 0.01).astype(np.float32)


def affine() -> np.ndarray:
    """Return the affine of all heads."""
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = (-96, -108, -72)
    return matrix


def save(path: Path, array: np.ndarray, matrix: np.ndarray | None = None, sform: np.ndarray | None = None) -> Path:
    """Write a NIfTI whose qform is `matrix` and whose sform is `sform` (the same where not given)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = affine() if matrix is None else matrix
    image = nib.Nifti1Image(array, matrix if sform is None else sform)
    image.set_qform(matrix, 1)
    image.set_sform(matrix if sform is None else sform, 1)
    nib.save(image, path)
    return path


@dataclass
class Maker:
    """Collects cases in a folder."""

    folder: Path
    cases: list[Case] = field(default_factory=list)

    def add(self, name: str, channels: dict[str, np.ndarray], label: np.ndarray | None = None, **more) -> Case:
        """Write the arrays of a case and keep it; `more` goes into the `Case` (``label_affine`` into the label's file)."""
        label_affine = more.pop("label_affine", None)
        paths = {c: save(self.folder / f"{name}_{c}.nii.gz", a) for c, a in channels.items()}
        file = None if label is None else save(self.folder / f"{name}_label.nii.gz", label, label_affine)
        case = Case(name, more.pop("subject", name), paths, file, **more)
        self.cases.append(case)
        return case

    def cohort(self, label_names: dict[int, str] | None = None) -> Cohort:
        """Return the cohort of what was added."""
        return Cohort("heads", tuple(self.cases), label_names=label_names or {})


def facts_of(folder: Path, array: np.ndarray, label: np.ndarray | None = None, **more):
    """Return the facts of one case with one channel ``flair``."""
    return gather(Maker(folder).add("a", {"flair": array}, label, **more))
