"""How numbers are written for readers: few digits, units, intervals, never a bare NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from striate.measure.named import MEASURES

NONE = "–"

SIZED = ("mse", "mae")
"""Measures in the unit of the images, so of any size."""


def number(value: Any) -> float | None:
    """Return a finite float from a number or a mapping with the key ``value`` (as findings hold them), else None."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def fixed(value: Any, decimals: int = 2) -> str:
    """Write a number with fixed decimals and a true minus sign; – where there is none."""
    found = number(value)
    if found is None:
        return NONE
    text = f"{found:,.{decimals}f}".replace(",", "\u202f")
    return text.replace("-", "−") if any(c in "123456789" for c in text) else text.lstrip("-")


def volume(value: Any) -> str:
    """Write a volume in mL with about three digits."""
    found = number(value)
    if found is None:
        return NONE
    size = abs(found)
    return fixed(found, 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3)


def volume_decimals(values: Iterable[Any]) -> int:
    """Return the decimals with which a column of volumes in mL is written, after its middle value."""
    sizes = sorted(abs(v) for value in values if (v := number(value)))
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    return 1 if middle >= 10 else 2 if middle >= 0.1 else 3


def compact(value: Any) -> str:
    """Write a count or a rate with three digits and a prefix: 31.2 M, 1.08 G; small ones with three digits."""
    found = number(value)
    if found is None:
        return NONE
    for unit, scale in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(found) >= scale:
            scaled = found / (1e3 if unit == "k" else scale)
            return f"{scaled:.3g}\u00a0{unit}" if abs(scaled) < 999.5 else f"{scaled:.0f}\u00a0{unit}"
    if found == int(found):
        return fixed(found, 0)
    if abs(found) < 1e-3:
        mantissa, exponent = f"{found:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}·10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")
    return f"{found:.3g}".replace("-", "−")


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def interval(low: Any, high: Any, decimals: int = 2) -> str:
    """Write an interval as ``0.81 to 0.94``; empty where a bound is missing."""
    if number(low) is None or number(high) is None:
        return ""
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def bounds(quantity: Any, decimals: int = 2) -> str:
    """Write the interval of a quantity as findings hold it; empty where it has none."""
    return interval(quantity.get("low"), quantity.get("high"), decimals) if isinstance(quantity, Mapping) else ""


def interval_name(quantities: Iterable[Any]) -> str:
    """Return ``90 % interval`` where all intervals of these quantities have that coverage, else ``interval``."""
    found = {number(q.get("coverage")) for q in quantities if isinstance(q, Mapping) and bounds(q)}
    share = found.pop() if len(found) == 1 else None
    return "interval" if share is None else f"{fixed(100 * share, 0)} % interval"


def triple(values: Any, decimals: int = 1) -> str:
    """Write a vector as ``12.0, −3.1, 40.2``; a plain text comes back as it is."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return fixed(values, decimals) if number(values) is not None else str(values or NONE)
    return ", ".join(fixed(v, decimals) for v in values)


def product(values: Any) -> str:
    """Write sizes as ``1 × 1 × 3``."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return plain_text(values)
    return "\u00a0×\u00a0".join(f"{v:g}" if isinstance(v, (int, float)) else str(v) for v in values)


def plain_text(value: Any) -> str:
    """Write any value of a plan or a record on one line."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return compact(value) if abs(value) < 1e-3 or abs(value) >= 1e4 else f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {plain_text(v)}" for k, v in value.items()) or NONE
    if isinstance(value, (list, tuple)):
        return ", ".join(plain_text(v) for v in value) or NONE
    return str(value)


def measure_text(measure: str, value: Any) -> str:
    """Write a value of `measure` with its usual decimals, or with three digits where its size is that of the images."""
    return compact(value) if measure in SIZED else fixed(value, MEASURES.get(measure, ("", "", 3))[2])


def measure_interval(measure: str, low: Any, high: Any) -> str:
    """Write an interval of `measure` as ``0.81 to 0.94``; empty where a bound is missing."""
    if number(low) is None or number(high) is None:
        return ""
    return f"{measure_text(measure, low)} to {measure_text(measure, high)}"


def joined(names: Iterable[Any]) -> str:
    """Write names as ``a, b and c``."""
    texts = [str(n) for n in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else ""
