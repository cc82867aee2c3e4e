"""What an inspection costs, told before it begins: passes of one window through the network, and how long one takes here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.machine import show_seconds
from striate.core.progress import Progress
from striate.data.prepare import uncut_shape
from striate.inference.tiling import Tiling
from striate.io.read import read_header
from striate.networks.network import Network
from striate.networks.surrounded import seen_size
from striate.planning.cost import seen_patch
from striate.workflows.explain_case import Opened

OPENING_PASSES = 5
"""Passes for all numbers that are opened in a page: one watches, some open; and statistics of all maps take time."""
LARGE_S = 5.0
"""What takes longer is told before it begins."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Passes of one window, at most, and the time of one.

    Attributes
    ----------
    case
        Its name.
    windows
        Passes that predict: of all windows where a lesion is looked for, and of those over the point.
    opening
        Passes that watch and open numbers.
    pass_s
        Measured, with zeros.
    """

    case: str
    windows: int
    opening: int
    pass_s: float

    @classmethod
    def of(cls, opened: Opened, case: Case, *, found: bool, opens: bool = True) -> Cost:
        """Count the passes; `found`: a lesion is looked for; `opens`: a page is made, not a single sum."""
        plan, network = opened.plan, opened.network
        windows = 1
        if plan.task.kind == "segmentation":
            grid = read_header(next(iter(case.channels.values()))).grid
            tiling = Tiling.of(uncut_shape(plan.preparation, grid), plan.inference.patch, plan.inference.overlap)
            around = math.prod(min(2, len(starts)) for starts in tiling.starts)
            windows = around + (tiling.count if found else 0)
        shape = _shape(opened)
        tile = torch.zeros(shape)
        with torch.inference_mode():
            start = time.monotonic()
            network(tile)
            took_s = time.monotonic() - start
            if took_s < LARGE_S / 10:  # the first is slower than all others
                start = time.monotonic()
                network(tile)
                took_s = time.monotonic() - start
        return cls(case.name, windows, OPENING_PASSES if opens else 2, took_s)

    @property
    def passes(self) -> int:
        """All of them."""
        return self.windows + self.opening

    @property
    def seconds(self) -> float:
        """How long they take."""
        return self.passes * self.pass_s

    def told(self, progress: Progress) -> dict[str, Any]:
        """Tell what takes long, and return it as JSON."""
        if self.seconds > LARGE_S:
            told = f"{counted(self.passes, 'pass', 'passes')} of a window through the network at most"
            progress.note(f"{self.case}: {told}, {show_seconds(self.pass_s)} each: about {show_seconds(self.seconds)}")
        return {"case": self.case, "passes": self.passes, "pass_seconds": self.pass_s, "seconds": self.seconds}


def _shape(opened: Opened) -> tuple[int, ...]:
    """Return the shape of what the network is given."""
    plan, network = opened.plan, opened.network
    patch = plan.inference.patch if plan.task.kind == "segmentation" else plan.training.patch
    size = seen_patch(patch, plan.network.spatial_dims)
    if isinstance(network, Network):
        size = seen_size(network, size)
    length = (plan.training.length,) if plan.task.kind == "sequence" else ()
    return (1, *length, plan.in_channels, *size)
