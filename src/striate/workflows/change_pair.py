"""One pair of `change`: registered, compared, and its files; kept on disk so that a cohort goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.caution import Caution
from striate.core.errors import DataError, expected
from striate.core.files import filling, plain, read_json, write_json
from striate.core.geometry import Affine
from striate.core.image import Grid, Image, LabelMap, to_ras
from striate.io.read import read_image
from striate.io.write import write_image, write_label
from striate.measure.change import Change, LabelChange
from striate.measure.finding import CaseFindings
from striate.reporting.shrink import average, nearest, window
from striate.trust.change import Examined, LabelCompared, compare_label, on_later_grid
from striate.trust.exchanged import contrasts, exchanged, stray
from striate.trust.lesion_pairs import Side
from striate.trust.registration import Registration, accept, refuse_two_heads, register
from striate.trust.repeatability import Repeatability, Sides
from striate.trust.resampling import looked_up
from striate.trust.transform_file import write_transform
from striate.workflows.change_masks import Masked, Masks
from striate.workflows.change_pairs import Pair

KIND, VERSION, FILE = "striate-pair", 1, "pair.json"
PANEL_LONGEST = 192


@dataclass(frozen=True, slots=True, eq=False)
class PairDone:
    """What is known of a pair.

    Attributes
    ----------
    change
        In numbers.
    cases
        Findings of its two examinations; fewer where it could not be compared.
    registration
        As JSON; empty where it could not be compared.
    sides
        Label → every lesion at both times.
    """

    change: Change
    cases: tuple[CaseFindings, ...]
    registration: Mapping[str, Any]
    sides: Mapping[str, tuple[Sides, ...]]

    def write(self, folder: Path) -> None:
        """Write ``pair.json``."""
        sides = {
            name: [[[s.volume_ml, s.surface_mm2, s.edge_voxels] for s in both] for both in lesions]
            for name, lesions in self.sides.items()
        }
        write_json(
            folder / FILE,
            {"kind": KIND, "schema_version": VERSION, "change": self.change.to_dict(), "registration": self.registration,
             "cases": [case.to_dict() for case in self.cases], "sides": sides},
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> PairDone:
        """Read ``pair.json``."""
        document = read_json(folder / FILE, KIND, VERSION)
        return cls(
            Change.from_dict(document["change"]),
            tuple(CaseFindings.from_dict(case) for case in document["cases"]),
            document["registration"],
            {
                name: tuple((Side(*before), Side(*after)) for before, after in lesions)
                for name, lesions in document["sides"].items()
            },
        )


def stem_of(pair: Pair) -> str:
    """Return what the files of a pair are called."""
    return f"{pair[1].subject}_{pair[0].name}_{pair[1].name}"


def compare_pair(
    pair: Pair,
    masks: Masks,
    folder: Path,
    *,
    matrix: Affine | None = None,
    repeatability: Repeatability | None = None,
    given: bool = False,
    pictured: bool = True,
) -> PairDone:
    """Compare two examinations and write their files into `folder`.

    Parameters
    ----------
    pair
        Earlier and later.
    masks
        Where their masks come from.
    folder
        Gets ``CASE.nii.gz``, ``changes/`` and ``registered/``.
    matrix
        Given transform; None: it is found.
    repeatability
        Of these masks.
    given
        Whether the masks were given, so that they may be exchanged.
    pictured
        Whether pictures are kept for the report.

    Raises
    ------
    DataError
        When an image cannot be read, or two heads do not fit.
    """
    earlier, later = pair
    images = [read_image(next(iter(case.channels.values()))) for case in pair]
    if images[0].array.shape == images[1].array.shape and np.array_equal(images[0].array, images[1].array):
        same = f"{earlier.name} and {later.name} hold the same voxels"
        raise DataError(expected("change", same, "two examinations are needed"), case=later.name)
    if given:
        _refuse_one_mask(pair, masks)
    if matrix is None:
        registration = register(images[0], images[1], case=later.name)
        refuse_two_heads(registration, earlier.name, later.name)
    else:
        registration = accept(images[0], images[1], matrix, case=later.name)
    was, now = masks.of(earlier), masks.of(later)
    compared = {
        name: compare_label(
            _examined(was, masks, name), _examined(now, masks, name), registration.matrix,
            None if repeatability is None else repeatability.labels.get(name),
        )
        for name in masks.targets.names
    }  # fmt: skip
    cautions = _cautions(pair, registration, images, (was.label, now.label), compared, given=given)
    labels: dict[str, LabelChange] = {name: found.change for name, found in compared.items()}
    sides = {name: tuple((x.before, x.after) for x in found.lesions) for name, found in compared.items()}
    kinds = np.maximum.reduce([found.kinds for found in compared.values()])
    drawn = LabelMap(kinds, now.label.affine)
    _write(folder, pair, images, (was.label, now.label), registration.matrix, drawn, pictured=pictured)
    change = Change(later.subject, earlier.name, later.name, labels, tuple(cautions))
    return PairDone(change, (was.findings, now.findings), plain(registration.to_dict()), sides)


def _refuse_one_mask(pair: Pair, masks: Masks) -> None:
    """Refuse one mask for two images; two empty ones may be equal.

    Raises
    ------
    DataError
        With the names of both.
    """
    earlier, later = (masks.read[f"{case.name}/mask"] for case in pair)
    if earlier == later and masks.of(pair[0]).label.array.any():
        same = f"the masks of {pair[0].name} and {pair[1].name} are one file, or copies of one, and their images differ"
        raise DataError(expected("change", same, "a mask that was drawn on each image is needed"), case=pair[1].name)


def not_compared(pair: Pair, error: DataError) -> PairDone:
    """Return what is said of a pair of a cohort that could not be compared."""
    caution = Caution("not-compared", str(error))
    return PairDone(Change(pair[1].subject, pair[0].name, pair[1].name, {}, (caution,)), (), {}, {})


def _examined(masked: Masked, masks: Masks, name: str) -> Examined:
    mask = masks.targets.mask(masked.label.array, name)
    return Examined(mask, masked.label.grid, masked.findings.labels[name].volume_ml, masked.belief.get(name))


def _cautions(
    pair: Pair,
    registration: Registration,
    images: list[Image],
    labels: tuple[LabelMap, LabelMap],
    compared: Mapping[str, LabelCompared],
    *,
    given: bool,
) -> list[Caution]:
    earlier, later = pair[0].name, pair[1].name
    told = [*registration.cautions(earlier, later), *_out_of_view(pair, labels, registration.matrix)]
    if not any(found.lesions for found in compared.values()):
        text = f"{earlier} and {later}: both masks are empty, so no change can be seen; look at the scans."
        told.append(Caution("nothing-found", text))
    for name, found in compared.items():
        if found.specks:
            many = "speck comes or goes" if found.specks == 1 else "specks come or go"
            text = f"{earlier} and {later}, {name}: {found.specks} {many} that {'is' if found.specks == 1 else 'are'} no lesion:"
            text += f" smaller than {found.noise.least_ml:.2g} mL, or half seen at the other time."
            told.append(Caution("specks", text))
    return told + (_misplaced(pair, images, labels) if given else [])


def _misplaced(pair: Pair, images: list[Image], labels: tuple[LabelMap, LabelMap]) -> list[Caution]:
    """Name given masks that do not fit their images."""
    found = contrasts((images[0], images[1]), labels)
    if exchanged(found):
        text = "each mask fits the other image better than its own; are they exchanged?"
        return [Caution("masks-exchanged", f"{pair[0].name} and {pair[1].name}: {text}")]
    text = "its mask hardly stands out on its image; was it drawn on another scan?"
    strays = [case.name for case, lost in zip(pair, stray(found), strict=True) if lost]
    return [Caution("mask-of-another-scan", f"{name}: {text}") for name in strays]


def _out_of_view(pair: Pair, labels: tuple[LabelMap, LabelMap], matrix: Affine) -> list[Caution]:
    """Name masks that reach out of the other image: what lies there only looks new, or gone."""
    told = []
    inverse = np.asarray(np.linalg.inv(matrix))
    for here, there, own, other, across in (
        (pair[1].name, pair[0].name, labels[1], labels[0].grid, matrix),
        (pair[0].name, pair[1].name, labels[0], labels[1].grid, inverse),
    ):
        outside = _outside(own, other, across)
        if outside > 0:
            text = f"{100 * outside:.0f} % of the mask of {here} lies outside of the image of {there} and cannot be compared."
            told.append(Caution("outside-other-image", text))
    return told


def _outside(label: LabelMap, other: Grid, across: Affine) -> float:
    """Return the share of a mask that lies outside of another grid."""
    index = np.argwhere(label.array)
    if not len(index):
        return 0.0
    place = np.linalg.inv(other.affine) @ across @ label.affine
    at = (np.c_[index, np.ones(len(index))] @ place.T)[:, :3]
    return float(1 - ((at >= -0.5) & (at <= np.array(other.shape) - 0.5)).all(axis=1).mean())


def _write(
    folder: Path,
    pair: Pair,
    images: list[Image],
    labels: tuple[LabelMap, LabelMap],
    matrix: Affine,
    drawn: LabelMap,
    *,
    pictured: bool,
) -> None:
    stem, later = stem_of(pair), drawn.grid
    for case, label in zip(pair, labels, strict=True):
        write_label(folder / f"{case.name}.nii.gz", label)
    write_label(folder / "changes" / f"{stem}.nii.gz", drawn)
    moved, _ = looked_up(images[0], later, matrix)
    earlier = on_later_grid(labels[0].array, labels[0].grid, later, matrix)
    write_image(folder / "registered" / f"{stem}_before_image.nii.gz", Image(moved[None], later.affine))
    write_label(folder / "registered" / f"{stem}_before_mask.nii.gz", LabelMap(earlier, later.affine))
    write_label(folder / "registered" / f"{stem}_after_mask.nii.gz", labels[1])
    write_transform(folder / "registered" / f"{stem}.txt", matrix)
    if pictured:
        _picture(folder / "changes" / f"{stem}.npz", moved, images[1].array[0].astype(np.float32), drawn)


def _picture(path: Path, before: Any, after: Any, kinds: LabelMap) -> None:
    """Write before, after and the change as axial slices (K, I, J) uint8 on the later image's grid."""
    turn, grid = to_ras(kinds.grid)
    step = max(1, -(-max(grid.shape) // PANEL_LONGEST))
    bins = [-(-n // step) for n in grid.shape]
    shown = [average(window(turn.apply(array)), bins).transpose(2, 0, 1) for array in (before, after)]
    drawn = nearest(turn.apply(kinds.array), bins).transpose(2, 0, 1)
    spacing_mm = np.array(grid.spacing_mm) * grid.shape / bins
    np.savez_compressed(path, before=shown[0], after=shown[1], change=drawn, spacing_mm=spacing_mm)


class Finished:
    """Pairs of a cohort that are done, beside the output (``OUT.unfinished``) until all are."""

    def __init__(self, out: Path, request: Mapping[str, Any]) -> None:
        self.folder = out.absolute().with_name(f"{out.absolute().name}.unfinished")
        asked = self.folder / "request.json"
        if asked.exists() and read_json(asked) != plain(dict(request)):
            raise DataError(
                expected(self.folder, "it holds pairs of another comparison", "the same one is needed to go on with it",
                         "Remove it, or choose another --out."), path=self.folder,
            )  # fmt: skip
        if not asked.exists():
            write_json(asked, dict(request))

    def get(self, stem: str) -> PairDone | None:
        """Return a pair that is done, or None."""
        return PairDone.read(self.folder / stem) if (self.folder / stem).is_dir() else None

    def filling(self, stem: str) -> Any:
        """Give a folder for the files of a pair, which counts once it is whole."""
        return filling(self.folder / stem)

    def copy(self, stem: str, folder: Path) -> None:
        """Copy the files of a pair to where they belong."""
        shutil.copytree(self.folder / stem, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FILE))

    def remove(self) -> None:
        """Forget all pairs."""
        shutil.rmtree(self.folder, ignore_errors=True)
