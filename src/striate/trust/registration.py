"""Rigid registration of two examinations of one subject, with what tells whether it can be believed (``striate[itk]``).

A rigid transform (three angles, three shifts) maximises the mutual information of Mattes et al. (IEEE TMI 22:120, 2003) on
three levels of resolution, as SimpleITK implements it. It is computed twice, once in each direction, and the two are
averaged half way: neither examination is the one that is moved, and how far the two answers lie apart is a measured error.
Same images, same answer, bit for bit: voxels are compared on a lattice with a fixed seed, on one thread.

A transform maps mm of the LATER examination to mm of the EARLIER one (both RAS+): it is what is needed to look up the
earlier image at each voxel of the later one. ITK writes transforms in LPS+ the same way round: fixed is the later image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

from striate.core.caution import Caution
from striate.core.errors import DataError, GeometryError, expected
from striate.core.geometry import LPS, Affine, valid_affine
from striate.core.image import Image
from striate.core.optional import require
from striate.data.checks.foreground import otsu
from striate.trust.resampling import isotropic, looked_up
from striate.trust.transform_file import from_itk

WORKING_MM = 2.0
"""Voxel size at which images are compared; finer images are averaged to it."""
LEVELS = (4, 2, 1)
"""Shrinking of each level, coarse to fine."""
SHARES = (1.0, 0.5, 0.12)
"""Share of the voxels that are compared at each level, on a regular lattice that is jittered by `SEED`."""
SEED = 1
BINS = 40
LEAST_OVERLAP = 0.80
LEAST_CORRELATION = 0.50
MOST_STRETCH = 0.035
MOST_TURN_DEG, MOST_SHIFT_MM = 45.0, 150.0
MOST_APART_MM = 3.0
"""What one subject stays within. Measured: two visits of 3 phantoms and 2 patients correlate by 0.61 to 0.90, overlap by 0.97 or
more, stretch by 2.6 % at most and lie at most 0.4 mm apart; pairs of two subjects (3 and 2) correlate by at most 0.47, and
all but one stretch by more than 3.5 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """How two examinations lie to each other, and how sure that is.

    Attributes
    ----------
    matrix
        4 × 4, mm of the later image → mm of the earlier one, both RAS+.
    given
        Whether it was given rather than computed.
    turn_deg, shift_mm
        Angle of the rotation; how far the centre of the later head moves.
    correlation_before, correlation_after
        Pearson correlation of the intensities in the later head without and with the transform.
    overlap
        Dice of the two heads within the field of view that both have.
    stretch
        Largest relative change of length along any axis that a further affine fit finds: 0 for one head, some per cent for two.
    apart_mm
        Largest distance in the head between the answers of the two directions; None for a given transform.
    """

    matrix: Affine
    given: bool
    turn_deg: float
    shift_mm: float
    correlation_before: float
    correlation_after: float
    overlap: float
    stretch: float
    apart_mm: float | None = None
    reasons: tuple[str, ...] = field(default=())

    @property
    def reliable(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "matrix": np.asarray(self.matrix).tolist(), "given": self.given, "turn_deg": self.turn_deg,
            "shift_mm": self.shift_mm, "correlation_before": self.correlation_before,
            "correlation_after": self.correlation_after, "overlap": self.overlap, "stretch": self.stretch,
            "apart_mm": self.apart_mm, "reasons": list(self.reasons),
        }  # fmt: skip

    def cautions(self, before: str, after: str) -> tuple[Caution, ...]:
        """Return each reason for doubt as a caution about the pair."""
        return tuple(Caution("registration", f"{before} and {after}: {reason}") for reason in self.reasons)


def register(before: Image, after: Image, *, case: str = "the later image") -> Registration:
    """Register the later image onto the earlier one.

    Parameters
    ----------
    before, after
        One channel each, (1, I, J, K), of the same contrast; the first of several is taken.
    case
        Name for the errors.

    Raises
    ------
    GeometryError
        When an image is 2D.
    DataError
        When an image is constant, or the optimiser finds no overlap at all.
    UsageError
        When SimpleITK is not installed.
    """
    earlier, later = _Scan.of(before, case), _Scan.of(after, case)
    with _quiet() as sitk:
        forth, back = _search(sitk, later, earlier, case), np.linalg.inv(_search(sitk, earlier, later, case))
        apart = np.linalg.norm((later.corners_mm @ (forth - back).T)[:, :3], axis=1)
        halfway = _average(forth, np.asarray(back, dtype=np.float64))
        return _judged(sitk, earlier, later, halfway, given=False, apart_mm=float(apart.max()))


def accept(before: Image, after: Image, matrix: Affine, *, case: str = "the later image") -> Registration:
    """Judge a transform that was given, as `register` judges its own.

    Raises
    ------
    GeometryError
        When the matrix is singular or mirrors, or an image is 2D.
    DataError
        When an image is constant.
    """
    matrix = valid_affine(matrix, "transform")
    if np.linalg.det(matrix[:3, :3]) <= 0:
        turned = f"its determinant is {np.linalg.det(matrix[:3, :3]):.3g}"
        raise GeometryError(expected("transform", turned, "a transform that does not mirror is needed"))
    earlier, later = _Scan.of(before, case), _Scan.of(after, case)
    with _quiet() as sitk:
        return _judged(sitk, earlier, later, matrix, given=True, apart_mm=None)


def refuse_two_heads(found: Registration, before: str, after: str) -> None:
    """Refuse a pair whose heads do not fit each other; a transform that the user gave is only cautioned against.

    Raises
    ------
    DataError
        With each reason.
    """
    if found.reliable or found.given:
        return
    raise DataError(
        expected(f"{before} and {after}", "; ".join(reason.rstrip(".") for reason in found.reasons),
                 "two examinations of one subject are needed",
                 "If they are, register them yourself and give the transform: --transform FILE"), case=after,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """An examination as it is registered.

    Attributes
    ----------
    image
        Isotropic voxels of `WORKING_MM`, scaled to 0 … 1 between air and the brightest 0.5 %.
    head
        (I, J, K) bool, see `head_mask`.
    """

    image: Image
    head: NDArray[np.bool_]

    @classmethod
    def of(cls, image: Image, case: str) -> _Scan:
        """Make ready what was read."""
        if image.array.ndim != 4:
            shape = f"shape {image.array.shape[1:]}"
            raise GeometryError(
                expected(case, f"a 2D image, {shape}", "two 3D examinations are needed to compare them")
            )
        coarse = isotropic(Image(np.nan_to_num(image.array[:1].astype(np.float32)), image.affine), WORKING_MM)
        low, high = np.percentile(coarse.array, (0.5, 99.5))
        if high <= low:
            raise DataError(expected(case, f"an image of one value, {low:g}", "a scan is needed"), case=case)
        array = np.clip((coarse.array - low) / (high - low), 0, 1).astype(np.float32)
        return cls(Image(array, coarse.affine), head_mask(array[0]))

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        """Middle of the head, (4,) homogeneous."""
        return np.asarray(self.image.affine @ [*np.argwhere(self.head).mean(axis=0), 1.0])

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """Corners of the head's box, (8, 4) homogeneous."""
        found = np.argwhere(self.head)
        index = np.where(np.array(list(np.ndindex(2, 2, 2))), found.max(axis=0), found.min(axis=0))
        return np.asarray(np.c_[index, np.ones(8)] @ self.image.affine.T)

    def itk(self, sitk: Any) -> Any:
        """Return the image for SimpleITK."""
        return _to_itk(sitk, self.image)

    def itk_mask(self, sitk: Any) -> Any:
        """Return the head with a rim of 3 voxels for SimpleITK."""
        rim = ndimage.binary_dilation(self.head, iterations=3)
        return _to_itk(sitk, Image(rim[None].astype(np.uint8), self.image.affine))


def head_mask(array: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the head in a scan (I, J, K): above Otsu's threshold over √2, largest part, holes filled."""
    bright = ndimage.binary_opening(array > otsu(array)[0] / np.sqrt(2))
    numbers, count = ndimage.label(bright)
    if not count:
        return np.asarray(array > array.min())
    largest = 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(numbers == largest))


def _search(sitk: Any, fixed: _Scan, moving: _Scan, case: str) -> Affine:
    """Return the rigid matrix, mm of `fixed` → mm of `moving`, that maximises their mutual information."""
    still, moved, mask = fixed.itk(sitk), moving.itk(sitk), fixed.itk_mask(sitk)
    start = _start(sitk, fixed, moving, still, moved, mask)
    method = _method(sitk, mask)
    method.SetInitialTransform(start, inPlace=False)
    try:
        found = method.Execute(still, moved)
    except RuntimeError as error:
        raise DataError(
            expected(case, "no common part of the two heads was found", "two examinations of one subject are needed",
                     "Give a transform: --transform FILE"), case=case,
        ) from error  # fmt: skip
    return from_itk(found)


def _method(sitk: Any, mask: Any, *, affine: bool = False) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0,
        minStep=4e-3,
        numberOfIterations=60 if affine else 150,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    levels, shares = (LEVELS[1:2], SHARES[1:2]) if affine else (LEVELS, SHARES)
    method.SetMetricSamplingPercentagePerLevel(list(shares), SEED)
    method.SetShrinkFactorsPerLevel(list(levels))
    method.SetSmoothingSigmasPerLevel([0.5 * n * WORKING_MM if n > 1 else 0.0 for n in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _start(sitk: Any, fixed: _Scan, moving: _Scan, still: Any, moved: Any, mask: Any) -> Any:
    """Return the better of two beginnings: the scanner's coordinates as they are, and centre of head on centre of head."""
    here, there = ((LPS @ scan.middle_mm)[:3] for scan in (fixed, moving))
    candidates = []
    for shift in (np.zeros(3), there - here):
        begin = sitk.Euler3DTransform()
        begin.SetCenter([float(v) for v in here])
        begin.SetTranslation([float(v) for v in shift])
        judge = _method(sitk, mask)
        judge.SetInitialTransform(begin)
        try:
            candidates.append((float(judge.MetricEvaluate(still, moved)), begin))
        except RuntimeError:
            continue
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else begin


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Give SimpleITK without warnings and on one thread, on which alone its sums come in one order; both are put back."""
    sitk = require("SimpleITK", "itk", "registering two examinations")
    process = sitk.ProcessObject
    threads, warns = process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()
    process.SetGlobalDefaultNumberOfThreads(1)
    process.SetGlobalWarningDisplay(False)
    try:
        yield sitk
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)
        process.SetGlobalWarningDisplay(warns)


def _to_itk(sitk: Any, image: Image) -> Any:
    volume = sitk.GetImageFromArray(np.ascontiguousarray(image.array[0].T))
    place = LPS @ image.affine
    spacing = np.linalg.norm(place[:3, :3], axis=0)
    volume.SetSpacing([float(v) for v in spacing])
    volume.SetOrigin([float(v) for v in place[:3, 3]])
    volume.SetDirection([float(v) for v in (place[:3, :3] / spacing).ravel()])
    return volume


def _average(first: Affine, second: Affine) -> Affine:
    """Return the rigid matrix half way between two."""
    step = np.real(linalg.logm(np.linalg.inv(first) @ second))
    return np.asarray(first @ linalg.expm(step / 2))


def _judged(
    sitk: Any, earlier: _Scan, later: _Scan, matrix: Affine, *, given: bool, apart_mm: float | None
) -> Registration:
    head, grid = later.head, later.image.grid
    moved, seen = looked_up(earlier.image, grid, matrix)
    still, _ = looked_up(earlier.image, grid, np.eye(4))
    inside = Image(earlier.head[None].astype(np.float32), earlier.image.affine)
    common = looked_up(inside, grid, matrix)[0] >= 0.5
    both = head & seen
    total = int(both.sum() + (common & seen).sum())
    overlap = 2 * int((both & common).sum()) / total if total else 0.0
    middle = later.middle_mm
    turn = np.linalg.svd(matrix[:3, :3])
    trace = np.trace(turn[0] @ turn[2])
    found = Registration(
        matrix=np.asarray(matrix, dtype=np.float64), given=given,
        turn_deg=float(np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))),
        shift_mm=float(np.linalg.norm((matrix @ middle - middle)[:3])),
        correlation_before=_correlation(still, later.image.array[0], head),
        correlation_after=_correlation(moved, later.image.array[0], head & seen),
        overlap=overlap, stretch=_stretch(sitk, later, earlier, matrix), apart_mm=apart_mm,
    )  # fmt: skip
    return _with_reasons(found)


def _with_reasons(found: Registration) -> Registration:
    told = []
    if found.overlap < LEAST_OVERLAP:
        share, least = 100 * found.overlap, 100 * LEAST_OVERLAP
        told.append(f"the heads overlap by {share:.0f} % (Dice), {least:.0f} % are usual for one subject.")
    if found.correlation_after < LEAST_CORRELATION:
        told.append(
            f"the images correlate by {found.correlation_after:.2f}, {LEAST_CORRELATION:.2f} is usual for one subject and"
            " contrast."
        )
    if found.stretch > MOST_STRETCH:
        told.append(
            f"one head would have to be stretched by {100 * found.stretch:.1f} % to fit the other, {100 * MOST_STRETCH:.1f} % is"
            " the most of one subject."
        )
    if found.turn_deg > MOST_TURN_DEG or found.shift_mm > MOST_SHIFT_MM:
        told.append(
            f"a turn of {found.turn_deg:.0f}° and a shift of {found.shift_mm:.0f} mm are not what a head does between two"
            " visits."
        )
    if found.apart_mm is not None and found.apart_mm > MOST_APART_MM:
        told.append(
            f"the two directions of the registration lie {found.apart_mm:.1f} mm apart, {MOST_APART_MM:.0f} mm is the most that"
            " is believed."
        )
    return replace(found, reasons=tuple(told))


def _correlation(first: NDArray[Any], second: NDArray[Any], where: NDArray[np.bool_]) -> float:
    a, b = first[where], second[where]
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _stretch(sitk: Any, fixed: _Scan, moving: _Scan, matrix: Affine) -> float:
    """Return how far the axes of an affine fit that starts from `matrix` differ in length from 1."""
    begin = sitk.AffineTransform(3)
    itk = LPS @ matrix @ LPS
    centre = (LPS @ fixed.middle_mm)[:3]
    begin.SetCenter([float(v) for v in centre])
    begin.SetMatrix([float(v) for v in itk[:3, :3].ravel()])
    begin.SetTranslation([float(v) for v in itk[:3, :3] @ centre + itk[:3, 3] - centre])
    method = _method(sitk, fixed.itk_mask(sitk), affine=True)
    method.SetInitialTransform(begin, inPlace=False)
    try:
        found = from_itk(method.Execute(fixed.itk(sitk), moving.itk(sitk)))
    except RuntimeError:
        return 1.0
    lengths = np.linalg.svd(found[:3, :3], compute_uv=False)
    return float(np.abs(lengths - 1).max())
