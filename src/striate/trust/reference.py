"""What a network answers to the scans that it learned from, without a mask: what gate and likeness are fitted to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.data.prepare import prepare
from striate.inference.engines import Engine, network_in
from striate.inference.features import Heard, pooling
from striate.inference.predict import predict_classes
from striate.planning.plan import Plan
from striate.trust.evidence import CaseEvidence
from striate.trust.image_facts import image_facts


class _Listening:
    """Computes a network up to the layer that is listened to, and gives zeros for what would follow."""

    def __init__(self, engine: Engine, channels: int) -> None:
        self.name, self.precision, self._engine, self._channels = engine.name, engine.precision, engine, channels

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        with contextlib.suppress(Heard):
            self._engine(tiles)
        return np.zeros((len(tiles), self._channels, *tiles.shape[2:]), np.float32)


def reference(plan: Plan, engine: Engine, cases: Sequence[Case]) -> Iterator[CaseEvidence]:
    """Yield facts and features of each case; `CaseEvidence.labels` is empty.

    Parameters
    ----------
    plan
        The model's.
    engine
        The model's, as it predicts.
    cases
        That the network learned from.

    Raises
    ------
    DataError
        When a file cannot be read.
    """
    network, listening = network_in(engine), _Listening(engine, plan.targets.out_channels)
    for case in cases:
        ready = prepare(case, plan.preparation)
        features = np.zeros(0, np.float32)
        if network is not None:
            with pooling(network, alone=True) as pooled:
                predict_classes(plan, listening, ready.array)
                features = pooled.take()
        yield CaseEvidence(case.name, case.subject, {}, features, image_facts(ready, plan.task.channels))
