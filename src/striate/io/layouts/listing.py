"""What lies in a folder: images and folders, in a fixed order, broken links and missing rights explained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from striate.core.errors import LayoutError, expected
from striate.core.names import did_you_mean, natural_order
from striate.core.together import together
from striate.io.formats.content import explain
from striate.io.read import is_image, stem

MODALITIES = {"ct": "ct", "cbct": "ct", "mr": "mr", "mri": "mr", "pet": "pet", "us": "us"}
_MR = re.compile(r"(^|[_-])(flair|t1|t2|t1w|t2w|t1c|t1ce|t1gd|pd|dwi|adc|swi|mri?)([_-]|$)")


def entries(folder: Path) -> list[Path]:
    """Return what lies in `folder`, hidden entries left out, in natural order (P2 before P10).

    Raises
    ------
    LayoutError
        When the folder cannot be read.
    """
    try:
        found = [p for p in Path(folder).iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise LayoutError(str(explain(error, folder)).replace("an image file", "a folder"), path=folder) from error
    return sorted(found, key=lambda p: natural_order(p.name))


def images_in(folder: Path) -> list[Path]:
    """Return the images in `folder`: files, and subfolders that are a DICOM series; not what lies deeper.

    Raises
    ------
    LayoutError
        When entries with an image's name are broken links or loops of links.
    """
    found = [p for p in entries(folder) if is_image(p)]
    together(lambda path: existing(path, path.parent), found, f"images in {folder} are not there")
    return [p for p in found if p.is_file() or p.is_dir()]


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder`."""
    return [p for p in entries(folder) if p.is_dir()]


def folder_named(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the subfolder with one of `names`, whatever its case."""
    wanted = [n.casefold() for n in names]
    found = {p.name.casefold(): p for p in folders_in(folder)}
    return next((found[n] for n in wanted if n in found), None)


def existing(path: Path, where: object) -> Path:
    """Return `path`.

    Raises
    ------
    LayoutError
        When nothing readable is there; the nearest name beside it is given.
    """
    try:
        path.stat()
    except OSError as error:
        prefix = "" if where == path.parent else f"{where}: "
        raise LayoutError(f"{prefix}{explain(error, path)}", path=path) from error
    return path


def modality_of(channels: Iterable[str]) -> str | None:
    """Guess the modality from channel names."""
    names = [c.casefold() for c in channels]
    for name in names:
        for token in re.split(r"[_-]", name):
            if token in MODALITIES:
                return MODALITIES[token]
    return "mr" if any(_MR.search(n) for n in names) else None


def listed(names: Iterable[str], most: int = 3) -> str:
    """Write at most `most` names, and how many there are more."""
    shown = list(names)
    rest = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + rest


def by_stem(paths: Iterable[Path], where: object) -> dict[str, Path]:
    """Return stem → file.

    Raises
    ------
    LayoutError
        When two files differ only in their ending.
    """
    table: dict[str, Path] = {}
    for path in paths:
        name = stem(path)
        if name in table:
            raise LayoutError(
                expected(
                    where,
                    f"{table[name].name} and {path.name}",
                    f"one file named {name} is needed",
                    "Remove one of them.",
                ),
                path=path,
            )
        table[name] = path
    return table


def missing_label(case: str, labels: Mapping[str, Path], folder: Path, hint: str) -> LayoutError:
    """Return the error for an image without its label map."""
    return LayoutError(
        expected(f"case {case}", f"no label map named {case} in {folder}", "each image here needs one",
                 f"{did_you_mean(case, labels) if len(labels) <= 12 else ''} {hint}".strip()), case=case, path=folder,
    )  # fmt: skip
