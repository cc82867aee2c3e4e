"""From what the user gave (files, folders, CSVs) to cases whose channels are those of the model, in its order.

Rules, in this order. A folder with a DICOM series is an image, as a file is. A CSV or a folder in a known layout is a cohort;
its channels are matched by name. Otherwise images are grouped: by endings ``_0000``, ``_0001`` … (nnU-Net's channel numbers), by
endings that are the model's channel names (``p01_flair``), as the channels of one case where there are as many images as
channels, as one case per image where the model has one channel or each image holds all of them.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, GeometryError, LayoutError, ModelError, UsageError, expected
from striate.core.image import Grid
from striate.core.together import together
from striate.data.cohort import Cohort
from striate.io.formats import DICOM
from striate.io.layouts.csv_table import ENDINGS
from striate.io.layouts.listing import images_in
from striate.io.read import files_of, is_image, known_format, read_header, stem

NUMBERED = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
UNNAMED = re.compile(r"^(image|channel_?\d+)$")


def gather(paths: Sequence[Path], channels: tuple[str, ...]) -> list[Case]:
    """Return the cases in `paths`, each with exactly the channels of the model.

    Parameters
    ----------
    paths
        Image files, folders, CSVs.
    channels
        Of the model, in order.

    Raises
    ------
    UsageError
        When there is no path, or files cannot be grouped.
    LayoutError
        When images of a folder are dead links.
    DataError
        When a path does not exist, holds no image, or two cases have one name.
    ModelError
        When channels are missing or are others than the model's.
    """
    if not paths:
        raise UsageError("predict: no INPUT was given; an image file, a folder or a cohort CSV is needed.")
    files: list[Path] = []
    cases: list[Case] = []
    together(_there, map(Path, paths))
    for path in map(Path, paths):
        if path.is_dir() and not is_image(path):
            cases.extend(_folder(path, channels))
        elif path.suffix.lower() in ENDINGS:
            cases.extend(together(lambda case: match(case, channels), Cohort.open(path).cases))
        else:
            files.append(path)
    if files:
        _refuse_slices(files)
        cases.extend(group(files, channels))
    names = [case.name for case in cases]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        of = ", ".join(str(next(iter(case.channels.values()))) for case in cases if case.name == twice[0])
        raise DataError(
            expected(f"case {twice[0]}", f"it is given twice ({of})", "each case becomes one file of its name",
                     "Rename one of them."), case=twice[0],
        )  # fmt: skip
    return cases


def _refuse_slices(files: Sequence[Path]) -> None:
    """Refuse slices of one DICOM series that are given each, since any one of them stands for all.

    Raises
    ------
    UsageError
        With the folder to give.
    """
    given: dict[Path, Path] = {}

    def alone(path: Path) -> None:
        parts = files_of(path)
        other = given.setdefault(parts[0].absolute(), path)
        if other != path and len(parts) > 1:
            raise UsageError(
                expected(path, f"a slice of the same DICOM series as {other}", "one of them stands for the whole series",
                         f"Give their folder: {path.absolute().parent}")
            )  # fmt: skip

    together(alone, files)


def _refuse_unclear(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a folder whose DICOM files are no image, and one of DICOM slices beside `files`, which are other images.

    Raises
    ------
    DataError
        With what is there.
    """
    if not files:
        read_header(folder)
    elif DICOM.is_image(folder) and not any(known_format(path) is DICOM for path in files):
        others = f"{files[0].name}{' …' if len(files) > 1 else ''}"
        raise DataError(
            expected(folder, f"DICOM slices beside {counted(len(files), 'other image')} ({others})", "it must be clear what the"
                     " image is", "Name the file that is meant; of the DICOM series any one."), path=folder,
        )  # fmt: skip


def _folder(folder: Path, channels: tuple[str, ...]) -> list[Case]:
    files = images_in(folder)
    if known_format(folder) is DICOM:
        _refuse_unclear(folder, files)
    if files and all(NUMBERED.match(stem(p)) for p in files):
        return group(files, channels)
    try:
        cohort = Cohort.open(folder)
    except LayoutError:
        if not files:
            raise
        return group(files, channels)
    return together(lambda case: match(case, channels), cohort.cases)


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(
            expected(path, "there is no such file or folder", "an image, a folder or a CSV is needed"), path=path
        )
    return path


def match(case: Case, channels: tuple[str, ...]) -> Case:
    """Return `case` with the channels of the model, by name where names are known, else by order.

    Raises
    ------
    ModelError
        When a channel is missing, or there are others than the model's.
    """
    known = {name.casefold(): path for name, path in case.channels.items()}
    if all(name.casefold() in known for name in channels):
        chosen = {name: known[name.casefold()] for name in channels}
    elif len(known) == len(channels) and (_unnamed(known) or _unnamed(channels)):
        chosen = dict(zip(channels, case.channels.values(), strict=True))
    else:
        missing = [name for name in channels if name.casefold() not in known]
        raise ModelError(
            expected(f"case {case.name}", f"channels {', '.join(case.channels)}",
                     f"the model was trained on {', '.join(channels)}, so {', '.join(missing)} is missing",
                     "Give the files themselves in the model's order if only the names differ."), case=case.name,
        )  # fmt: skip
    return replace(case, channels=chosen)


def _unnamed(names: Iterable[str]) -> bool:
    """Tell whether names say nothing of what a channel shows."""
    return all(UNNAMED.match(name.casefold()) for name in names)


def group(files: Sequence[Path], channels: tuple[str, ...]) -> list[Case]:
    """Return image files as cases; see the rules at the top.

    Raises
    ------
    ModelError
        When a case has not the number of channels of the model.
    UsageError
        When nothing tells which file is which channel.
    """
    numbered = [NUMBERED.match(stem(path)) for path in files]
    if all(numbered):
        found: dict[str, dict[int, Path]] = {}
        for path, name in zip(files, numbered, strict=True):
            if name is not None:
                found.setdefault(name["case"], {})[int(name["channel"])] = path
        return together(lambda case: _numbered(case, found[case], channels), sorted(found))
    if len(channels) == 1:
        return [_case(stem(path), {channels[0]: path}) for path in files]
    named = _by_names(files, channels)
    if named is not None:
        return named
    if all(read_header(path, stack=len(channels)).channels == len(channels) for path in files):
        return [_case(stem(path), dict.fromkeys(channels, path)) for path in files]
    if len(files) == len(channels):
        return [_case(_common(files), dict(zip(channels, files, strict=True)))]
    raise ModelError(
        expected(", ".join(p.name for p in files[:4]), "1 file that does not say which channel it is" if len(files) == 1 else
                 f"{len(files)} files that do not say which channel they are",
                 f"the model needs {len(channels)} channels per case ({', '.join(channels)})",
                 f"Give the files of one case in this order, or name them CASE_{channels[0]}, or CASE_0000, CASE_0001 …"),
        path=files[0],
    )  # fmt: skip


def _numbered(case: str, given: dict[int, Path], channels: tuple[str, ...]) -> Case:
    if (
        list(given) == [0]
        and len(channels) > 1
        and read_header(given[0], stack=len(channels)).channels == len(channels)
    ):
        return _case(case, dict.fromkeys(channels, given[0]))  # as nnU-Net names pictures in colours
    if sorted(given) != list(range(len(channels))):
        numbers = ", ".join(f"_{n:04d}" for n in sorted(given))
        wanted = ", ".join(f"_{n:04d} ({name})" for n, name in enumerate(channels))
        raise ModelError(
            expected(f"case {case}", f"{counted(len(given), 'channel')} ({numbers})",
                     f"the model needs {len(channels)}: {wanted}"), case=case,
        )  # fmt: skip
    return _case(case, {name: given[n] for n, name in enumerate(channels)})


def _by_names(files: Sequence[Path], channels: tuple[str, ...]) -> list[Case] | None:
    """Group by endings that are channel names, the longest that fits; None where a file has no such ending, or two the same.

    Raises
    ------
    ModelError
        When a case lacks a channel.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in files:
        name = stem(path)
        fitting = [c for c in channels if re.search(rf"(^|[_.-]){re.escape(c)}$", name, re.IGNORECASE)]
        channel = max(fitting, key=len, default=None)
        if channel is None:
            return None
        case = name[: -len(channel)].rstrip("_.-") or path.parent.name or "case"
        if channel in found.setdefault(case, {}):
            return None
        found[case][channel] = path
    return together(lambda case: _named(case, found[case], channels), sorted(found))


def _named(case: str, given: dict[str, Path], channels: tuple[str, ...]) -> Case:
    if any(c not in given for c in channels):
        raise ModelError(
            expected(f"case {case}", f"channels {', '.join(given)}", f"the model needs {', '.join(channels)} too"),
            case=case,
        )
    return _case(case, {c: given[c] for c in channels})


def _common(files: Sequence[Path]) -> str:
    """Return what the names of a case's files begin with in common, cut at a separator."""
    names = [stem(path) for path in files]
    length = next(
        (n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), min(map(len, names))
    )
    return re.sub(r"[\W_]+[^\W_]*$|[\W_]+$", "", names[0][:length]) or names[0]


def _case(name: str, channels: dict[str, Path]) -> Case:
    return Case(name, name, channels)


def check_headers(case: Case, spatial_dims: int) -> tuple[Grid, int]:
    """Check that the files of `case` fit the model and each other, from their headers alone.

    Parameters
    ----------
    case
        With the channels of the model.
    spatial_dims
        Axes of the images that the model was trained on.

    Returns
    -------
    grid
        That all channels lie on.
    channels
        How many there are.

    Raises
    ------
    GeometryError
        When the number of axes is another, or two channels lie on different grids.
    ModelError
        When a file holds more or fewer channels than are taken from it.
    """
    grids: list[tuple[Path, Grid]] = []
    for path, names in _files(case):
        header = read_header(path, stack=len(names) if len(names) > 1 else 0)
        if len(header.grid.shape) != spatial_dims:
            raise GeometryError(
                expected(f"case {case.name}", f"{path.name} is {len(header.grid.shape)}D, shape {header.grid.shape}",
                         f"the model was trained on {spatial_dims}D images"), case=case.name, path=path,
            )  # fmt: skip
        if header.channels != len(names):
            raise ModelError(
                expected(f"case {case.name}", f"{path.name} holds {counted(header.channels, 'channel')}",
                         f"the model takes {len(names)} from it ({', '.join(names)})"), case=case.name, path=path,
            )  # fmt: skip
        grids.append((path, header.grid))
    first_path, first = grids[0]
    for path, grid in grids[1:]:
        if not grid.matches(first):
            raise GeometryError(
                expected(f"case {case.name}", f"{path.name} has shape {grid.shape}, spacing {_mm(grid)}, axes {grid.axes};"
                         f" {first_path.name} has shape {first.shape}, spacing {_mm(first)}, axes {first.axes}",
                         "all channels of a case must lie on one grid", "Resample them onto one of them."),
                case=case.name, path=path,
            )  # fmt: skip
    return first, len(case.channels)


def check_all_headers(
    cases: Sequence[Case], spatial_dims: int, given: Sequence[Path | str] = (), *, done: str = "predicted"
) -> dict[str, tuple[Grid, int]]:
    """Return by case what `check_headers` does; all cases that do not fit are told at once.

    Parameters
    ----------
    cases, spatial_dims
        As for `check_headers`.
    given
        Where the cases were found: the first folder or CSV is named, which can be checked.
    done
        What would be done with the cases.

    Raises
    ------
    DataError, ModelError
        Of a single case its own; of several one with the sentences of the first, of the kind of the first.
    """
    place = next((path for path in given if Path(path).is_dir() or Path(path).suffix.lower() in ENDINGS), None)
    hint = f"\n  striate check {shlex.quote(str(place))} shows every problem of files." if place is not None else ""
    headers = together(
        lambda case: check_headers(case, spatial_dims), cases, f"cases cannot be {done}, so nothing was", hint
    )
    return {case.name: header for case, header in zip(cases, headers, strict=True)}


def _files(case: Case) -> Iterator[tuple[Path, list[str]]]:
    for path in dict.fromkeys(case.channels.values()):
        yield path, [name for name, p in case.channels.items() if p == path]


def _mm(grid: Grid) -> str:
    return " × ".join(f"{v:.4g}" for v in grid.spacing_mm) + " mm"
