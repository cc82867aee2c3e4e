"""The model card: what a model is for, what it was made of, how good it was and where it should not be used.

Sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019 (arXiv 1810.03993). What is not known is
said to be unknown; nothing is filled in by guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.planning.plan import Plan

UNKNOWN = "not recorded"

CLASSES = (
    "Accuracy, balanced accuracy, area under the ROC curve, log loss, Brier score and calibration error over all classes;"
    " sensitivity, specificity, precision and F1 per class"
)
METRICS = {
    "segmentation": "Dice, IoU, HD95 (mm), average surface distance (mm), volume error (mL) and lesion-wise precision,"
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
            f"Held-out cases: {_count(facts, 'validation_cases')}; subjects never shared with training.",
        ],
        "Training data": _training(facts),
        "Quantitative analyses": _results(facts),
        "Ethical considerations": [
            "Weights can hold traces of their training images; share them only as the images may be shared.",
            "The training data's licence and consent govern the use of this model.",
        ],
        "Caveats and recommendations": [
            "Not a medical device; research use. A person qualified to read the images must check every mask.",
            "Check new data before prediction (striate check) and measure on own data before relying on it"
            " (striate evaluate).",
        ],
    }
    head = f"# Model card: {', '.join(plan.task.outputs.names)} from {', '.join(plan.task.channels)}\n"
    return head + "".join(
        f"\n## {title}\n" + "".join(f"- {line}\n" for line in lines) for title, lines in sections.items()
    )


def _details(plan: Plan, facts: Mapping[str, Any]) -> list[str]:
    choice = plan.network
    parameters = facts.get("parameters") or plan.expected.parameters
    return [
        f"Network: {choice.name}, {choice.spatial_dims}D"
        + (f", {parameters:,} parameters." if parameters else f", parameters {UNKNOWN}."),
        f"Trained by Striate {facts.get('striate_version', UNKNOWN)} on {facts.get('date', 'a date ' + UNKNOWN)},"
        f" {facts.get('steps', UNKNOWN)} steps, seed {plan.training.seed}.",
        f"Weights SHA-256: {facts.get('weights_sha256', UNKNOWN)}.",
    ]


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


def _results(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for label, measures in (facts.get("validation") or {}).items():
        if isinstance(measures, Mapping):
            lines.append(f"{label}: " + ", ".join(f"{name} {_show(value)}" for name, value in measures.items()) + ".")
        else:
            lines.append(f"{label}: {_show(measures)}.")
    return lines or ["No case was held out, so nothing was measured."]


def _count(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key, UNKNOWN)
    return str(len(value)) if isinstance(value, (list, tuple)) else str(value)


def _show(value: Any) -> str:
    """Write a number, or the summary {mean, low, high, n} of one."""
    if isinstance(value, Mapping) and "mean" in value:
        bounds = f" ({_show(value['low'])} to {_show(value['high'])})" if value.get("low") is not None else ""
        count = f", n {value['n']}" if "n" in value else ""
        return f"{_show(value['mean'])}{bounds}{count}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return " to ".join(_show(v) for v in value)
    return str(value)
