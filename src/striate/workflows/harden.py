"""A plan whose network is hardened against attacks, and the tissue contrast that their size is measured by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import UsageError, expected
from striate.data.prepare import prepare
from striate.data.tissue_contrast import find_object, tissue_contrast
from striate.planning.plan import Adversarial, Plan

MEASURED = 8
"""Training cases whose contrast is measured; it hardly differs after normalisation."""


def refuse_epsilon(epsilon: float | None) -> None:
    """Refuse a size of attacks that means nothing.

    Raises
    ------
    UsageError
        When it is not above 0 and at most 1.
    """
    if epsilon is not None and not 0 < epsilon <= 1:
        want = "a fraction of the tissue contrast, above 0 and at most 1, is needed"
        raise UsageError(expected("adversarial", f"{epsilon:g}", want, "For instance --adversarial 0.05."))


def hardened(plan: Plan, epsilon: float | None) -> Plan:
    """Return the plan with the hardening that was asked for, if any, its reason, and what is expected of its pace.

    Raises
    ------
    UsageError
        When the task draws no masks.
    """
    if epsilon is None:
        return plan
    if plan.task.kind != "segmentation":
        want = "patches with masks are attacked; only segmentation can be hardened"
        raise UsageError(expected("adversarial", f"task {plan.task.kind}", want))
    attack = Adversarial(epsilon=epsilon)
    dear = 1 + attack.share * attack.steps
    by_steps, begin = plan.training.steps is not None, attack.begin
    times = begin + (1 - begin) * dear if by_steps else 1 / (begin + (1 - begin) / dear)
    share = f"{100 * attack.share:.0f} % of the patches"
    reason = (
        f"asked for: from {100 * begin:.0f} % of the schedule on, {share} are changed by an attack of"
        f" {counted(attack.steps, 'step')} before they teach (Wong et al. 2020); before, clean ones teach what is to be kept;"
        f" an update takes about {times:.2g} times as long on average"
    )
    told = plan.expected
    slower = {
        "step_s": None if told.step_s is None else float(f"{told.step_s * times:.4g}"),
        "steps": told.steps if by_steps or told.steps is None else max(1, round(told.steps / times)),
        "time_s": told.time_s if not by_steps or told.time_s is None else round(told.time_s * times, 1),
    }
    return plan.changed(
        training=plan.training.changed(adversarial=attack.model_dump()).model_dump(),
        expected=told.changed(**slower).model_dump(),
        reasons={**plan.reasons, "training.adversarial": reason},
    )


def with_contrast(plan: Plan, cases: Sequence[Case]) -> Plan:
    """Return a hardening plan with the median tissue contrast of its training cases, where it has none yet.

    Raises
    ------
    DataError
        When a case cannot be read.
    """
    attack = plan.training.adversarial
    if attack is None or attack.contrast is not None:
        return plan
    count = min(MEASURED, len(cases))
    rows = [_contrast(plan, cases[i * len(cases) // count]) for i in range(count)]
    contrast = tuple(float(f"{value:.4g}") for value in np.median(np.array(rows), axis=0))
    training = plan.training.changed(adversarial=attack.changed(contrast=contrast).model_dump())
    return plan.changed(training=training.model_dump())


def _contrast(plan: Plan, case: Case) -> list[float]:
    ready = prepare(case, plan.preparation)
    return [tissue_contrast(c, find_object(c, ready.grid.spacing_mm)) for c in ready.array]
