"""What file names say: whose mask, which channel, whose examination."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK_WORDS = frozenset((
    "seg", "segs", "mask", "masks", "label", "labels", "lbl", "gt", "segmentation", "manual", "annotation", "roi",
    "lesion", "lesions", "truth", "groundtruth",
))  # fmt: skip
MODALITY_WORDS = frozenset((
    "flair", "t1", "t1w", "t1n", "t1c", "t1ce", "t1gd", "t1post", "t2", "t2w", "t2f", "t2star", "pd", "pdw", "swi",
    "dwi", "adc", "asl", "cbf", "ct", "cta", "cbct", "pet", "mr", "mri", "us", "xray", "image", "img", "scan", "red",
    "green", "blue",
))  # fmt: skip
SPLIT_WORDS = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
MISSING = frozenset(("", "n/a", "na", "nan", "null", "missing", "-"))
"""Cells of metadata that say nothing, in lower case; ``none`` is an answer, for instance of artefacts or a treatment."""
_NUMBERED_MASK = re.compile(r"(seg|mask|label|roi|rater)\d+")
_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)_ses-.+")


def known(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of metadata that say something."""
    return {column: cell for column, cell in cells.items() if cell.strip().casefold() not in MISSING}


def words(name: str) -> list[str]:
    """Split a name into parts that keep the separator before them: ``P1_seg`` → ``P1``, ``_seg``."""
    return [t for t in re.split(r"(?=[_\-. ])", name) if t]


def _bare(word: str) -> str:
    return word.strip("_-. ").casefold()


def mask_owner(name: str) -> str | None:
    """Return whose mask a file named `name` is (``P1_seg`` → ``P1``), or None where the name does not say mask."""
    parts = words(name)
    while parts and (_bare(parts[-1]) in MASK_WORDS or _NUMBERED_MASK.fullmatch(_bare(parts[-1]))):
        parts.pop()
    owner = "".join(parts)
    return None if owner == name else owner


def without_channel(name: str) -> str:
    """Cut a channel's word from the end of a name: ``P1_flair`` → ``P1``, ``P1_0000`` → ``P1``."""
    parts = words(name)
    if len(parts) > 1 and (_bare(parts[-1]) in MODALITY_WORDS or re.fullmatch(r"_\d{4}", parts[-1])):
        return "".join(parts[:-1])
    return name


def channel_name(text: str) -> str:
    """Turn what people call a channel into a name: lower case, without spaces."""
    return re.sub(r"[^\w.-]+", "-", text.strip().casefold()).strip("-_") or "image"


def channel_of(name: str, case: str) -> str:
    """Name the channel of the image `name` of `case`: what follows the case's name, or ``image``."""
    rest = name[len(case) :].strip("_-. ")
    if re.fullmatch(r"\d{4}", rest):
        return f"channel{int(rest)}"
    return channel_name(rest) if rest else "image"


def starts_with(name: str, case: str) -> bool:
    """Tell whether `name` is `case`, or goes on after it with a separator (``P1_flair``, but not ``P10``)."""
    return name == case or (bool(case) and name.startswith(case) and name[len(case)] in "_-. ")


def subject_of(case: str) -> str:
    """Return the subject that a case's name tells (``sub-01_ses-02`` → ``sub-01``); else each case is a subject."""
    match = _SUBJECT.fullmatch(case)
    return match.group(1) if match else case
