"""The end of an update's learning: networks between the old and the new weights are measured, and one of them is taken.

A run is an update where the model that learns more lies in its folder `EARLIER`; every other run passes through unchanged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from striate.core.case import Case
from striate.core.errors import FormatError
from striate.core.progress import Bar, Progress
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.inference.predict import engine_of, predict_case
from striate.io.read import read_label
from striate.measure.evaluation import on_one_grid
from striate.measure.forgetting import FILE, MOST, Dice, Forgetting, Measured
from striate.measure.overlap import dice
from striate.model.interpolate import interpolated
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.training import distributed
from striate.training.loop import Learned
from striate.training.run import EARLIER, Run


def settled(run: Run, plan: Plan, split: Split, learned: Learned, progress: Progress) -> Learned:
    """Return what was learned with the weights that are taken; what was measured goes into ``update.json``."""
    if not (run / EARLIER).is_dir() or distributed.rank() != 0:
        return learned
    source = Model.open(run / EARLIER)
    old, new = source.network().state_dict(), learned.network.state_dict()
    measured = _along(run, plan, split, source, (old, new), progress)
    tell = progress.note if measured.kept else progress.warn
    tell(measured.told())
    learned.network.load_state_dict(interpolated(old, new, measured.share))
    return learned


def facts_of(run: Run) -> dict[str, Any]:
    """Return what model and record say of an update under ``update``; nothing of any other run."""
    return {"update": Forgetting.read(run / FILE).facts()} if (run / EARLIER).is_dir() else {}


def _along(
    run: Run,
    plan: Plan,
    split: Split,
    source: Model,
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    progress: Progress,
) -> Forgetting:
    """Measure the networks of the line; those that a call which was stopped has measured are not measured again."""
    cohort = Cohort.open(run.cohort)
    cases = [cohort.case(name) for name in split.validation]
    rehearsed = len(set(split.train) & set(split.earlier))
    found = Forgetting(
        (), {case.name: case.subject for case in cases}, frozenset(split.validation) & frozenset(split.earlier),
        float(run.options["tolerance"]), rehearsed, str(source.facts.get("weights_sha256", "")),
    )  # fmt: skip
    known = _known(run / FILE)
    with progress.bar("Forgetting", MOST * len(cases)) as bar:
        while (share := found.next_share) is not None:
            with tempfile.TemporaryDirectory(prefix=f".{FILE}.part.", dir=run.folder) as beside:
                model = Model.save(Path(beside) / "model", plan, interpolated(*ends, share), {})
                sha = str(model.facts["weights_sha256"])
                values = known.get((share, sha)) or _dice(model, cases, bar, len(found.rows) * len(cases))
            found = found.with_row(Measured(share, sha, values))
            found.write(run / FILE)
        bar.update(MOST * len(cases))
    return found


def _known(path: Path) -> dict[tuple[float, str], Dice]:
    with suppress(FormatError):
        return {(row.share, row.weights_sha256): row.dice for row in Forgetting.read(path).rows}
    return {}


def _dice(model: Model, cases: list[Case], bar: Bar, done: int) -> dict[str, dict[str, float]]:
    """Return the Dice of each case, label by label, on its own grid, as `striate predict` would draw it."""
    engine, targets = engine_of(model), model.plan.targets
    found = dict[str, dict[str, float]]()
    for number, case in enumerate(cases, start=1):
        mask = predict_case(model, case, network=engine).label
        truth = on_one_grid(mask, read_label(Path(str(case.label))), case.name)
        found[case.name] = {
            name: dice(targets.mask(mask.array, name), targets.mask(truth.array, name)) for name in targets.names
        }
        bar.update(done + number)
    return found
