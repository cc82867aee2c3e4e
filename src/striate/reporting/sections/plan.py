"""The plan: every decision, its value and its reason; what was expected of it beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from striate.core.machine import show_bytes, show_seconds
from striate.reporting.folder import Folder
from striate.reporting.numbers import compact, number, plain_text, product
from striate.reporting.section import Section

NAMES = {
    "task.channels": "Channels",
    "task.label_names": "Labels",
    "task.regions": "Regions",
    "task.classes": "Classes",
    "task.multi_label": "Several classes in one image",
    "task.unit": "One sample is a",
    "task.contains": "Class of a slice: it contains",
    "preparation.spacing_mm": "Voxel size (mm)",
    "preparation.normalisation": "Normalisation",
    "preparation.crop": "Cut to non-zero part",
    "preparation.intensities": "Intensities of the foreground",
    "network": "Network",
    "network.name": "Network",
    "network.spatial_dims": "Network axes",
    "network.options": "Network options",
    "training.patch": "Patch (voxels)",
    "training.batch": "Patches per update",
    "training.steps": "Updates",
    "training.budget_s": "Time budget",
    "training.seed": "Seed",
    "training.loss": "Loss",
    "training.optimiser": "Optimiser",
    "training.learning_rate": "Learning rate",
    "training.weight_decay": "Weight decay",
    "training.momentum": "Momentum",
    "training.warmup": "Warm-up (share of the schedule)",
    "training.decay_power": "Decay power",
    "training.clip_norm": "Largest gradient norm",
    "training.ema": "Weight average (decay per update)",
    "training.foreground": "Patches centred on foreground (share)",
    "training.length": "Images of a sequence",
    "training.balanced": "Classes drawn equally often",
    "training.precision": "Precision",
    "training.workers": "Data workers",
    "training.snapshots": "Earlier weights kept",
    "training.adversarial": "Hardened against attacks",
    "training.augmentation": "Augmentation",
    "training.augmentation.mirror_axes": "Mirrored axes",
    "inference.patch": "Patch in prediction (voxels)",
    "inference.overlap": "Overlap of patches",
    "inference.mirror_axes": "Mirrored axes in prediction",
}
SIZES = ("training.patch", "inference.patch", "preparation.spacing_mm")

RULE_OF_TEN = (
    "a rule of thumb asks for 10 (Yamins and DiCarlo 2016); shared weights and augmentation let convolutional networks"
    " learn from fewer"
)


def make(folder: Folder) -> Section:
    """Return decisions with reasons, the settings without, and expectation against measurement."""
    plan = folder.plan
    if not plan:
        return Section(
            "plan",
            "Plan",
            absent=f"The plan cannot be shown: {folder.why.get('plan.yaml') or folder.why.get('model/plan.yaml', '')}",
        )
    reasons = {str(k): str(v) for k, v in (plan.get("reasons") or {}).items()}
    shown = {k: v for k, v in plan.items() if k not in ("reasons", "expected", "schema_version")}
    flat = dict(_flat(shown, "", set(reasons)))
    decided = [(_name(k), _value(k, flat[k]), reasons[k]) for k in flat if k in reasons]
    told = {k: r for k, r in reasons.items() if k not in flat and not k.startswith("expected.")}
    decided += [(_name(k), plain_text(_at(plan, k)), r) for k, r in told.items()]
    others = [(_name(k), _value(k, v)) for k, v in flat.items() if k not in reasons and v not in (None, {}, [])]
    return Section("plan", "Plan", {"decided": decided, "others": others, "expected": _expected(folder, reasons)})


def _flat(node: dict[str, Any], path: str, stop: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value; a mapping that has a reason of its own, or holds free options, stays whole."""
    for key, value in node.items():
        name = f"{path}{key}"
        if (
            isinstance(value, dict)
            and name not in stop
            and name not in ("network.options", "task.label_names", "task.regions")
        ):
            yield from _flat(value, f"{name}.", stop)
        else:
            yield name, value


def _at(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _name(key: str) -> str:
    if key in NAMES:
        return NAMES[key]
    words = key.rsplit(".", 1)[-1].replace("_", " ")
    return f"{'Augmentation: ' if '.augmentation.' in key else ''}{words[:1].upper()}{words[1:]}"


def _value(key: str, value: Any) -> str:
    if key in SIZES and value:
        return product(value)
    if key == "training.budget_s" and number(value) is not None:
        return show_seconds(float(value))
    if key == "task.regions" and isinstance(value, dict):
        return "; ".join(f"{n} = {'+'.join(map(str, v))}" for n, v in value.items())
    if key == "network.options" and isinstance(value, dict):
        return "; ".join(f"{k} {plain_text(v)}" for k, v in value.items())
    if key == "network" and isinstance(value, dict):
        return f"{value.get('name')}, {value.get('spatial_dims')}D"
    return plain_text(value)


def _expected(folder: Folder, reasons: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Return (what, expected, measured, note) for each expectation of the plan."""
    plan = folder.plan
    found = plan.get("expected") or {}
    facts, rows = folder.record.get("facts") or {}, folder.metrics
    peak = (facts.get("gpu") or {}).get("peak_memory_bytes", facts.get("peak_rss_bytes"))  # of where it was trained
    spent = [t for r in rows if (t := r.get("step_s")) is not None]
    step_s = sorted(spent)[len(spent) // 2] if spent else None
    samples = number(found.get("samples_per_parameter"))
    rule = "" if samples is None else RULE_OF_TEN
    lines: list[tuple[str, str, str, str]] = [
        ("Parameters", "parameters", compact(found.get("parameters")), ""),
        ("Multiply-adds per patch", "macs_per_patch", compact(found.get("macs_per_patch")), ""),
        ("Receptive field (mm)", "receptive_field_mm", _rounded(found.get("receptive_field_mm")), ""),
        ("Object size (mm)", "object_mm", _rounded(found.get("object_mm")), ""),
        ("Training voxels per parameter", "samples_per_parameter", compact(samples), ""),
        ("Time of an update", "step_s", _time(found.get("step_s")), _time(step_s)),
        ("Updates", "steps", plain_text(found.get("steps")), str(len(rows)) if rows else ""),
        (
            "Training FLOPs, from operations",
            "training_flops_by_operations",
            compact(found.get("training_flops_by_operations")),
            "",
        ),
        ("Training FLOPs, from time", "training_flops_by_time", compact(found.get("training_flops_by_time")), ""),
        ("Peak memory", "peak_memory_bytes", _size(found.get("peak_memory_bytes")), _size(peak)),
        ("Duration", "time_s", _time(found.get("time_s")), _time(folder.record.get("duration_s"))),
    ]
    notes = {"samples_per_parameter": rule}
    return [
        (name, value, measured if measured != "–" else "", reasons.get(f"expected.{key}") or notes.get(key, ""))
        for name, key, value, measured in lines
        if value != "–" or measured not in ("", "–")
    ]


def _rounded(values: Any) -> str:
    return product([round(float(v), 1) for v in values]) if isinstance(values, (list, tuple)) and values else "–"


def _time(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.2f} s" if found < 1 else show_seconds(found)


def _size(value: Any) -> str:
    found = number(value)
    return "–" if found is None else show_bytes(found)
