"""The page of an inspection, served: any number of any map is opened when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from striate.core.errors import UsageError
from striate.reporting.render import render
from striate.web.live import LiveServer
from striate.workflows.inspect_inside import Inside

LONGEST_NUMBER = 9


def serve(server: LiveServer, inside: Inside, folder: Path) -> None:
    """Answer questions about an inspection, whose files are in `folder`, until Ctrl-C."""
    page = render(folder, live={"path": "", "token": server.token})
    server.serve(
        page, {"/sum": lambda given: answer_sum(inside, given), "/maps": lambda given: answer_maps(inside, given)}
    )


def answer_sum(inside: Inside, given: Mapping[str, str]) -> dict[str, Any]:
    """Answer ``node=&unit=&at=i,j[,k]``: the sum that made that number.

    Raises
    ------
    UsageError
        When there is no such number.
    """
    _refuse_others(given, ("node", "unit", "at"))
    place = given.get("at", "")
    at = tuple(_number("at", part) for part in place.split(",")) if place else ()
    return inside.sum(_number("node", given.get("node", "")), _number("unit", given.get("unit", "")), at)


def answer_maps(inside: Inside, given: Mapping[str, str]) -> dict[str, Any]:
    """Answer ``node=&plane=``: all maps of a node, in one picture.

    Raises
    ------
    UsageError
        When there is no such node or plane.
    """
    _refuse_others(given, ("node", "plane"))
    plane = given.get("plane", "")
    return inside.maps(_number("node", given.get("node", "")), _number("plane", plane) if plane else None)


def _refuse_others(given: Mapping[str, str], known: tuple[str, ...]) -> None:
    other = next((name for name in given if name not in known), None)
    if other is not None:
        raise UsageError(f"'{other[:20]}' is not asked for; known are {', '.join(known)}.")


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER):
        raise UsageError(f"{name} '{text[:20]}': a whole number from 0 on is needed.")
    return int(text)
