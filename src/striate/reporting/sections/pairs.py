"""Every two networks on the same samples, with Holm's correction."""

from __future__ import annotations

from typing import Any

from striate.reporting.comparison import Comparison
from striate.reporting.numbers import NONE, number
from striate.reporting.section import Section


def make(folder: Comparison) -> Section:
    """Return the table."""
    found = folder.document.get("pairs") or []
    if not found:
        return Section("pairs", "Differences", absent="Fewer than two networks have finished runs on the same samples.")
    rows = [_row(one) for one in found]
    return Section("pairs", "Differences", {"rows": rows, "main": folder.main_name, "many": len(rows) > 15,
                                            "classes": any(one.get("mcnemar_p") is not None for one in found),
                                            "subjects": max(one["subjects"] for one in found)})  # fmt: skip


def _row(one: dict[str, Any]) -> dict[str, Any]:
    sure = one.get("p_holm") is not None and one["p_holm"] < 0.05
    low, high = number(one.get("low")), number(one.get("high"))
    interval = "" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"
    cells = [
        _signed(number(one.get("difference"))),
        interval,
        _p(one.get("p")),
        _p(one.get("p_holm")),
        _p(one.get("mcnemar_p")),
    ]
    return {"name": f"{one['first']} − {one['second']}", "cells": cells, "sure": sure}


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.3f}".replace("-", "−")


def _p(value: float | None) -> str:
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
