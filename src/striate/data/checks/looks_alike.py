"""Near-duplicates across subjects: noise added, rescaled, smoothed, cropped, mirrored; by low-resolution correlation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem

ALIKE = 0.85
BLOCK = 256
MANY_CASES, MANY = 20, 0.1
MIRRORS = (
    ((), ""),
    ((0,), "mirrored left to right "),
    ((1,), "mirrored front to back "),
    ((2,), "turned upside down "),
)
PICTURE_MIRRORS = (((), ""), ((0,), "mirrored left to right "), ((1,), "mirrored top to bottom "))


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report pairs of cases of different subjects whose thumbnails of one channel correlate with at least `ALIKE`.

    Each case is reported once, against the one that it resembles most. Equal voxels are left to `duplicates`, and small
    images are left out. Where many cases are alike, the cohort is told so once: its images are then of one kind.
    """
    channels = dict.fromkeys(name for case in cohort.cases for name in case.channels)
    best: dict[str, tuple[float, str, str, str]] = {}
    for name in channels:
        cases = [c for c in cohort.cases if name in c.channels and _known(c, name)]
        for first, second, correlation, how in _alike(cases, name):
            case = cases[second].case
            if correlation > best.get(case, (0.0,))[0]:
                best[case] = (correlation, cases[first].case, name, how)
    if len(best) > max(MANY_CASES, MANY * len(cohort.cases)):
        yield Problem(
            "near_duplicate", None, "note", f"{len(best)} of {len(cohort.cases)} cases look like a case of another subject"
            f" (correlation of at least {ALIKE} at low resolution)", "near copies cannot be told where images are that alike",
            "Nothing to do; equal copies are still found.",
        )  # fmt: skip
        return
    for case, (correlation, other, name, how) in sorted(best.items(), key=lambda item: -item[1][0]):
        yield Problem(
            "near_duplicate", case, "warning", f"{name} looks like {name} of case {other} {how}(correlation"
            f" {correlation:.2f} at low resolution), which belongs to another subject",
            f"different people stay below {ALIKE}", "If it is the same person, give both the same subject, or remove one.",
        )  # fmt: skip


def _known(case: CaseFacts, name: str) -> bool:
    channel = case.channels[name]
    return channel.signature is not None and not channel.small


def _alike(cases: list[CaseFacts], name: str) -> Iterator[tuple[int, int, float, str]]:
    """Yield (a, b, correlation, how) with a before b: for each b the a of each block that it resembles most."""
    thumbnails = [s.thumbnail for c in cases if (s := c.channels[name].signature) is not None]
    if len({t.shape for t in thumbnails}) != 1:
        return
    _, subjects = np.unique([c.subject for c in cases], return_inverse=True)
    _, hashes = np.unique([s.voxel_hash for c in cases if (s := c.channels[name].signature)], return_inverse=True)
    axes = 3 if thumbnails[0].shape[2] > 1 else 2
    for start in range(0, len(cases), BLOCK):
        rows = _unit(thumbnails[start : start + BLOCK])
        for other in range(start, len(cases), BLOCK):
            columns = thumbnails[other : other + BLOCK]
            a, b = np.arange(start, start + len(rows))[:, None], np.arange(other, other + len(columns))
            comparable = (a < b) & (subjects[a] != subjects[b]) & (hashes[a] != hashes[b])
            for flip, how in MIRRORS if axes == 3 else PICTURE_MIRRORS:
                correlation = np.where(comparable, rows @ _unit([np.flip(t, flip) for t in columns]).T, 0)
                most = correlation.argmax(axis=0)
                for j in np.flatnonzero(correlation.max(axis=0) >= ALIKE):
                    yield start + int(most[j]), other + int(j), float(correlation[most[j], j]), how


def _unit(thumbnails: list[NDArray[np.int8]]) -> NDArray[np.float32]:
    flat = np.stack([t.ravel() for t in thumbnails]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
