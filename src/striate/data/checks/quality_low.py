"""Scans of poor quality: below what can be used at all, or far worse than the cohort's others.

Absolute limits: a signal-to-noise ratio of 5 is what an eye needs to tell an object (Rose, J Opt Soc Am 38:196, 1948);
2.5 % ghosting is what the ACR's MRI quality control accepts in its phantom; the limits of bias, artefacts in the air and
spikes are ours: no scan at hand came within a third of them, and the phantoms' spikes exceed theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem
from striate.data.checks.quality import HIGHER_IS_BETTER

LEAST_CASES = 6
ROBUST_Z = 5.0
LEAST_CHANGE = 0.25
LIMITS = {"snr": 5.0, "snr_object": 5.0, "ghost": 0.025, "bias": 3.0, "qi1": 0.05, "spikes": 15.0}
NAMES = {
    "snr": "signal-to-noise ratio", "snr_object": "signal-to-noise ratio inside the object", "cnr": "contrast-to-noise ratio",
    "cjv": "coefficient of joint variation", "fber": "foreground-background energy ratio", "efc": "entropy focus criterion",
    "qi1": "share of artefacts in the air", "ghost": "ghost-to-signal ratio", "edge_strength": "edge strength",
    "blur": "blur", "spikes": "spike ratio", "bias": "bias field strength",
}  # fmt: skip
CAUSES = {
    "snr": ("noise",), "snr_object": ("noise",), "cnr": ("little contrast", "noise"),
    "cjv": ("little contrast", "noise", "a bias field"), "fber": ("noise", "ghosts in the air"), "efc": ("motion", "ghosts"),
    "qi1": ("motion", "ghosts"), "ghost": ("ghosts of motion", "ghosts of flow"), "edge_strength": ("motion", "blur"),
    "blur": ("motion", "low resolution"), "spikes": ("stripes from radio-frequency spikes",), "bias": ("an uneven coil",),
}  # fmt: skip


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report measures beyond an absolute limit, and outliers of a channel (robust z of 5 and 25 % change, 6 or more cases).

    One problem a case and channel; it names all measures that stand out.
    """
    for name in dict.fromkeys(n for case in cohort.cases for n in case.channels):
        cases = [c for c in cohort.cases if name in c.channels]
        found: dict[str, list[tuple[str, str]]] = {}
        for measure in HIGHER_IS_BETTER:
            for case, text in _bad(cases, name, measure):
                found.setdefault(case, []).append((measure, text))
        for case_name, bad in found.items():
            yield Problem(
                "quality", case_name, "warning", f"{name} has {'; '.join(text for _, text in bad)}",
                "scans of one protocol are expected to be alike" if "median" in bad[0][1] else "a usable scan stays within that",
                f"Look at the scan for {_causes([m for m, _ in bad])}; leave it out or scan again if it cannot be read.",
            )  # fmt: skip


def _bad(cases: list[CaseFacts], name: str, measure: str) -> Iterator[tuple[str, str]]:
    known = [(c.case, v) for c in cases if (v := c.channels[name].quality.get(measure)) is not None]
    values = np.array([v for _, v in known])
    higher = HIGHER_IS_BETTER[measure]
    limit = LIMITS.get(measure)
    middle = spread = 0.0
    if len(known) >= LEAST_CASES:
        middle = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.02 * abs(middle), 1e-6)
    for case, value in known:
        if limit is not None and (value < limit if higher else value > limit):
            yield case, f"{NAMES[measure]} {value:.3g} ({'at least' if higher else 'at most'} {limit:g} is needed)"
        elif spread:
            worse = middle - value if higher else value - middle
            if worse > ROBUST_Z * spread and worse > LEAST_CHANGE * abs(middle) and worse > _floor(measure):
                yield case, f"{NAMES[measure]} {value:.3g} (median of the cohort {middle:.3g})"


def _causes(measures: list[str]) -> str:
    """Join what may lie behind `measures`, each once: "noise, motion or low resolution"."""
    *others, last = dict.fromkeys(cause for measure in measures for cause in CAUSES[measure])
    return f"{', '.join(others)} or {last}" if others else last


def _floor(measure: str) -> float:
    """Smallest difference that matters where the normal value is near zero."""
    return {"ghost": 0.01, "qi1": 0.005}.get(measure, 0.0)
