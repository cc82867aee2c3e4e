"""The model card: what a model is for, what it was made of, how good it was and where it should not be used.

Sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019 (arXiv 1810.03993). What is not known is
said to be unknown; nothing is filled in by guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.core.counted import counted, three_digits
from striate.measure.named import measure_name
from striate.planning.plan import Plan

UNKNOWN = "not recorded"

CLASSES = (
    "Accuracy, balanced accuracy, area under the ROC curve, log loss, Brier score and calibration error over all classes;"
    " sensitivity, specificity, precision and F1 per class"
)
METRICS = {
    "segmentation": "Dice, IoU, HD95 (mm), mean surface distance (mm), volume error (mL) and lesion-wise precision,"
    " recall and F1, per label or region",
    "classification": CLASSES,
    "sequence": CLASSES,
    "reconstruction": "Mean squared and absolute error, PSNR (dB) and SSIM, per channel",
}


def write_card(plan: Plan, facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    plan
        The plan of the model.
    facts
        See ``Model.facts``.
    """
    sections = {
        "Model details": _details(plan, facts),
        "Intended use": _use(plan),
        "Factors": _factors(plan, facts),
        "Metrics": [f"{METRICS[plan.task.kind]}, with bootstrap intervals over subjects (docs/concepts/measures.md)."],
        "Evaluation data": [
            _held_out(facts),
        ],
        "Training data": _training(facts),
        "Quantitative analyses": [*_results(facts), *_limits(facts)],
        "Ethical considerations": [
            "Weights can hold traces of their training images; share them only as the images may be shared.",
            "The training data's licence and consent govern the use of this model.",
        ],
        "Caveats and recommendations": [
            "Not a medical device; research use. A person qualified to read the images must check every result.",
            "Check new data before prediction (striate check) and measure on own data before relying on it"
            " (striate evaluate, striate calibrate).",
        ],
    }
    head = f"# Model card: {', '.join(plan.task.outputs.names)} from {', '.join(plan.task.channels)}\n"
    body = "".join(f"\n## {title}\n" + "".join(f"- {line}\n" for line in lines) for title, lines in sections.items())
    return head + body + _reliability(facts)


def _details(plan: Plan, facts: Mapping[str, Any]) -> list[str]:
    choice = plan.network
    parameters = facts.get("parameters") or plan.expected.parameters
    by = f"Striate {facts.get('striate_version', UNKNOWN)} on {facts.get('date', 'a date ' + UNKNOWN)}"
    steps = counted(facts["steps"], "step") if "steps" in facts else f"steps {UNKNOWN}"
    lines = [
        f"Network: {choice.name}, {choice.spatial_dims}D"
        + (f", {parameters:,} parameters." if parameters else f", parameters {UNKNOWN}."),
        f"Trained by {facts['source']}; imported by {by}." if "source" in facts else
        f"Trained by {by}, {steps}, seed {plan.training.seed}.",
        f"Weights SHA-256: {facts.get('weights_sha256', UNKNOWN)}.",
    ]  # fmt: skip
    if "update" in facts:
        told = facts["update"]
        judged = " Chosen on these very subjects: slightly optimistic." if told["earlier"]["subjects"] else ""
        lines.append(f"Updated from the weights {told['from_sha256'][:12]}…. {told['told']}{judged}")
    if plan.preparation.previous_labels:
        lines.append(
            "Second stage of a cascade: it also sees the mask of the model in previous/, which has its own card."
        )
    return lines


def _use(plan: Plan) -> list[str]:
    spacing = " × ".join(f"{v:g}" for v in plan.preparation.spacing_mm)
    return [
        f"{plan.task.kind.capitalize()} of {', '.join(plan.task.outputs.names)} in images with the channels"
        f" {', '.join(plan.task.channels)} (in this order), at {spacing} mm.",
        "Out of scope: other channels, other body parts, other label meanings, decisions without a person.",
    ]


def _factors(plan: Plan, facts: Mapping[str, Any]) -> list[str]:
    lines = [f"Working voxel size: {' × '.join(f'{v:g}' for v in plan.preparation.spacing_mm)} mm."]
    ranges = facts.get("reference_ranges") or {}
    for channel, values in ranges.items():
        if isinstance(values, Mapping):
            lines.append(
                f"{channel} of the training images: " + ", ".join(f"{k} {_show(v)}" for k, v in values.items()) + "."
            )
    if not ranges:
        lines.append(f"Ranges of the training images: {UNKNOWN}.")
    lines.append("Scanner, site, age and sex: performance per group is not measured by training.")
    return lines


def _training(facts: Mapping[str, Any]) -> list[str]:
    cohort = facts.get("cohort", UNKNOWN)
    return [
        f"Cohort: {cohort}; subjects {_count(facts, 'training_subjects')}, cases {_count(facts, 'training_cases')}."
    ]


def _held_out(facts: Mapping[str, Any]) -> str:
    of = f" of cohort {facts['calibration_cohort']}" if "calibration_cohort" in facts else ""
    shared = (
        "subjects never shared with training"
        if facts.get("validation_is_unseen", True)
        else "whether their subjects were in training is not known"
    )
    return f"Held-out cases{of}: {_count(facts, 'validation_cases')}; {shared}."


def _subjects(n: int) -> str:
    return counted(n, "subject")


def _results(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for label, measures in (facts.get("validation") or {}).items():
        if isinstance(measures, Mapping):
            lines.append(
                f"{label}: " + ", ".join(f"{measure_name(m)} {_show(value)}" for m, value in measures.items()) + "."
            )
        else:
            lines.append(f"{label}: {_show(measures)}.")
    return lines or ["No case was held out, so nothing was measured."]


def _limits(facts: Mapping[str, Any]) -> list[str]:
    """Return what was measured of the model's knowledge of its own limits, each with its number of subjects."""
    known = facts.get("trust") or {}
    lines = []
    for label, found in (known.get("calibration") or {}).items():
        before, after, n = found.get("before"), found.get("after"), found["n_subjects"]
        if not before:
            continue
        values = [
            f"{name} {_show(before[key])}" + (f" before, {_show(after[key])} after" if after else " before calibration")
            for key, name in (("ece", "ECE"), ("adaptive_ece", "adaptive ECE"), ("brier", "Brier score"))
            if before.get(key) is not None
        ]
        lines.append(f"Calibration of {label} ({found['family']}, {_subjects(n)}): {'; '.join(values)}.")
    for label, found in (known.get("intervals") or {}).items():
        if found["volume_ml"] is None:
            lines.append(
                f"Intervals of {label} for {_percent(known['coverage'])} coverage rest on {_subjects(found['n_subjects'])}; how"
                " many they hold was not measured, since with one left out the others are too few."
            )
            continue
        shares = [f"{name} {_percent(found[key])}" for key, name in (("volume_ml", "volume"), ("count", "count"))]
        lines.append(
            f"Intervals of {label} for {_percent(known['coverage'])} coverage held {' and '.join(shares)} of"
            f" {_subjects(found['n_subjects'])}, each left out of what judged it."
        )
    for label, found in (known.get("lesions") or {}).items():
        lines.append(
            f"Probability that a lesion of {label} is real: AUROC {_show(found['auroc'])}, Brier score"
            f" {_show(found['brier'])}, {counted(found['n_lesions'], 'lesion')} of {_subjects(found['n_subjects'])}."
        )
    lines += _class_limits(known)
    gate = known.get("gate") or {}
    if gate:
        lines.append(f"The input gate warns of {gate['cases']} of {gate['of']} training scans when each is left out.")
    if "int8" in facts:
        lines.append(f"In whole numbers of 8 bits: {facts['int8']['reason']}.")
    return [*lines, *known.get("limits", [])]


def _class_limits(known: Mapping[str, Any]) -> list[str]:
    """Return what was measured of the probabilities and sets of a classifier."""
    found, sets = known.get("classes") or {}, known.get("sets") or {}
    lines, before, after = [], found.get("before"), found.get("after")
    names = (
        ("ece", "ECE"),
        ("classwise_ece", "class-wise ECE"),
        ("adaptive_ece", "adaptive ECE"),
        ("brier", "Brier score"),
    )
    if before:
        values = [
            f"{name} {_show(before[key])}" + (f" before, {_show(after[key])} after" if after else " before calibration")
            for key, name in names
        ]
        kind = f"{found['family']} {_show(found['temperature'])}" if found.get("temperature") else found["family"]
        lines.append(f"Calibration of the classes ({kind}, {_subjects(found['n_subjects'])}): {'; '.join(values)}.")
    if sets.get("held") is not None:
        by_class = ", ".join(f"{name} {_percent(share)}" for name, share in sets["held_by_class"].items())
        lines.append(
            f"Sets of classes for {_percent(sets['coverage'])} coverage held the true class of {_percent(sets['held'])}, with"
            f" {_show(sets['size'])} classes on average ({_subjects(sets['n_subjects'])}, each left out of what judged it;"
            f" by true class: {by_class})."
        )
    return lines


def _reliability(facts: Mapping[str, Any]) -> str:
    """Return one table per label: what probabilities said, and what came true; it says whether they are calibrated."""
    text, known = "", facts.get("trust") or {}
    for label, bins in (known.get("reliability") or {}).items():
        if bins:
            rows = "".join(f"| {said:.3f} | {true:.3f} | {_bar(true)} | {count:,} |\n" for said, true, count in bins)
            when = "after" if (known.get("reliability_is_calibrated") or {}).get(label, True) else "before"
            n = _subjects((known.get("calibration") or {}).get(label, {}).get("n_subjects", 0))
            text += f"\n### Reliability of {label}\n\nAll voxels of {n}, {when} calibration.\n"
            text += f"\n| said | came true | | voxels |\n|---|---|---|---|\n{rows}"
    classes = known.get("classes") or {}
    if classes.get("reliability"):
        rows = "".join(
            f"| {said:.3f} | {true:.3f} | {_bar(true)} | {n:,} |\n" for said, true, n in classes["reliability"]
        )
        what = "The most probable class" if classes["exclusive"] else "Every class"
        when, n = "after" if classes["after"] else "before", _subjects(classes["n_subjects"])
        text += f"\n### Reliability of the classes\n\n{what} of {classes['n_samples']:,} samples, {n}, {when} calibration.\n"
        text += f"\n| said | came true | | samples |\n|---|---|---|---|\n{rows}"
    return text


def _bar(share: float) -> str:
    return "█" * round(10 * share) or "▏"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def _count(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key, UNKNOWN)
    return str(len(value)) if isinstance(value, (list, tuple)) else str(value)


def _show(value: Any) -> str:
    """Write a number, or the summary {mean, low, high, n} or {value, low, high, n} of one."""
    if isinstance(value, Mapping) and ("mean" in value or "value" in value):
        middle = value.get("mean", value.get("value"))
        bounds = f" ({_show(value['low'])} to {_show(value['high'])})" if value.get("low") is not None else ""
        count = f", n {value['n']}" if "n" in value else ""
        return "not measurable" if middle is None else f"{_show(middle)}{bounds}{count}"
    if isinstance(value, float):
        return three_digits(value)
    if isinstance(value, (list, tuple)):
        return " to ".join(_show(v) for v in value)
    return str(value)
