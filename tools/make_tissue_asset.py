"""Make the tissue asset of `striate.phantoms` from the ICBM 152 anatomy in nilearn's wheel.

    pip download --no-deps nilearn -d DIR          (or: pip install 'striate[assets]')
    python tools/make_tissue_asset.py DIR/nilearn-*.whl src/striate/phantoms/assets/icbm152_tissue.npz

Input: the symmetric ICBM 152 2009a non-linear template (T1, skull-stripped, and probability maps of grey and white
matter, 1 mm). Output: fractions of grey matter, white matter and cerebrospinal fluid (CSF), quantised and cropped.

The average of 152 people has blurred sulci. Three steps give back what one person's scan shows:
CSF is read from the T1 where it is darker than grey matter; fractions are sharpened (to the power 2.5, renormalised); cortex
further than a cortex's thickness from white matter is taken as the cleft of a sulcus.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NAME = "nilearn/datasets/data/mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
LEVELS = 32  # 5 bits a fraction
SHARPNESS = 2.5
GREY_T1, CSF_T1 = 0.60, 0.27  # 5th percentile of grey matter and median of CSF in the T1, measured, of 1.0
CORTEX_MM = 3.3  # beyond this distance from white matter a sulcus opens (cortex: 2.5-4.5 mm)
DEEP_MM = 16.0  # grey matter deeper than this below the brain's surface is nuclei, not cortex

Array = NDArray[np.float32]


def read(wheel: Path, kind: str) -> tuple[Array, NDArray[np.float64]]:
    with zipfile.ZipFile(wheel) as archive:
        raw = gzip.decompress(archive.read(NAME.format(kind=kind)))
    volume = nib.Nifti1Image.from_stream(io.BytesIO(raw))
    return np.asarray(volume.dataobj, dtype=np.float32) / 255.0, volume.affine


def fractions(t1: Array, grey: Array, white: Array) -> Array:
    """Return (3, I, J, K): grey matter, white matter, CSF; they sum to 1 inside the brain and are 0 outside."""
    brain = ndimage.binary_fill_holes(t1 > 0)
    csf = np.clip(np.maximum(1 - grey - white, 0.9 * (GREY_T1 - t1) / (GREY_T1 - CSF_T1)), 0, 1)
    csf = np.maximum(csf, sulci(brain, white))
    rest = np.maximum(grey + white, 1e-6)
    parts = np.stack([grey / rest * (1 - csf), white / rest * (1 - csf), csf])
    parts[2][brain & (grey + white < 1e-5)] = 1
    sharp = parts**SHARPNESS
    return np.asarray(sharp / np.maximum(sharp.sum(0), 1e-6) * brain, dtype=np.float32)


def sulci(brain: NDArray[np.bool_], white: Array) -> Array:
    """Return the fraction of CSF in the clefts between two banks of cortex."""
    from_white = ndimage.distance_transform_edt(white < 0.5)
    depth = ndimage.distance_transform_edt(brain)
    cleft = np.clip((from_white - CORTEX_MM) / 1.5, 0, 1) * np.clip((DEEP_MM - depth) / 3, 0, 1)
    cleft *= np.clip((np.arange(brain.shape[2])[None, None] - 66) / 6.0, 0, 1)  # cerebrum only (z > -6 mm)
    return np.asarray(0.9 * cleft, dtype=np.float32)


def ventricles(csf: Array, origin_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the two lateral ventricles: the largest CSF component on each side, away from the midline's cisterns."""
    x, y, z = np.ogrid[tuple(slice(0, n) for n in csf.shape)]
    x, y, z = x + origin_mm[0], y + origin_mm[1], z + origin_mm[2]
    found = np.zeros(csf.shape, dtype=bool)
    for side in (-1, 1):
        room = (csf > 0.5) & (side * x > 2) & (side * x < 45) & (z > -18) & (z < 32) & (y > -60) & (y < 40)
        labels, _ = ndimage.label(room)
        seed = labels[tuple(round(v - o) for v, o in zip((side * 9, 0, 20), origin_mm, strict=True))]
        found |= labels == seed if seed else False
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    t1, affine = read(arguments.wheel, "t1")
    parts = fractions(t1, read(arguments.wheel, "gm")[0], read(arguments.wheel, "wm")[0])
    box = ndimage.find_objects((parts.sum(0) > 0).astype(np.uint8))[0]
    levels = np.round(parts[(slice(None), *box)] * (LEVELS - 1)).astype(np.uint8)
    origin = affine[:3, 3] + [axis.start for axis in box]
    lateral = ventricles(levels[2] / (LEVELS - 1), origin)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        arguments.out, levels=levels, top=np.uint8(LEVELS - 1), origin_mm=origin.astype(np.float32), ventricles=lateral
    )
    print(f"lateral ventricles: {lateral.sum() / 1000:.1f} mL")
    print(f"{arguments.out}: {levels.shape}, origin {origin} mm, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
