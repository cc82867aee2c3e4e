"""How intensities of each channel are brought to one scale: by what the channel is (nnU-Net's rule)."""

from __future__ import annotations

import re

from striate.data.prepare import Intensities
from striate.planning.fingerprint import Fingerprint
from striate.planning.rules import Decision

COLOURS = re.compile(r"(^|_)(red|green|blue|rgb|grey|gray)$")


def normalisation(facts: Fingerprint) -> Decision[tuple[tuple[str, ...], tuple[Intensities | None, ...]]]:
    """Return per channel the scheme, and the intensities that `ct` needs."""
    schemes: list[str] = []
    stats: list[Intensities | None] = []
    why = []
    for name, seen in zip(facts.channels, facts.intensities, strict=True):
        stats.append(None)
        if name.casefold() in ("ct", "cbct", "hu"):
            schemes.append("ct")
            stats[-1] = Intensities(mean=seen.mean, std=max(seen.std, 1e-6), p005=seen.p005, p995=seen.p995)
            why.append(f"{name}: Hounsfield units are absolute, clipped to {seen.p005:.0f} … {seen.p995:.0f}")
        elif COLOURS.search(name.casefold()):
            schemes.append("rescale")
            why.append(f"{name}: a photograph's channel, scaled to 0 … 1")
        elif facts.zero_background:
            schemes.append("zscore_nonzero")
            why.append(f"{name}: arbitrary units, and the background is one constant")
        else:
            schemes.append("zscore")
            why.append(f"{name}: arbitrary units")
    return Decision((tuple(schemes), tuple(stats)), "; ".join(why))
