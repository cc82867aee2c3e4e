"""Which predicted mask belongs to which true one: two files, folders matched by case name, or a cohort."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from striate.core.counted import counted
from striate.core.errors import DataError, LayoutError, expected
from striate.core.files import read_json
from striate.core.names import nearest
from striate.data.cohort import Cohort
from striate.io.read import is_image, stem

_MASK_WORDS = re.compile(r"[_-](seg|segmentation|mask|labels?|label-[a-z0-9]+(_mask)?|pred|prediction|gt|truth)$", re.I)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class MaskPair:
    """One case with its two label maps."""

    case: str
    subject: str
    predicted: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matched cases.

    Attributes
    ----------
    pairs
        In the order of the truth.
    label_names
        Value → name, without background; empty where the truth does not name its labels.
    notes
        Sentences about cases that stand on one side only.
    regions
        Name → label values, where the predicted masks come from a model of regions: they hold one value for each
        combination of regions, so that single labels cannot be compared.
    """

    pairs: tuple[MaskPair, ...]
    label_names: Mapping[int, str]
    notes: tuple[str, ...] = ()
    regions: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class _Masks:
    files: Mapping[str, Path]
    subjects: Mapping[str, str] = field(default_factory=dict)
    label_names: Mapping[int, str] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    regions: Mapping[str, tuple[int, ...]] | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    """Name of an image file → the one case that it belongs to: so is the mask called that was predicted from the file alone."""


def pair_masks(predicted: Path, truth: Path) -> Pairs:
    """Match the masks of `predicted` with those of `truth`.

    Parameters
    ----------
    predicted
        A label map, a folder of them (for instance what ``striate predict`` wrote, or a run), or a cohort.
    truth
        A label map, a folder of them, or a cohort in any layout.

    Raises
    ------
    DataError
        When a path does not exist or no case name stands on both sides.
    LayoutError
        When a folder holds no masks, or two masks of one case.
    """
    predicted, truth = Path(predicted), Path(truth)
    if _is_mask(predicted) and _is_mask(truth):
        name = stem(truth)
        return Pairs((MaskPair(name, name, predicted, truth),), {}, regions=_regions(predicted.parent))
    ours, theirs = _masks(predicted, "predicted"), _masks(truth, "true")
    matched = _match(ours.files, theirs.files, theirs.images)
    if not matched:
        raise DataError(
            expected(predicted, f"cases {_names(ours.files)}", f"none of them is a labelled case of {truth}, which has "
                     f"{_names(theirs.files)}", "Masks are matched by the names of cases or of their images: rename the files, or"
                     " give two files."),
            path=predicted,
        )  # fmt: skip
    pairs = tuple(
        MaskPair(name, theirs.subjects.get(name, name), ours.files[matched[name]], theirs.files[name])
        for name in theirs.files
        if name in matched
    )
    notes = _notes(matched, ours, theirs)
    return Pairs(pairs, theirs.label_names or ours.label_names, notes, ours.regions)


def _is_mask(path: Path) -> bool:
    """A file that is no table; whether it can be read as a mask, its reader says best."""
    return path.is_file() and path.suffix.lower() not in (".csv", ".tsv")


def _notes(matched: Mapping[str, str], ours: _Masks, theirs: _Masks) -> tuple[str, ...]:
    missing = [name for name in theirs.files if name not in matched]
    extra = [name for name in ours.files if name not in matched.values()]
    blind = [name for name in extra if name in theirs.unlabelled]
    extra = [name for name in extra if name not in blind]
    total, notes = len(theirs.files), []
    if missing:
        notes.append(
            f"no predicted mask for {len(missing)} of {counted(total, 'case')} with truth, not evaluated: {_names(missing)}."
        )
    if blind:
        notes.append(
            f"{_masks_of(blind)} to {'a case' if len(blind) == 1 else 'cases'} without truth, not evaluated: {_names(blind)}."
        )
    if extra:
        close = nearest(extra[0], missing)
        hint = f" Is '{extra[0]}' the case '{close}'?" if close else ""
        notes.append(f"{_masks_of(extra)} to no case of the truth, ignored: {_names(extra)}.{hint}")
    return tuple(notes)


def _match(ours: Mapping[str, Path], theirs: Mapping[str, Path], images: Mapping[str, str]) -> dict[str, str]:
    """True name → predicted name: equal names first, then names of images, then names equal without words such as ``_seg``."""
    matched = {name: name for name in theirs if name in ours}
    from_image: dict[str, list[str]] = {}
    for name in ours:
        if name not in matched and name in images and images[name] not in matched:
            from_image.setdefault(images[name], []).append(name)
    matched |= {name: found[0] for name, found in from_image.items() if len(found) == 1}
    left = _by_core(name for name in ours if name not in matched.values())
    for core, names in _by_core(name for name in theirs if name not in matched).items():
        if len(names) == len(left.get(core, ())) == 1:
            matched[names[0]] = left[core][0]
    return matched


def _by_core(names: Iterable[str]) -> dict[str, list[str]]:
    cores: dict[str, list[str]] = {}
    for name in names:
        cores.setdefault(_MASK_WORDS.sub("", name), []).append(name)
    return cores


def _masks(path: Path, side: str) -> _Masks:
    if _is_mask(path):
        return _Masks({stem(path): path})
    if not path.exists():
        raise DataError(expected(path, "there is no such file or folder", f"{side} masks are needed here"), path=path)
    if path.is_dir():
        if (path / "validation" / "findings.json").is_file():
            path = path / "validation"
        if (path / "findings.json").is_file():
            return _Masks(_predicted(path), regions=_regions(path))
    loose = _loose(path) if path.is_dir() else {}
    try:
        cohort = Cohort.open(path)
    except LayoutError:
        if not loose:
            raise
        return _Masks(_one_each(path, loose))
    labelled = {case.name: case.label for case in cohort.labelled if case.label is not None}
    subjects = {case.name: case.subject for case in cohort.cases}
    if labelled:
        blind = tuple(case.name for case in cohort.cases if case.name not in labelled)
        return _Masks(labelled, subjects, cohort.label_names, blind, images=_images(cohort))
    if loose:
        return _Masks(_one_each(path, loose), subjects, cohort.label_names)
    raise DataError(
        expected(
            path, f"no label map in any of {counted(len(cohort.cases), 'case')}", f"{side} masks are needed to compare"
        ),
        path=path,
    )


def _images(cohort: Cohort) -> dict[str, str]:
    owners: dict[str, set[str]] = {}
    for case in cohort.labelled:
        for path in case.channels.values():
            owners.setdefault(stem(path), set()).add(case.name)
    return {name: min(cases) for name, cases in owners.items() if len(cases) == 1}


def _predicted(folder: Path) -> dict[str, Path]:
    """Masks of a folder that ``striate predict`` wrote: those whose cases its findings name, and nothing beside them."""
    names = [str(case.get("case")) for case in read_json(folder / "findings.json", "striate-findings")["cases"]]
    loose = _loose(folder)
    missing = [name for name in names if name not in loose]
    if missing:
        raise DataError(
            expected(folder, f"findings.json names {_names(missing)}, whose masks are not here",
                     "each case of the findings needs its mask", "Run striate predict again."), path=folder,
        )  # fmt: skip
    return _one_each(folder, {name: loose[name] for name in names})


def _regions(folder: Path) -> dict[str, tuple[int, ...]] | None:
    """Regions that the record of a prediction (or of the run that a ``validation`` folder belongs to) names, if any."""
    record = (folder.parent if folder.name == "validation" else folder) / "record.json"
    facts = read_json(record, "striate-record").get("facts") if record.is_file() else None
    named = facts.get("regions") if isinstance(facts, dict) else None
    return {str(n): tuple(int(v) for v in values) for n, values in named.items()} if named else None


def _loose(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and is_image(path):
            files.setdefault(stem(path), []).append(path)
    return files


def _one_each(folder: Path, files: Mapping[str, list[Path]]) -> dict[str, Path]:
    for name, paths in files.items():
        if len(paths) > 1:
            raise LayoutError(
                expected(
                    folder, f"case '{name}' has {', '.join(p.name for p in paths)}", "one mask per case is needed"
                ),
                path=folder,
            )
    return {name: paths[0] for name, paths in files.items()}


def _masks_of(names: list[str]) -> str:
    return "1 predicted mask belongs" if len(names) == 1 else f"{len(names)} predicted masks belong"


def _names(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more
