"""What was measured of a converted network, or why there is none, as it lies in the network's folder; which of it is void.

A verdict lists its ``races``: of each when it was, its windows, their ``spread`` and ``rivals``, or why it failed. Where windows
of the last one speak against the verdict it is provisional, and the next call with enough work races again, `AGAIN` times at
most. A verdict without that list stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from striate.core.errors import FormatError
from striate.core.files import read_json
from striate.core.machine import processor
from striate.inference.engines import child
from striate.inference.engines.openvino import MADE
from striate.inference.engines.race import together

RETRY = timedelta(days=1)
"""After which a network is converted again where the time for it ran out: the machine may have been busy."""
AGAIN = 3
"""So many times engines are compared again at most where rounds speak against the verdict: the machine may have been busy."""


def verdicts(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the files `names` of a folder say, of those that are there.

    Raises
    ------
    FormatError
        When one is broken.
    """
    return [read_json(folder / name) for name in names if (folder / name).is_file()]


def stale(verdict: Mapping[str, Any]) -> bool:
    """Tell whether the time for making it ran out, `RETRY` ago or longer; what failed otherwise would fail again."""
    if not str(verdict.get("failed", "")).startswith(child.SLOW):
        return False
    try:
        return abs(datetime.now(UTC) - datetime.fromisoformat(verdict["tried"])) >= RETRY
    except (KeyError, TypeError, ValueError):
        return True


def joined(before: Mapping[str, Any], raced: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict with the rounds of one more race (`race`, and when it was ``measured``), which its ``races`` list.

    What was found of the answers stays.
    """
    one = {key: raced[key] for key in ("measured", "windows", "spread", "rivals") if key in raced}
    if not before.get("races"):
        return {**before, **raced, "races": [one]}
    return {**before, "measured": raced["measured"], **together(before, raced), "races": [*before["races"], one]}


def with_failure(verdict: Mapping[str, Any], failure: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict with a comparison that failed (``cores``, ``failed``, ``tried``): one of its races, or on other cores."""
    if verdict.get("cores") != failure["cores"]:
        return {**verdict, "again": failure}
    one = {"tried": failure["tried"], "failed": failure["failed"]}
    return {**verdict, "races": [*verdict.get("races", []), one]}


def outdated(folder: Path, names: Sequence[str]) -> bool:
    """Tell whether a folder is this processor's, of other windows or versions, or one that nobody reads any more.

    Processors were told by fewer instructions before: of an older version the name alone says whose it was.
    """
    try:
        parity = next(iter(verdicts(folder, names)), {})
    except FormatError:
        return True
    theirs, ours = parity.get("processor", ""), processor()
    if parity.get("made", 0) < MADE:
        theirs, ours = theirs.split(" (")[0], ours.split(" (")[0]
    return bool(theirs) and theirs == ours
