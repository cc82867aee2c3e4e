"""Clipped intensities: many voxels at exactly the largest or smallest value."""

from __future__ import annotations

from collections.abc import Iterator

from striate.data.checks.facts import ChannelFacts, CohortFacts
from striate.data.checks.problem import Problem

SHARE = 0.005
EXCESS = 5.0


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report channels of which 0.5 % of the object has the extreme value, five times more than the values beside it."""
    for case in cohort.cases:
        for name, channel in case.channels.items():
            if channel.maximum <= channel.minimum or channel.levels <= 16 or channel.small:
                continue
            top = channel.at_maximum >= SHARE and channel.top_excess >= EXCESS
            bottom = _below(channel) and channel.at_minimum >= SHARE and channel.bottom_excess >= EXCESS
            for clipped, share, value, what in (
                (top, channel.at_maximum, channel.maximum, "largest"),
                (bottom, channel.at_minimum, channel.minimum, "smallest"),
            ):
                if clipped:
                    yield Problem(
                        "clipped", case.case, "warning",
                        f"{100 * share:.1f} % of the object in channel {name} has the {what} value {value:.6g}",
                        "intensities that are not clipped are needed, contrast is lost there",
                        "Export the scan without windowing or saturation.",
                    )  # fmt: skip


def _below(channel: ChannelFacts) -> bool:
    """Zeros inside a head are air and bone, and CT is filled below its range: only a stripped object counts."""
    return channel.stripped and channel.minimum != 0
