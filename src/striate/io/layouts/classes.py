"""A folder per class: ``ROOT/CLASS/image.png``, or ``ROOT/train/CLASS/…`` beside ``validation`` and ``test``.

Every image is a case; a mask beside it (``a_mask.png`` of ``a.png``) is its label map. Its subject is what its name says
(``sub-01``, ``patient7``), else the image itself. A folder per case looks alike and is left to `plain`: see `_per_case`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from striate.core.case import Case, valid_classes
from striate.core.counted import counted
from striate.core.errors import DataError, LayoutError, expected
from striate.core.names import natural_order
from striate.io.layouts import label_table
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import by_stem, entries, folder_named, folders_in, images_in, listed
from striate.io.layouts.naming import (
    MASK_WORDS,
    MODALITY_WORDS,
    SPLIT_WORDS,
    mask_owner,
    starts_with,
    without_channel,
)
from striate.io.layouts.plain import IMAGE_FOLDERS, MASK_FOLDERS
from striate.io.read import is_image, stem

MOST_CHANNELS = 16
"""Images of one folder that may still be the channels of a case."""
STRAY = 0.1
_SUBJECT = re.compile(
    r"(?<![a-z0-9])(sub-[a-z0-9]+|(?:subject|subj|patient|person|participant|pat)[-_ ]?\d+)", re.IGNORECASE
)
_OF_A_SUBJECT = re.compile(
    r"(sub|subj|subject|patient|pat|pt|participant|person|case|p|s)[-_ ]?\d+[a-z]?|sub-.+", re.IGNORECASE
)
_RAW = re.compile(r"(images|labels|masks)(tr|ts|val|train|test)", re.IGNORECASE)
_CSV = "A CSV settles it: subject,image,class ⏎ P1,a/1.png,benign"


@dataclass(frozen=True, slots=True)
class _Section:
    """The class folders of one split, or all of them: with the names of their images, and those without any."""

    split: str | None
    folder: Path
    filled: dict[Path, list[str]]
    empty: list[Path]

    @classmethod
    def of(cls, split: str | None, folder: Path) -> _Section:
        """List the folders within `folder`."""
        found = {f: [stem(p) for p in _pictures(f)] for f in folders_in(folder)}
        return cls(split, folder, {f: n for f, n in found.items() if n}, [f for f, n in found.items() if not n])


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of a class."""

    name: str
    group: str
    split: str | None
    file: Path
    mask: Path | None


def sniff(path: Path) -> str | None:
    """Recognise folders of images that are classes, not cases, channels or masks."""
    if not path.is_dir() or folder_named(path, IMAGE_FOLDERS):
        return None
    sections = _sections(path)
    named = {f: n for s in sections for f, n in s.filled.items()}
    if not named or any(folder_named(s.folder, IMAGE_FOLDERS) for s in sections) or _per_case(named):
        return None
    counts = [len(n) for n in named.values()]
    stray = _pictures(path)
    if len(stray) > STRAY * sum(counts) or any(mask_owner(stem(p)) is not None for p in stray):
        return None
    names = {f.name for f in named}
    if sections[0].split is None and len(names) == 1:
        return f"one folder with {counts[0]} images" if counts[0] > MOST_CHANNELS else None
    if sections[0].split is None and all(n.casefold() in SPLIT_WORDS for n in names):
        return None
    return f"{counted(len(names), 'folder')} of images, one per class"


def read(path: Path) -> Layout:
    """Read the images of each class.

    Raises
    ------
    LayoutError
        When there is one class only, an image beside or a folder within the folders of the classes, several channels
        or two masks of one image, or when the folders could as well be cases.
    """
    sections = _sections(path)
    _refuse_stray(path, sections)
    _refuse_one_class(path, sections)
    _refuse_ambiguous(path, {f: n for s in sections for f, n in s.filled.items()})
    notes: list[str] = []
    images = [i for s in sections for f in s.filled for i in _images(f, s.split, notes)]
    counts = Counter(i.group for i in images)
    told = sorted(counts, key=natural_order)
    notes.insert(0, f"a folder per class: {listed([f'{n} ({counts[n]})' for n in told], 12)}")
    empty = [f.name for s in sections for f in s.empty]
    if sections[0].split is not None:
        empty += [f.name for f in folders_in(path) if f not in [s.folder for s in sections]]
    if empty:
        notes.append(f"folders without images in them were left out: {listed(dict.fromkeys(empty), 8)}")
    return Layout("classes", _cases(images, notes), label_table.beside(path), None, notes)


def _sections(path: Path) -> list[_Section]:
    named = [f for f in folders_in(path) if f.name.casefold() in SPLIT_WORDS]
    splits = [_Section.of(SPLIT_WORDS[f.name.casefold()], f) for f in named]
    return [s for s in splits if s.filled] or [_Section.of(None, path)]


def _pictures(folder: Path) -> list[Path]:
    """Return what has the name of an image in `folder`; nothing where the folder cannot be read."""
    try:
        return [p for p in entries(folder) if is_image(p)]
    except LayoutError:
        return []


def _per_case(names: dict[Path, list[str]]) -> bool:
    """Tell whether folders are rather cases, channels or masks than classes.

    So it is where each holds one image; where they are named as subjects are (``sub-01``, ``P7``) or as raw data
    (``imagesTr``); where half of them hold few files, one of which is only named as a channel or a mask is (``flair``) or
    shares a name without a number (``before``); where the names of all are among the few of one of them (``echo1``,
    ``echo2``), or number channels (``x_0000`` in folder ``x``); and where a folder is itself named as a channel or a mask
    is and shares half of its files' names with the others.
    """
    if all(len(n) == 1 for n in names.values()) or any(_RAW.fullmatch(f.name) for f in names):
        return True
    roles = {f: _roles(f, n) for f, n in names.items()}
    spread = Counter(r for found in roles.values() for r in found)
    often = {r for r, n in spread.items() if n > 1 and not re.search(r"\d", r)}
    bare = MODALITY_WORDS | MASK_WORDS
    like_cases = [
        f for f, found in roles.items()
        if _OF_A_SUBJECT.fullmatch(f.name) or (len(found) <= MOST_CHANNELS and found & (often | bare))
    ]  # fmt: skip
    if 2 * len(like_cases) >= len(names):
        return True
    if _few_and_same(list(roles.values())) and not all(r.isdecimal() for found in roles.values() for r in found):
        return True
    if all(starts_with(n, f.name) and re.search(r"_\d{4}$", n) for f in names for n in names[f]) and "0000" in spread:
        return True
    stems = Counter(n for found in names.values() for n in set(found))
    return any(
        2 * sum(stems[n] > 1 for n in names[f]) >= len(names[f])
        for f in names if f.name.casefold() in {*bare, *MASK_FOLDERS}
    )  # fmt: skip


def _roles(folder: Path, names: list[str]) -> set[str]:
    """Return what the names of the images of `folder` say beside its own name."""
    return {(n[len(folder.name) :] if starts_with(n, folder.name) else n).strip("_-. ").casefold() for n in names}


def _few_and_same(roles: list[set[str]]) -> bool:
    """Tell whether one folder has as few images as a case has channels, and the others the same or fewer of them."""
    most = set[str]().union(*roles)
    return len(roles) > 1 and len(most) <= MOST_CHANNELS and most in roles


def _refuse_stray(path: Path, sections: list[_Section]) -> None:
    stray = [p for folder in dict.fromkeys([path, *(s.folder for s in sections)]) for p in _pictures(folder)]
    if stray:
        raise LayoutError(
            expected(stray[0], "an image beside the folders of the classes", "every image must lie in the folder of its class",
                     "Move it into one, or out of the cohort."), path=stray[0],
        )  # fmt: skip


def _refuse_one_class(path: Path, sections: list[_Section]) -> None:
    names = dict.fromkeys(f.name for s in sections for f in s.filled)
    if len(names) == 1:
        empty = [f.name for s in sections for f in s.empty if f.name not in names]
        beside = f"; {listed(dict.fromkeys(empty))} without an image in it" if empty else ""
        raise LayoutError(
            expected(path, f"one folder with images ({next(iter(names))}){beside}", "at least two classes are needed to learn to"
                     " tell them apart", f"For a prediction give the folder itself. {_CSV}"), path=path,
        )  # fmt: skip
    alike = Counter(n.casefold() for n in names)
    twice = [n for n in names if alike[n.casefold()] > 1]
    if twice:
        got = f"classes {twice[0]} and {twice[1]}"
        raise LayoutError(expected(path, got, "names that differ by more than capitals are needed"), path=path)


def _refuse_ambiguous(path: Path, names: dict[Path, list[str]]) -> None:
    """Refuse folders with few images that have the same numbers for names."""
    roles = [_roles(f, n) for f, n in names.items()]
    if _few_and_same(roles):
        shown = listed(sorted(set[str]().union(*roles), key=natural_order))
        raise LayoutError(
            expected(path, f"folders {listed([f.name for f in names])} with the same names in each ({shown})",
                     "it must be clear whether they are classes, or cases with these channels", _CSV), path=path,
        )  # fmt: skip


def _images(folder: Path, split: str | None, notes: list[str]) -> Iterator[_Image]:
    """Yield the images of a class, each with its mask."""
    deeper = [f for f in folders_in(folder) if _pictures(f)]
    if deeper:
        raise LayoutError(
            expected(deeper[0], "a folder of images within the folder of a class", "images must lie in the folder of their class"
                     " itself", _CSV), path=deeper[0],
        )  # fmt: skip
    try:
        (group,) = valid_classes([folder.name.strip()], str(folder))
    except DataError as error:
        raise LayoutError(f"{error.message} Rename the folder.", path=folder) from error
    others = [p.name for p in entries(folder) if not is_image(p) and p.is_file()]
    if others:
        notes.append(f"{folder.name}: files that are no images were left out ({listed(others)})")
    named = by_stem(images_in(folder), folder)
    owners = {n: o for n in named if (o := _owner(n)) in named and o is not None}
    masks: dict[str, Path] = {}
    for name, owner in owners.items():
        if owner in masks:
            raise LayoutError(
                expected(f"image {owner}", f"two masks, {masks[owner].name} and {named[name].name}", "one label map per image is"
                         " needed", "Join them into one."), path=named[name],
            )  # fmt: skip
        masks[owner] = named[name]
    images = {n: f for n, f in named.items() if n not in owners}
    _refuse_channels(images)
    for name, file in images.items():
        yield _Image(name, group, split, file, masks.get(name))


def _owner(name: str) -> str | None:
    """Return whose mask an image is by its name; further masks are numbered (``a_mask_1``)."""
    return mask_owner(name) or mask_owner(re.sub(r"_\d+$", "", name))


def _refuse_channels(images: dict[str, Path]) -> None:
    seen: dict[str, str] = {}
    for name in images:
        short = without_channel(name)
        if name == short or name[len(short) :].strip("_").isdecimal():
            continue
        if short in seen:
            raise LayoutError(
                expected(images[name].parent, f"{seen[short]} and {name} look like two channels of {short}", "one image per case"
                         " is needed in a folder per class", "A CSV settles it: subject,flair,t1,class"), path=images[name],
            )  # fmt: skip
        seen[short] = name


def _cases(images: list[_Image], notes: list[str]) -> list[Case]:
    """Return one case per image; where names return, class and split go before them."""
    names = [i.name for i in images]
    for form in ("{0.group}_{0.name}", "{0.split}_{0.group}_{0.name}"):
        if len(set(names)) < len(names):
            names = [form.format(i) for i in images]
    told = [_SUBJECT.search(i.name) for i in images]
    named = [i.name for i, t in zip(images, told, strict=True) if t]
    alone = [i.name for i, t in zip(images, told, strict=True) if not t]
    if named:
        read = "subject of 1 image was read from its name" if len(named) == 1 else ""
        read = read or f"subjects of {len(named)} images were read from their names"
        notes.append(f"the {read} ({listed(named, 1)})")
    if alone:
        names_of, each = ("name", "it") if len(alone) == 1 else ("names", "each")
        notes.append(
            f"no subject (sub-01, patient7) in the {names_of} of {counted(len(alone), 'image')} ({listed(alone, 1)}): {each} was"
            " taken as a subject of its own; where subjects have several images, a CSV with subject,image,class is needed"
        )
    cases = [
        Case(name, told_of.group(1) if told_of else name, {"image": i.file}, i.mask, split=i.split, classes=(i.group,))
        for name, told_of, i in zip(names, told, images, strict=True)
    ]
    return sorted(cases, key=lambda c: natural_order(c.name))
