"""nnU-Net v2 raw: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``dataset.json``.

Definition: nnU-Net's documentation/dataset_format.md. ``imagesTs`` becomes the split ``test``; a case is its own subject.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import LayoutError, expected
from striate.core.files import read_json
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import (
    by_stem,
    folder_named,
    folders_in,
    images_in,
    listed,
    missing_label,
    modality_of,
)
from striate.io.layouts.naming import channel_name, subject_of
from striate.io.read import stem

_NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_KNOWN = ("imagestr", "labelstr", "imagests", "labelsts")


def sniff(path: Path) -> str | None:
    """Recognise ``imagesTr`` with numbered channels."""
    folder = folder_named(path, ["imagesTr"]) if path.is_dir() else None
    if folder is None:
        return None
    numbered = [p for p in images_in(folder) if _NUMBERED.fullmatch(stem(p))]
    return f"nnU-Net raw data: imagesTr with {counted(len(numbered), 'numbered file')}" if numbered else None


def read(path: Path) -> Layout:
    """Read the training and test images of a raw nnU-Net folder."""
    document = read_json(path / "dataset.json") if (path / "dataset.json").is_file() else {}
    notes = [] if document else ["there is no dataset.json: channels and labels have numbers for names"]
    names = _channel_names(document)
    cases: list[Case] = []
    train = folder_named(path, ["imagesTr"])
    labels = folder_named(path, ["labelsTr"])
    if train is None or labels is None:
        raise LayoutError(expected(path, "imagesTr without labelsTr", "training images need label maps"), path=path)
    cases += _cases(train, labels, names, None, notes)
    test = folder_named(path, ["imagesTs"])
    if test is not None and images_in(test):
        cases += _cases(test, folder_named(path, ["labelsTs"]), names, "test", notes)
    others = [p.name for p in folders_in(path) if p.name.casefold() not in _KNOWN]
    if others:
        notes.append(f"folders left out: {listed(others, 8)}")
    return Layout("nnunet", cases, label_names(document, notes), modality_of(cases[0].channels), notes)


def _channel_names(document: dict[str, Any]) -> list[str]:
    """Return the channels of dataset.json in order of their number; ``modality`` is how version 1 called them."""
    table = document.get("channel_names") or document.get("modality") or {}
    if not isinstance(table, dict):
        return []
    numbers = sorted(table, key=lambda k: int(k) if str(k).isdigit() else 0)
    names = [channel_name(str(table[k])) for k in numbers]
    return names if len(set(names)) == len(names) else [f"{n}{k}" for n, k in zip(names, numbers, strict=True)]


def label_names(document: dict[str, Any], notes: list[str]) -> dict[int, str]:
    """Read ``labels`` of a dataset.json, in the form name → value (version 2) or value → name (version 1, Decathlon)."""
    found: dict[int, str] = {}
    table = document.get("labels") or {}
    for key, value in table.items() if isinstance(table, dict) else ():
        name, number = (value, key) if str(key).isdigit() else (key, value)
        if isinstance(number, list):
            notes.append(
                f"dataset.json defines the region {name} = {'+'.join(map(str, number))}: ask for it with --regions"
            )
        elif str(number).isdigit() and int(number) != 0:
            found[int(number)] = channel_name(str(name))
    return dict(sorted(found.items()))


def _cases(folder: Path, labels: Path | None, names: list[str], split: str | None, notes: list[str]) -> list[Case]:
    groups: dict[str, dict[int, Path]] = {}
    for name, file in by_stem(images_in(folder), folder).items():
        match = _NUMBERED.fullmatch(name)
        if match is None:
            raise LayoutError(
                expected(file, f"named {name}", "nnU-Net's form CASE_0000 with a channel number is needed"), path=file
            )
        groups.setdefault(match["case"], {})[int(match["channel"])] = file
    masks = by_stem(images_in(labels), labels) if labels else {}
    unused = [n for n in masks if n not in groups]
    if unused:
        notes.append(f"{labels.name if labels else ''}: label maps without an image were left out ({listed(unused)})")
    needed = sorted({c for files in groups.values() for c in files})
    cases = []
    for case, files in groups.items():
        lacking = [c for c in needed if c not in files]
        if lacking:
            raise LayoutError(
                expected(f"case {case}", f"no {case}_{lacking[0]:04d} in {folder}",
                         f"all cases need the channels {listed([f'{c:04d}' for c in needed], 8)}"), case=case, path=folder,
            )  # fmt: skip
        if split is None and labels is not None and case not in masks:
            raise missing_label(case, masks, labels, "Add it, or move the images to imagesTs.")
        cases.append(Case(case, subject_of(case), _channels(files, names), masks.get(case), split=split))
    if not cases:
        raise LayoutError(expected(folder, "no images", "files such as CASE_0000.nii.gz are needed"), path=folder)
    return cases


def _channels(files: dict[int, Path], names: list[str]) -> dict[str, Path]:
    """Name the files of a case; one file may hold all named channels (an RGB picture)."""
    if len(files) == 1 and len(names) > 1:
        file = next(iter(files.values()))
        return dict.fromkeys(names, file)
    return {(names[c] if c < len(names) else f"channel{c}"): file for c, file in sorted(files.items())}
