"""Which maps of an operation are shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from striate.workflows.inspect_files import MOST_MAPS, varied


def test_as_many_maps_are_shown_as_there_is_room_for_and_those_that_must_be() -> None:
    spread = np.arange(40.0)
    trace = SimpleNamespace(statistics={3: SimpleNamespace(std=spread)})
    shown = varied(trace, SimpleNamespace(id=3), must=[2, 39, 38])  # two of them vary most anyway
    assert len(shown) == MOST_MAPS and shown == [2, *range(9, 40)]
    assert varied(trace, SimpleNamespace(id=3), must=range(36)) == list(range(36))
