"""Near-duplicates across subjects: noise added, rescaled, smoothed, cropped, mirrored; by low-resolution correlation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem

ALIKE = 0.85
BLOCK = 256
MIRRORS = (
    ((), ""),
    ((0,), "mirrored left to right "),
    ((1,), "mirrored front to back "),
    ((2,), "turned upside down "),
)


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report pairs of cases of different subjects whose thumbnails of one channel correlate with at least `ALIKE`.

    Each case is reported once, against the one that it resembles most. Equal voxels are left to `duplicates`.
    """
    channels = dict.fromkeys(name for case in cohort.cases for name in case.channels)
    best: dict[tuple[str, str], tuple[float, str, str]] = {}
    for name in channels:
        cases = [c for c in cohort.cases if name in c.channels and c.channels[name].signature is not None]
        for first, second, correlation, how in _alike(cases, name):
            pair = (cases[first].case, cases[second].case)
            if correlation > best.get(pair, (0.0, "", ""))[0]:
                best[pair] = (correlation, name, how)
    told: set[str] = set()
    for (first_name, second_name), (correlation, name, how) in sorted(best.items(), key=lambda item: -item[1][0]):
        if second_name in told:
            continue
        told.add(second_name)
        yield Problem(
            "near_duplicate", second_name, "warning", f"{name} looks like {name} of case {first_name} {how}(correlation"
            f" {correlation:.2f} at low resolution), which belongs to another subject",
            f"different people stay below {ALIKE}", "If it is the same person, give both the same subject, or remove one.",
        )  # fmt: skip


def _alike(cases: list[CaseFacts], name: str) -> Iterator[tuple[int, int, float, str]]:
    thumbnails = [s.thumbnail for c in cases if (s := c.channels[name].signature) is not None]
    if len({t.shape for t in thumbnails}) != 1:
        return
    subjects = np.array([c.subject for c in cases])
    hashes = np.array([s.voxel_hash for c in cases if (s := c.channels[name].signature) is not None])
    axes = 3 if thumbnails[0].shape[2] > 1 else 2
    for start in range(0, len(cases), BLOCK):
        rows = _unit(thumbnails[start : start + BLOCK])
        for other in range(start, len(cases), BLOCK):
            columns = thumbnails[other : other + BLOCK]
            for flip, how in MIRRORS[: axes + 1]:
                correlation = rows @ _unit([np.flip(t, flip) for t in columns]).T
                for i, j in np.argwhere(correlation >= ALIKE):
                    a, b = start + int(i), other + int(j)
                    if a < b and subjects[a] != subjects[b] and hashes[a] != hashes[b]:
                        yield a, b, float(correlation[i, j]), how


def _unit(thumbnails: list[NDArray[np.int8]]) -> NDArray[np.float32]:
    flat = np.stack([t.ravel() for t in thumbnails]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
