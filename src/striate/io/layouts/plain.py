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
from striate.core.errors import LayoutError, StriateError, expected
from striate.io.layouts.csv_table import names_of
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import (
    by_stem,
    channel_name,
    folder_named,
    folders_in,
    images_in,
    listed,
    modality_of,
)
from striate.io.read import read_header

IMAGE_FOLDERS = ("images", "image", "imgs", "scans")
MASK_FOLDERS = ("masks", "labels", "mask", "label", "segmentations", "segmentation", "seg", "annotations", "gt")
MASK_WORDS = frozenset(
    "seg segs mask masks label labels lbl gt segmentation manual annotation roi lesion lesions truth groundtruth".split()
)
MODALITY_WORDS = frozenset(
    "flair t1 t1w t1n t1c t1ce t1gd t1post t2 t2w t2f t2star pd pdw swi dwi adc asl cbf ct cta cbct pet mr mri us xray"
    " image img scan red green blue".split()
)
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
        return f"a plain folder of {len(files)} images"
    filled = [p for p in folders_in(path) if images_in(p)]
    return f"{len(filled)} plain folders, one per case" if filled else None


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
        notes.append(f"{len(bare)} of {len(cases)} cases have no mask: {listed(bare)}")
    labels = path / "labels.json"
    return Layout("plain", cases, names_of(labels) if labels.is_file() else {}, modality_of(cases[0].channels), notes)


def _tokens(name: str) -> list[str]:
    """Split a name into words and the separators before them: ``P1_seg`` → ``P1``, ``_seg``."""
    return [t for t in re.split(r"(?=[_\-. ])", name) if t]


def _word(token: str) -> str:
    return token.strip("_-. ").casefold()


def mask_owner(name: str) -> str | None:
    """Return whose mask a file named `name` is (``P1_seg`` → ``P1``), or None where the name does not say mask."""
    tokens = _tokens(name)
    while tokens and (
        _word(tokens[-1]) in MASK_WORDS or re.fullmatch(r"(seg|mask|label|roi|rater)\d+", _word(tokens[-1]))
    ):
        tokens.pop()
    owner = "".join(tokens)
    return None if owner == name else owner


def _without_modality(name: str) -> str:
    """Cut a channel's word from the end of a name: ``P1_flair`` → ``P1``, ``P1_0000`` → ``P1``."""
    tokens = _tokens(name)
    if len(tokens) > 1 and (_word(tokens[-1]) in MODALITY_WORDS or re.fullmatch(r"_\d{4}", tokens[-1])):
        return "".join(tokens[:-1])
    return name


def _channel(name: str, case: str) -> str:
    """Name the channel of the image `name` of `case`: what follows the case's name, or ``image``."""
    rest = name[len(case) :].strip("_-. ")
    if re.fullmatch(r"\d{4}", rest):
        return f"channel{int(rest)}"
    return channel_name(rest) if rest else "image"


def _owner_of(name: str, cases: dict[str, _Found]) -> str | None:
    """Return the longest case name that `name` is, or starts with before a separator."""
    fitting = [c for c in cases if name == c or (name.startswith(c) and name[len(c)] in "_-. ")]
    return max(fitting, key=len, default=None)


def _grouped(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, _Found]:
    """Join images (stem → file) with masks (case → file)."""
    owners = {m: (m if m not in images else _without_modality(m)) for m in masks}
    if any(m in images and owners[m] == m for m in masks):
        owners = {m: m for m in masks}
    found: dict[str, _Found] = {}
    for mask, file in masks.items():
        found.setdefault(owners[mask], _Found()).masks.append(file)
    labelled = dict(found)
    lone = dict.fromkeys(_without_modality(name) for name in images)
    alone = {c: 0 for c in lone}
    for name in images:
        alone[_without_modality(name)] += 1
    for name, file in images.items():
        owner = _owner_of(name, labelled)
        if owner is None:
            short = _without_modality(name)
            numbered = re.fullmatch(r".+_\d{4}", name) is not None
            owner = short if labelled or numbered or alone[short] > 1 else name
        found.setdefault(owner, _Found()).channels[_channel(name, owner)] = file
    return found


def _one_folder(files: list[Path], folder: Path) -> dict[str, _Found]:
    named = by_stem(files, folder)
    masks: dict[str, Path] = {}
    for name, file in named.items():
        owner = mask_owner(name)
        if owner is not None:
            if owner in masks:
                raise _two_masks(owner, masks[owner], file, folder)
            masks[owner] = file
    images = {n: f for n, f in named.items() if f not in masks.values()}
    if not images:
        raise LayoutError(
            expected(folder, f"{len(masks)} masks ({listed([p.name for p in masks.values()])}) and no images",
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
    found: dict[str, _Found] = {}
    for folder in folders_in(path):
        named = by_stem(images_in(folder), folder)
        masks = {n: f for n, f in named.items() if mask_owner(n) is not None}
        if len(masks) > 1:
            first, second = list(masks.values())[:2]
            raise _two_masks(folder.name, first, second, folder)
        if not named:
            continue
        if len(masks) == len(named):
            raise LayoutError(
                expected(folder, f"a mask ({listed(masks)}) and no image", "images are needed beside it"), path=folder
            )
        entry = found.setdefault(folder.name, _Found())
        entry.masks.extend(masks.values())
        pictures = {n: f for n, f in named.items() if n not in masks}
        for name, file in pictures.items():
            start = folder.name if name == folder.name or re.match(re.escape(folder.name) + r"[_\-. ]", name) else ""
            entry.channels["image" if len(pictures) == 1 and not start else _channel(name, start)] = file
    return found


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
    return Case(name, name, channels, files.masks[0] if files.masks else None)


def _same_channels(cases: list[Case], path: Path) -> list[Case]:
    """Return the cases where all have the same channels; one channel of many names is called ``image``."""
    if len({tuple(c.channels) for c in cases}) == 1:
        return cases
    if all(len(c.channels) == 1 for c in cases):
        return [Case(c.name, c.subject, {"image": next(iter(c.channels.values()))}, c.label) for c in cases]
    first = cases[0]
    other = next(c for c in cases if tuple(c.channels) != tuple(first.channels))
    raise LayoutError(
        expected(path, f"case {first.name} has the images {listed(first.channels, 6)}, case {other.name} has {listed(other.channels, 6)}",
                 "the same channels are needed in every case", did_you_mean_csv(path, cases)), path=path,
    )  # fmt: skip


def did_you_mean_csv(path: Path, cases: list[Case]) -> str:
    """Return the CSV that would settle it, with the first case's real files."""
    case = cases[0]
    first = next(iter(case.channels.values()))
    label = f",{_relative(case.label, path)}" if case.label else ",…"
    return f"A CSV settles it (in {path}): subject,image,label ⏎ {case.subject},{_relative(first, path)}{label}"


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _refuse_other_grids(cases: list[Case], path: Path) -> None:
    """Refuse a guess in which the files of every looked-at case lie on different grids.

    One case that does not fit is a fault of the data, which ``striate check`` names; all of them are a wrong guess.
    """
    shown: list[str] = []
    looked = [c for c in cases if len(c.channels) > 1 or c.label][:_CHECKED_CASES]
    for case in looked:
        files = {**dict(case.channels), **({"mask": case.label} if case.label else {})}
        try:
            grids = {n: read_header(f).grid for n, f in files.items()}
        except StriateError:
            return
        base = next(iter(grids.values()))
        if all(base.matches(g, tolerance_mm=1.0) for g in grids.values()):
            return
        shown = shown or [f"{files[n].name} {' × '.join(str(s) for s in g.shape)}" for n, g in grids.items()]
    if shown:
        raise LayoutError(
            expected(path, f"images of {looked[0].name} on different grids ({listed(shown, 6)})",
                     "images and mask of one examination on the same grid are needed; these look like several examinations",
                     did_you_mean_csv(path, cases)), path=path,
        )  # fmt: skip
