"""Plain folders: ``images/`` and ``masks/``, or images with their ``*_seg``, ``*_mask``, ``*_label`` beside them.

What is stripped from a mask's name (``_seg``, ``_mask`` …) leaves the case; images that start with it are its channels, the
rest of their name being the channel's (``P1_flair``, ``P1_t1``). One folder per case is understood too. Where files of one
case lie on different grids they cannot be channels and label of one examination: that is said, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted, has_or_have
from striate.core.errors import LayoutError, StriateError, expected
from striate.core.image import Grid
from striate.io.layouts import label_table
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import (
    by_stem,
    folder_named,
    folders_in,
    images_in,
    listed,
    modality_of,
)
from striate.io.layouts.naming import channel_of, mask_owner, starts_with, subject_of, without_channel
from striate.io.read import read_header

IMAGE_FOLDERS = ("images", "image", "imgs", "scans")
MASK_FOLDERS = ("masks", "labels", "mask", "label", "segmentations", "segmentation", "seg", "annotations", "gt")
_CHECKED_CASES = 5


@dataclass(slots=True)
class _Found:
    """Files of one case, as they are gathered."""

    channels: dict[str, Path] = field(default_factory=dict)
    masks: list[Path] = field(default_factory=list)


def sniff(path: Path) -> str | None:
    """Recognise a folder with images, two folders of images and masks, or one folder of images per case."""
    if not path.is_dir():
        return None
    if folder_named(path, IMAGE_FOLDERS):
        masks = folder_named(path, MASK_FOLDERS)
        return "plain folders: images" + (f" and {masks.name}" if masks else "")
    if files := images_in(path):
        return f"a plain folder of {counted(len(files), 'image')}"
    filled = [p for p in folders_in(path) if images_in(p)]
    return f"{counted(len(filled), 'plain folder')}, one per case" if filled else None


def read(path: Path) -> Layout:
    """Read images and masks by their names."""
    notes: list[str] = []
    images = folder_named(path, IMAGE_FOLDERS)
    if images:
        found = _two_folders(images, folder_named(path, MASK_FOLDERS))
    elif files := images_in(path):
        found = _one_folder(files, path)
    else:
        found = _folder_per_case(path)
    cases = [_case(name, files, path) for name, files in found.items()]
    if not cases:
        raise LayoutError(expected(path, "no images", "images and their masks are needed"), path=path)
    cases = _same_channels(cases, path)
    _refuse_other_grids(cases, path)
    bare = [c.name for c in cases if c.label is None]
    if bare:
        notes.append(f"{len(bare)} of {counted(len(cases), 'case')} {has_or_have(len(bare))} no mask: {listed(bare)}")
    return Layout("plain", cases, label_table.beside(path), modality_of(cases[0].channels), notes)


def _grouped(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, _Found]:
    """Join images (stem → file) with masks (case → file)."""
    owners = {m: (m if m not in images else without_channel(m)) for m in masks}
    if any(m in images and owners[m] == m for m in masks):
        owners = {m: m for m in masks}
    found: dict[str, _Found] = {}
    for mask, file in masks.items():
        found.setdefault(owners[mask], _Found()).masks.append(file)
    labelled = dict(found)
    lone = dict.fromkeys(without_channel(name) for name in images)
    alone = dict.fromkeys(lone, 0)
    for name in images:
        alone[without_channel(name)] += 1
    for name, file in images.items():
        owner = max((c for c in labelled if starts_with(name, c)), key=len, default=None)
        if owner is None:
            short = without_channel(name)
            numbered = re.fullmatch(r".+_\d{4}", name) is not None
            owner = short if labelled or numbered or alone[short] > 1 else name
        found.setdefault(owner, _Found()).channels[channel_of(name, owner)] = file
    return found


def _one_folder(files: list[Path], folder: Path) -> dict[str, _Found]:
    named = by_stem(files, folder)
    owners = {n: o for n in named if (o := mask_owner(n)) is not None}
    if "" in owners.values():
        return {folder.resolve().name: _one_case(folder, folder.resolve().name)}
    for name, owner in list(owners.items()):
        if owner not in named and any(o == owner and starts_with(n, name) and n != name for n, o in owners.items()):
            del owners[name]  # P1_lesion is the image where P1_lesion_mask is its mask
    masks: dict[str, Path] = {}
    for name, owner in owners.items():
        between = [
            n for n in named if n not in owners and n != owner and starts_with(name, n) and starts_with(n, owner)
        ]
        whole = between[0] if between else owner
        if whole in masks:
            raise _two_masks(whole, masks[whole], named[name], folder)
        masks[whole] = named[name]
    images = {n: f for n, f in named.items() if n not in owners}
    if not images:
        raise LayoutError(
            expected(folder, f"{counted(len(masks), 'mask')} ({listed([p.name for p in masks.values()])}) and no images",
                     "images are needed beside their masks", "A CSV settles it: subject,flair,label"), path=folder,
        )  # fmt: skip
    return _grouped(images, masks)


def _two_folders(images: Path, masks: Path | None) -> dict[str, _Found]:
    pictures = by_stem(images_in(images), images)
    named = by_stem(images_in(masks), masks) if masks else {}
    owners: dict[str, Path] = {}
    for name, file in named.items():
        owner = name if name in pictures else mask_owner(name) or name
        if owner in owners:
            raise _two_masks(owner, owners[owner], file, masks or images)
        owners[owner] = file
    return _grouped(pictures, owners)


def _folder_per_case(path: Path) -> dict[str, _Found]:
    return {f.name: _one_case(f, f.name) for f in folders_in(path) if images_in(f)}


def _one_case(folder: Path, case: str) -> _Found:
    """Take all images of `folder` as those of one case."""
    named = by_stem(images_in(folder), folder)
    masks = {n: f for n, f in named.items() if mask_owner(n) is not None}
    if len(masks) > 1:
        first, second, *_ = masks.values()
        raise _two_masks(case, first, second, folder)
    if len(masks) == len(named):
        raise LayoutError(
            expected(folder, f"a mask ({listed(masks)}) and no image", "images are needed beside it"), path=folder
        )
    pictures = {n: f for n, f in named.items() if n not in masks}
    channels = {channel_of(n, case if starts_with(n, case) else ""): f for n, f in pictures.items()}
    if len(pictures) == 1:
        channels = {
            c if starts_with(n, case) else "image": f for (n, f), c in zip(pictures.items(), channels, strict=True)
        }
    return _Found(channels, list(masks.values()))


def _two_masks(case: str, first: Path, second: Path, folder: Path) -> LayoutError:
    return LayoutError(
        expected(f"case {case}", f"two masks, {first.name} and {second.name}", "one label map per case is needed",
                 "A CSV settles it: subject,flair,label,rater_2"), case=case, path=folder,
    )  # fmt: skip


def _case(name: str, files: _Found, path: Path) -> Case:
    if not files.channels:
        raise LayoutError(
            expected(f"case {name}", f"a mask ({files.masks[0].name}) and no image", "image and mask need the same name",
                     "A CSV settles it: subject,image,label"), case=name, path=path,
        )  # fmt: skip
    channels = {c: files.channels[c] for c in sorted(files.channels)}
    return Case(name, subject_of(name), channels, files.masks[0] if files.masks else None)


def _same_channels(cases: list[Case], path: Path) -> list[Case]:
    """Return the cases where all have the same channels; one channel of many names is called ``image``."""
    if len({tuple(c.channels) for c in cases}) == 1:
        return cases
    if all(len(c.channels) == 1 for c in cases):
        return [Case(c.name, c.subject, {"image": next(iter(c.channels.values()))}, c.label) for c in cases]
    first = cases[0]
    other = next(c for c in cases if tuple(c.channels) != tuple(first.channels))
    raise LayoutError(
        expected(path, f"case {first.name} has the images {listed(first.channels, 6)},"
                 f" case {other.name} has {listed(other.channels, 6)}", "the same channels are needed in every case",
                 _csv_hint(path, cases)), path=path,
    )  # fmt: skip


def _csv_hint(path: Path, cases: list[Case]) -> str:
    """Return the CSV that would settle it, with the first case's real files."""
    case = cases[0]
    first = next(iter(case.channels.values()))
    label = _relative(case.label, path) if case.label else "…"
    return f"A CSV settles it (in {path}): subject,image,label ⏎ {case.subject},{_relative(first, path)},{label}"


def _visits_hint(path: Path, case: Case, grids: dict[str, Grid]) -> str:
    """Return the CSV with one row per image; the label stands where it fits, else it is left to the user."""
    rows = []
    for name, file in list(case.channels.items())[:2]:
        fits = case.label is not None and grids["mask"].matches(grids[name], tolerance_mm=1.0)
        label = _relative(case.label, path) if fits and case.label else "MASK_ON_THE_SAME_GRID"
        rows.append(f"{case.subject},{name},{_relative(file, path)},{label}")
    return f"A CSV settles it (in {path}): subject,time,image,label ⏎ " + " ⏎ ".join(rows)


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _refuse_other_grids(cases: list[Case], path: Path) -> None:
    """Refuse a guess in which the files of every looked-at case lie on different grids.

    One case that does not fit is a fault of the data, which ``striate check`` names; all of them are a wrong guess.
    """
    looked = [c for c in cases if len(c.channels) + (c.label is not None) > 1][:_CHECKED_CASES]
    odd: list[tuple[Case, dict[str, Grid]]] = []
    for case in looked:
        files = {**dict(case.channels), **({"mask": case.label} if case.label else {})}
        try:
            grids = {n: read_header(f).grid for n, f in files.items()}
        except StriateError:
            return  # reading says what is wrong with that file
        base = next(iter(grids.values()))
        if all(base.matches(g, tolerance_mm=1.0) for g in grids.values()):
            return
        odd.append((case, grids))
    if not odd or (len(odd) == 1 and len(cases) > 1) or max(len(c.channels) for c, _ in odd) == 1:
        return
    case, grids = odd[0]
    shown = [f"{n} {' × '.join(str(s) for s in g.shape)}" for n, g in grids.items()]
    raise LayoutError(
        expected(path, f"files of {case.name} on different grids ({listed(shown, 6)})",
                 "one grid for all channels and the mask of an examination is needed; these look like several examinations",
                 _visits_hint(path, case, grids)), case=case.name, path=path,
    )  # fmt: skip
