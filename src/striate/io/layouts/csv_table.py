"""A CSV, one row per case: the layout that settles everything.

Columns: ``subject`` (needed), ``label``, ``class``, ``case``, ``split``, ``rater_NAME`` or ``label_2``, ``label_3`` … (masks of
further raters, ``2``, ``3`` …); every column whose cells are image files, or folders with a DICOM series, is a channel of its
name; all others are metadata, without the cells that say nothing (`MISSING`). Paths count from the CSV's folder. Several channels
that name the same file are its channels in order. Names of labels stand in ``labels.json`` (or ``NAME.labels.json``) beside it:
``{"1": "lesion"}``. A cell of ``class`` holds one name, several joined by ``;``, ``none`` for none of them, or nothing.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from striate.core.case import NO_CLASS, SEPARATOR, Case, valid_classes
from striate.core.counted import counted, has_or_have, is_or_are
from striate.core.errors import DataError, LayoutError, expected
from striate.core.names import nearest
from striate.core.together import together
from striate.io.layouts import label_table
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import existing, modality_of
from striate.io.layouts.naming import SPLIT_WORDS, channel_name, known, starts_with
from striate.io.read import extension, known_format, stem

ENDINGS = (".csv", ".tsv")
IN_FOLDER = "cohort.csv"
_SYNONYMS = {
    "subject": ("patient", "subject_id", "patient_id", "participant_id", "participant", "id"),
    "case": ("case_id", "name"),
    "label": ("mask", "seg", "segmentation", "ground_truth", "truth", "gt", "annotation"),
    "class": ("classes",),
    "split": (),
}
_SECOND = re.compile(r"label_[2-9]")
_SPLITS = {**SPLIT_WORDS, "": None}


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: dict[str, str]


def sniff(path: Path) -> str | None:
    """Recognise a CSV file, or a folder with a ``cohort.csv``."""
    if path.is_file() and path.suffix.lower() in ENDINGS:
        return f"a table of cases: {path.name}"
    if path.is_dir() and (path / IN_FOLDER).is_file():
        return f"a table of cases: {IN_FOLDER} in the folder"
    return None


def read(path: Path) -> Layout:
    """Read the cases of a CSV; all rows that cannot be used are told at once."""
    file = path / IN_FOLDER if path.is_dir() else path
    header, rows, notes = _rows(file)
    roles = _roles(header, rows, file, notes)
    channels, raters = _path_columns(header, roles, rows, file)
    used = {*roles.values(), *channels.values(), *raters.values()}
    columns = [h for h in header if h not in used]
    cases = together(
        lambda row: _case(row, roles, channels, raters, columns, file), rows, f"rows of {file} cannot be used"
    )
    if "class" in roles and "case" not in roles:
        cases = _named_by_images(cases)
    _refuse_duplicates(cases, rows, file)
    bare = [c.name for c in cases if c.label is None]
    if bare and len(bare) < len(cases):
        notes.append(f"{len(bare)} of {len(cases)} cases {has_or_have(len(bare))} no label")
    unknown = [c for c in cases if c.classes is None]
    if unknown and len(unknown) < len(cases):
        notes.append(f"{len(unknown)} of {len(cases)} cases {has_or_have(len(unknown))} no class")
    told = [c for c in columns if not c.startswith(("rater", "label"))]  # those of files that no row has
    return Layout("csv", cases, label_table.beside(file), modality_of(channels), notes, told)


def _rows(file: Path) -> tuple[list[str], list[_Row], list[str]]:
    """Return the header (lower case), the rows that hold anything, and notes."""
    notes: list[str] = []
    try:
        data = file.read_bytes()
    except OSError as error:
        raise LayoutError(expected(file, f"not readable ({error.strerror})", "a CSV is needed"), path=file) from error
    if b"\0" in data:
        raise LayoutError(
            expected(file, "it holds zero bytes, so it is not text", "a CSV in UTF-8 is needed"), path=file
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        notes.append(f"{file.name} is not UTF-8; it was read as Windows-1252")
    first = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    if not first:
        raise LayoutError(
            expected(
                file, "it is empty", "a header and one row per case are needed", "For instance: subject,flair,label"
            ),
            path=file,
        )
    delimiter = max(",;\t", key=first.count)
    try:
        table = list(csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise LayoutError(
            expected(file, f"not a valid table ({error})", "one row per case is needed"), path=file
        ) from error
    start = next((i for i, cells in enumerate(table) if any(c.strip() for c in cells)), 0)
    header = [c.strip().casefold() for c in table[start]]
    _check_header(header, file)
    rows = []
    for line, cells in enumerate(table[start + 1 :], start=start + 2):
        if not any(c.strip() for c in cells):
            continue
        if len(cells) > len(header) and any(c.strip() for c in cells[len(header) :]):
            raise LayoutError(
                expected(f"{file} row {line}", counted(len(cells), "cell"),
                         f"{len(header)} {is_or_are(len(header))} needed, as in the header",
                         "Put names with commas into quotes."), path=file,
            )  # fmt: skip
        padded = [*cells, *[""] * len(header)]
        rows.append(_Row(line, {h: padded[i].strip() for i, h in enumerate(header) if h}))
    if not rows:
        raise LayoutError(expected(file, "a header and no rows", "one row per case is needed"), path=file)
    return [h for h in header if h], rows, notes


def _check_header(header: list[str], file: Path) -> None:
    named = [h for h in header if h]
    twice = next((h for h in named if named.count(h) > 1), None)
    if twice:
        raise LayoutError(
            expected(file, f"two columns named '{twice}'", "each column needs a name of its own"), path=file
        )


def _roles(header: list[str], rows: list[_Row], file: Path, notes: list[str]) -> dict[str, str]:
    """Return role → column for subject, case, label, class and split.

    Raises
    ------
    LayoutError
        When nothing tells the subject, or a column's name looks like a misspelt role that is absent.
    """
    roles = {role: role for role in _SYNONYMS if role in header}
    for role, others in _SYNONYMS.items():
        found = next((o for o in others if o in header), None)
        if role not in roles and found:
            roles[role] = found
            notes.append(f"column '{found}' was taken as {role}")
    for column in header:
        meant = nearest(column, _SYNONYMS)
        if column in roles.values() or meant is None or meant in roles or not _like(column, meant):
            continue
        cells = [row.cells[column] for row in rows]
        if meant == "split" and not all(c.casefold() in _SPLITS for c in cells):
            continue
        if meant == "label" and not any(_is_path(c) for c in cells):
            continue
        raise LayoutError(
            expected(file, f"unknown column '{column}'", "columns subject, label, class, case, split, one per channel, and"
                     " metadata of any other name are known", f"Did you mean '{meant}'?"), path=file,
        )  # fmt: skip
    if "subject" not in roles and "case" in roles:
        roles["subject"] = roles["case"]
        notes.append("there is no column 'subject': each case was taken as a subject of its own")
    if "subject" not in roles:
        raise LayoutError(
            expected(file, f"columns {', '.join(header)}", "a column 'subject' is needed, since subjects are never split over"
                     " training and validation", "For instance: subject,flair,label"), path=file,
        )  # fmt: skip
    return roles


def _like(column: str, role: str) -> bool:
    """Tell a slip of the fingers (``lable``, ``labels``, ``subjct``) from a name of its own (``slit``, ``cave``)."""
    if column.rstrip("s") == role.rstrip("s"):
        return True
    return (
        abs(len(column) - len(role)) <= 1
        and len(role) > 4
        and (sorted(column) == sorted(role) or _one_edit(column, role))
    )


def _one_edit(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    if len(short) == len(long):
        return sum(x != y for x, y in zip(short, long, strict=True)) == 1
    return any(short == long[:i] + long[i + 1 :] for i in range(len(long)))


def _is_path(cell: str) -> bool:
    return extension(Path(cell)) is not None


def _of_series(cells: Iterable[str], file: Path) -> bool:
    """Tell whether a cell names a folder with a DICOM series, or a DICOM file without an ending."""
    return any(known_format(_place(cell, file)) is not None for cell in dict.fromkeys(cells) if cell.strip("./\\"))


def _place(cell: str, file: Path) -> Path:
    """Return what a cell names, counted from the CSV's folder."""
    path = file.parent / cell
    with suppress(OSError):  # a name that no system takes
        if "\\" in cell and not path.exists():
            return file.parent / cell.replace("\\", "/")
    return path


def _path_columns(
    header: list[str], roles: dict[str, str], rows: list[_Row], file: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Return channel name → column, and rater → column."""
    channels: dict[str, str] = {}
    raters: dict[str, str] = {}
    for column in (h for h in header if h not in roles.values()):
        cells = [row.cells[column] for row in rows]
        if not any(map(_is_path, cells)) and not _of_series(cells, file):
            continue
        if column.startswith(("rater_", "rater:")):
            raters[column[6:] or "2"] = column
        elif _SECOND.fullmatch(column) and "label" in roles and column[6:] not in raters:
            raters[column[6:]] = column
        elif column.startswith("label") or column in _SYNONYMS["label"]:
            raise LayoutError(
                expected(file, f"columns '{roles.get('label', 'label')}' and '{column}' both look like label maps",
                         "one column 'label' is needed", "Call a second rater's masks rater_NAME, or remove the column."),
                path=file,
            )  # fmt: skip
        else:
            name = channel_name(column)
            if name in channels:
                raise LayoutError(
                    expected(
                        file,
                        f"columns '{channels[name]}' and '{column}' are the same name",
                        "channels need names of their own",
                    ),
                    path=file,
                )
            channels[name] = column
    if not channels:
        raise LayoutError(
            expected(file, f"columns {', '.join(header)}, none of them with image files",
                     "a column per channel with image files is needed", "For instance: subject,flair,label"), path=file,
        )  # fmt: skip
    return channels, raters


def _file(row: _Row, column: str, file: Path) -> Path:
    """Return the file of a cell, counted from the CSV's folder.

    Raises
    ------
    LayoutError
        When it is missing; row and column are named.
    """
    cell = row.cells[column]
    where = f"{file} row {row.line}, column '{column}'"
    if not cell:
        raise LayoutError(expected(where, "an empty cell", "every case needs all channels"), path=file)
    if len(cell) > 4000:
        raise LayoutError(expected(where, f"a cell of {len(cell)} characters", "a file name is needed"), path=file)
    path = _place(cell, file)
    existing(path, where)
    if known_format(path) is None:
        want = "an image file is needed (.nii.gz, .png, …), or a folder with a DICOM series"
        raise LayoutError(expected(where, f"'{cell}'", want), path=file)
    return path


def _label(row: _Row, roles: dict[str, str], file: Path) -> Path | None:
    """Return the label map of a row, if any.

    Raises
    ------
    LayoutError
        When it is missing; where the cell is no file name at all, the column for names of classes is told.
    """
    column = roles.get("label", "")
    cell = row.cells.get(column, "")
    if not cell:
        return None
    if not _is_path(cell) and not {"/", "\\"} & set(cell) and not (file.parent / cell[:255]).exists():
        where = f"{file} row {row.line}, column '{column}'"
        raise LayoutError(
            expected(where, f"'{cell[:100]}', there is no such file", "a label map is needed here",
                     "If these are names of classes of the whole image, call the column 'class'."), path=file,
        )  # fmt: skip
    return _file(row, column, file)


def _classes(row: _Row, roles: dict[str, str], file: Path) -> tuple[str, ...] | None:
    """Return the classes of a row: None where the cell is empty, () where it says ``none``.

    Raises
    ------
    LayoutError
        When a cell holds an image file, an empty or repeated name, or ``none`` beside a name.
    """
    column = roles.get("class", "")
    cell = row.cells.get(column, "")
    if not cell:
        return None
    where = f"{file} row {row.line}, column '{column}'"
    names = [n.strip() for n in cell.split(SEPARATOR)]
    image = next((n for n in names if _is_path(n)), None)
    if image is not None:
        raise LayoutError(
            expected(where, f"'{image[:100]}' is an image file", "names of classes are needed here",
                     "Label maps belong into the column 'label'; a channel needs another name."), path=file,
        )  # fmt: skip
    if len(names) == 1 and names[0].casefold() == NO_CLASS:
        return ()
    try:
        return valid_classes(names, where)
    except DataError as error:
        hint = f"Several are joined by '{SEPARATOR}'; a cell with only '{NO_CLASS}' says none of them."
        raise LayoutError(f"{error.message} {hint}", path=file) from error


def _case(
    row: _Row, roles: dict[str, str], channels: dict[str, str], raters: dict[str, str], columns: list[str], file: Path
) -> Case:
    subject = row.cells[roles["subject"]]
    where = f"{file} row {row.line}"
    if not subject:
        raise LayoutError(expected(where, "no subject", "each row needs one"), path=file)
    split = row.cells.get(roles.get("split", ""), "").casefold()
    if split not in _SPLITS:
        raise LayoutError(
            expected(where, f"split '{split}'", "train, validation, test or nothing is needed"), path=file
        )
    label = _label(row, roles, file)
    metadata = known({k: row.cells[k] for k in columns})
    time = metadata.get("time") or metadata.get("session") or metadata.get("visit")
    name = row.cells.get(roles.get("case", ""), "") or (f"{subject}_{time}" if time else subject)
    for part in (name, subject):
        if "/" in part or "\\" in part:
            raise LayoutError(
                expected(where, f"the name '{part}'", "a name without slashes is needed, it becomes a file name"),
                path=file,
            )
    return Case(
        name, subject, {n: _file(row, c, file) for n, c in channels.items()}, label,
        {n: _file(row, c, file) for n, c in raters.items() if row.cells[c]}, _SPLITS[split], metadata,
        _classes(row, roles, file),
    )  # fmt: skip


def _named_by_images(cases: list[Case]) -> list[Case]:
    """Name cases whose names return after their images: subjects of a table of classes often have several."""
    often = {n for n, count in Counter(c.name for c in cases).items() if count > 1}
    images = [stem(next(iter(c.channels.values()))) for c in cases]
    return [
        replace(c, name=i if starts_with(i, c.name) else f"{c.name}_{i}") if c.name in often else c
        for c, i in zip(cases, images, strict=True)
    ]


def _refuse_duplicates(cases: list[Case], rows: list[_Row], file: Path) -> None:
    seen: dict[str, int] = {}
    for case, row in zip(cases, rows, strict=True):
        if case.name in seen:
            raise LayoutError(
                expected(file, f"rows {seen[case.name]} and {row.line} are both '{case.name}' (duplicate subject)",
                         "each row needs a name of its own", "Add a column 'time' or 'case' that tells them apart."),
                case=case.name, path=file,
            )  # fmt: skip
        seen[case.name] = row.line
