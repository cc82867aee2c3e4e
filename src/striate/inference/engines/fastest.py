"""`fastest`: the engine that a verdict takes, by how fast engines were and how near their answers lie; `unclear` may be which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.core.machine import native_precision
from striate.inference.engines import TITLES, child
from striate.inference.engines.race import BASE, FASTER, LEADS
from striate.inference.engines.verdict import AGAIN

NEAR, LEAST = 2.0, 0.01
"""In the mean over a window, probabilities of a converted network may lie `LEAST` from those in single precision, or `NEAR` times
as far as PyTorch's in the same precision do. In bf16 it is 0.0003 to 0.007 (measured,
network of nnU-Net with weights drawn at random)."""
LEAST_INT8 = 0.05
"""The same for int8, of which Dice was measured on held-out cases: a network that went wrong lies further away."""


def fastest(parity: Mapping[str, Any], asked: str | None = None) -> tuple[str, str]:
    """Return which engine of those that were measured is to be taken, or why none is.

    Parameters
    ----------
    parity
        What was measured, or why nothing was.
    asked
        The one that is taken whether it is faster or not; None: the fastest of those that agree.
    """
    if "failed" in parity:
        later = f"; that was on {parity.get('tried', '')[:10]}, and a call a day later tries again"
        return "", doubt_of(parity, "") + (later if parity["failed"].startswith(child.SLOW) else "")
    times, problem = _times(parity), ""
    engines = [one for one in sorted(times, key=times.__getitem__, reverse=True) if one != BASE]
    for one in engines if asked is None else [asked]:
        problem = doubt_of(parity, one)
        if not problem and asked is None and times[one] < FASTER:
            problem = f"{TITLES[one]} was measured {times[one]:.1f} times as fast here{lacks(one, parity['precision'])}"
        if not problem:
            return one, ""
    return "", problem


def doubt_of(parity: Mapping[str, Any], name: str) -> str:
    """Return why the engine `name` is not to compute the converted network; empty where it may."""
    if "failed" in parity:
        return f"the network could not be converted for {TITLES[parity['form']]} ({parity['failed']})"
    least = LEAST_INT8 if name == "int8" else LEAST
    if at := answers_nan(parity):
        return f"PyTorch itself answers NaN in window '{at}', which is a fault of the model"
    for window, apart in parity["tiles"].items():
        if not apart[name] <= max(NEAR * apart["torch"], least):
            return (
                f"{TITLES[name]}'s probabilities differ from those in single precision by {apart[name]:.2g} in the mean"
                f" (window '{window}'), PyTorch's by {apart['torch']:.2g}"
            )
    return ""


def answers_nan(parity: Mapping[str, Any]) -> str:
    """Return the window in which PyTorch answered NaN; empty where in none."""
    return next((window for window, apart in parity.get("tiles", {}).items() if apart.get("torch_nan")), "")


def unclear(parity: Mapping[str, Any]) -> str:
    """Return what rounds of the last race leave open, which `AGAIN` more have not settled; empty where they agree with `fastest`.

    Where no races are told of nothing is open.
    """
    races = parity.get("races", [])
    last = next((race for race in reversed(races) if "spread" in race), None)
    if last is None or len(races) > AGAIN:
        return ""
    spread, rivals = last["spread"], last.get("rivals", {})
    near = [one for one in spread if one != BASE and not doubt_of(parity, one)]
    found = fastest(parity)[0]
    if spread[found][0] < FASTER if found else any(spread[one][1] >= FASTER for one in near):
        return "it was not clear which is the faster"
    if found in rivals and len(near) > 1 and rivals[found][0] * LEADS < 1:
        return f"it was not clear which is the fastest of {' and '.join(TITLES[one] for one in near)}"
    return ""


def measured(parity: Mapping[str, Any], name: str) -> str:
    """Say how fast the engine `name` was measured to be, and how."""
    told = f"measured {_times(parity)[name]:.1f} times as fast as PyTorch here"
    if "windows" not in parity:
        return told
    low, high = parity["spread"][name]
    return (
        f"{told} ({low:.1f} to {high:.1f} in {parity['windows']} windows in turns, {parity['seconds'][name]:.2g} s against"
        f" {parity['seconds'][BASE]:.2g} s, {parity['measured'][:10]})"
    )


def lacks(name: str, precision: str) -> str:
    """Say that OpenVINO has not the precision of this processor, where that is so."""
    if name == "openvino" and precision == "fp32" and native_precision() == "bf16":
        return "; in single precision, which is slower, because this OpenVINO offers no bf16 here"
    return ""


def _times(parity: Mapping[str, Any]) -> Mapping[str, float]:
    """Return how many times as fast as PyTorch each engine was measured to be."""
    seconds = parity["seconds"]
    return parity.get("ratios") or {name: seconds[BASE] / taken for name, taken in seconds.items()}
