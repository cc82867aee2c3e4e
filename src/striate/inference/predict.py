"""One case from its files (or prepared array) to its mask: prepare, slide, restore."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.errors import UsageError
from striate.core.image import LabelMap
from striate.data.prepare import Prepared, prepare
from striate.inference.cascade import prepare_stage
from striate.inference.engines import Engine, network_in, open_engine
from striate.inference.observe import Observer
from striate.inference.prediction import Prediction
from striate.inference.probabilities import ProbabilityWriter
from striate.inference.refined import refined
from striate.inference.refuse_nan import refuse_nan
from striate.inference.restore import Restorer, decide_regions
from striate.inference.sliding_window import Window
from striate.inference.tiling import Tiling
from striate.inference.warn import reasons_for_doubt
from striate.model.model import Model
from striate.planning.plan import Plan

if TYPE_CHECKING:
    from torch import nn


def predict_case(
    model: Model | Plan,
    case: Case,
    *,
    network: nn.Module | Engine | None = None,
    tta: bool = False,
    crf: bool = False,
    save_probabilities: Path | None = None,
    maps: ProbabilityWriter | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    prepared: Prepared | None = None,
    observe: bool = False,
    truth: LabelMap | None = None,
) -> Prediction:
    """Predict one case on its own grid.

    Parameters
    ----------
    model
        The model, or the plan alone where `network` is given (as while training).
    case
        Its channels are taken in their order.
    network
        A network that is loaded already, or an engine; else the model's.
    tta
        Average the predictions of all flips along ``plan.inference.mirror_axes``: 2ⁿ times the work for n axes.
    crf
        Let the fully connected CRF refine the probabilities (`striate.inference.crf`).
    save_probabilities
        Folder for one probability map per label or region.
    maps
        Gets the probabilities instead, to write them later.
    tell
        Called with the windows done and their number.
    prepared
        The case as prepared by ``plan.preparation``, where it is in memory already.
    observe
        Fill `Prediction.observed`.
    truth
        On the grid of the files; what is observed is counted against it too. Not looked at without `observe`.

    Raises
    ------
    DataError
        When the files cannot be read or do not fit together.
    ModelError
        When their number of channels is not the model's, or its network answers NaN.
    """
    plan = model if isinstance(model, Plan) else model.plan
    said = list[str]()
    engine = engine_of(model, network, said.append)
    seconds: dict[str, float] = {}
    with timed(seconds, "prepare"):
        ready = _prepared(model, case, mirror=tta) if prepared is None else prepared
    observer, written = Observer(ready, plan.targets, truth) if observe else None, dict[str, Path]()
    with contextlib.ExitStack() as stack:
        if save_probabilities is not None:
            maps = stack.enter_context(ProbabilityWriter(save_probabilities, case.name, plan.targets))
        with timed(seconds, "network"), _features(engine, asked=observe) as features:
            label, facts = predict_prepared(
                plan, engine, ready, tta=tta, crf=crf, maps=maps, tell=tell, observer=observer,
                model=None if isinstance(model, Plan) else model.folder,
            )  # fmt: skip
        if save_probabilities is not None and maps is not None:
            written = maps.finish()
    facts = {**facts, "engine": engine.name, "precision": engine.precision, "tta": tta, "crf": crf, "seconds": seconds}
    facts |= {"gpu": said[0]} if said else {}
    known = {} if isinstance(model, Plan) else model.facts
    doubts = (*(Caution("prepared", text) for text in ready.notes), *reasons_for_doubt(plan, known, ready, label))
    observed = None if observer is None else replace(observer.finish(), features=features())
    return Prediction(
        case, plan.targets, held=label, probabilities=written, warnings=doubts, observed=observed, facts=facts
    )


def predict_prepared(
    plan: Plan,
    engine: Engine,
    prepared: Prepared,
    *,
    tta: bool = False,
    crf: bool = False,
    maps: ProbabilityWriter | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    observer: Observer | None = None,
    model: Path | None = None,
) -> tuple[LabelMap, dict[str, Any]]:
    """Predict a prepared case; returns its mask on the grid of the files, and facts.

    `maps` gets the probabilities, to be written afterwards. An `observer` of the same case counts what the network says of
    it; ask it afterwards. `model` is the model's folder, for messages.

    Raises
    ------
    DataError, ModelError
        When the network answers NaN (`refuse_nan`).
    """
    window = window_of(plan, engine, prepared.array.shape[1:], tta=tta)
    axis = window.tiling.rolling_axis
    restorer = Restorer(prepared, plan.targets, axis, maps, observer)
    slid = _sound(window, prepared, model, tell)
    images = len(plan.task.channels)
    for start, rows in refined(slid, prepared, images, plan.targets, axis) if crf else slid:
        restorer.push(start, rows)
    return restorer.finish(), {"windows": window.tiling.count, "windows_skipped": window.skipped[0]}


def _sound(
    window: Window, prepared: Prepared, model: Path | None, tell: Callable[[int, int], None]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield finished rows of probabilities (`Window.slide`), none of which is NaN."""
    for start, rows in window.slide(prepared.array, lambda done: tell(done, window.tiling.count)):
        asked = rows[:1] if window.exclusive else rows  # a softmax is NaN in all classes or in none
        refuse_nan(asked, prepared.array, prepared.case, model, window.engine.name)
        yield start, rows


def predict_classes(
    plan: Plan, network: nn.Module | Engine, array: NDArray[np.float32], *, tta: bool = False
) -> NDArray[np.uint8]:
    """Predict class indices (*spatial) on the working grid of a prepared array (C, *spatial) float32.

    Comparable with `Prepared.classes`; this is what training validates with.
    """
    window = window_of(plan, engine_of(plan, network), array.shape[1:], tta=tta)
    axis = window.tiling.rolling_axis
    found = np.zeros(array.shape[1:], dtype=np.uint8)
    for start, rows in window.slide(array):
        part = rows.astype(np.float32, copy=False)
        winner = part.argmax(0) if plan.targets.exclusive else decide_regions(list(part), plan.targets)
        np.moveaxis(found, axis, 0)[start : start + rows.shape[1]] = winner
    return found


def window_of(plan: Plan, engine: Engine, shape: tuple[int, ...], *, tta: bool = False) -> Window:
    """Return how the plan slides a network over an array of spatial `shape`."""
    tiling = Tiling.of(tuple(shape), plan.inference.patch, plan.inference.overlap)
    axes = plan.inference.mirror_axes if tta else ()
    return Window(engine, tiling, plan.targets.out_channels, plan.targets.exclusive, plan.network.spatial_dims, axes)


def engine_of(
    model: Model | Plan, network: nn.Module | Engine | None = None, tell: Callable[[str], None] = lambda note: None
) -> Engine:
    """Return an engine for `network` (itself, where it is one), or for the model's own network.

    `tell` is told why a GPU that is there cannot compute the model's own, so that the processor does.

    Raises
    ------
    UsageError
        When there is only a plan and no network.
    """
    if network is None:
        if isinstance(model, Plan):
            raise UsageError("predict: network is None and only a plan was given; give the network too.")
        from striate.inference.engines.place import placed

        network = placed(model, tell=tell).network
    if isinstance(network, Engine):
        return network
    plan = model if isinstance(model, Plan) else model.plan
    return open_engine(network, exclusive=plan.targets.exclusive)


def _prepared(model: Model | Plan, case: Case, *, mirror: bool) -> Prepared:
    return prepare(case, model.preparation) if isinstance(model, Plan) else prepare_stage(model, case, mirror=mirror)


@contextlib.contextmanager
def _features(engine: Engine, *, asked: bool) -> Iterator[Callable[[], NDArray[np.float32]]]:
    """Listen to the deepest layer, and give a function that returns its pooled answer; empty where nothing listens."""
    network, own = network_in(engine) if asked else None, getattr(engine, "pooled", None)
    if own is not None:
        own.take()
        yield own.take
    elif network is None:
        yield lambda: np.zeros(0, np.float32)
    else:
        from striate.inference.features import pooling

        with pooling(network) as pooled:
            yield pooled.take


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write into `seconds` under `name` how long the block took."""
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 3)
