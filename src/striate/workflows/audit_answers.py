"""What an audit says at last: one number and one sentence for each con of the lecture, and the numbers that can be required."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from striate.core.counted import counted
from striate.core.machine import show_seconds
from striate.reporting.numbers import joined
from striate.reporting.sections.explanations import title_of
from striate.trust.attacks import FULL, Effort
from striate.trust.requirements import NAMES, Measured
from striate.trust.subgroups import FEW

Document = Mapping[str, Any]
CONS = {
    "quality": "Importance of image quality",
    "annotation": "Annotation",
    "learning_curve": "Data hungry",
    "cost": "Computational cost",
    "black_box": "Black box, trust",
    "subgroups": "Specific to one problem",
    "adversarial": "Adversarial attack",
    "forgetting": "Catastrophic forgetting",
    "card": "Ethics, society, law",
}
"""Part → the lecture's con."""
FORGETTING = (
    "Not measured: the model was never taught more. What it forgets is measured when it is:"
    " striate update RUN COHORT --out NEW."
)


def answers(document: Document) -> list[dict[str, Any]]:
    """Return ``con``, ``part``, ``value``, ``sentence``, ``n_subjects`` of each con, in the lecture's order."""
    rows = []
    for part, con in CONS.items():
        value, sentence, n = _TELL[part](document)
        rows.append({"con": con, "part": part, "value": value, "sentence": sentence, "n_subjects": n})
    return rows


WEAK = 0.3
"""Mean Dice on unchanged images below which it says nothing that artefacts or attacks do not lower it much."""
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "square": "The square attack"}

Told = tuple[str, str, int]


def _weak(clean: Any) -> str:
    """Return why a curve means nothing, where the Dice is low from the start; else nothing."""
    if clean is not None and clean >= WEAK:
        return ""
    return f"the Dice is {clean or 0.0:.2f} on unchanged images already, so there is little left to lose"


def too_little(curve: Document) -> str:
    """Return why attacks tried too little for a verdict, from the JSON form of their curve; else nothing."""
    return Effort(int(curve["effort"]["steps"]), int(curve["effort"]["restarts"])).short_of(FULL)


def _absent(part: Document) -> Told:
    return "–", str(part.get("absent") or "Not done."), 0


def _quality(d: Document) -> Told:
    part = d["quality"]
    if part.get("absent"):
        return _absent(part)
    broken = {n: a["breaks_at"] for n, a in part["artefacts"].items() if a["breaks_at"] is not None}
    n, weak = part["n_subjects"], _weak(part["clean"]["dice"]["mean"])
    if weak:
        return "–", f"{weak[:1].upper()}{weak[1:]}.", n
    if not broken:
        return (
            "none breaks it",
            f"None of {counted(len(part['artefacts']), 'artefact')} breaks the model up to its full strength.",
            n,
        )
    first = min(broken, key=lambda name: broken[name])
    late = [name for name in broken if part["artefacts"][name]["warned_before"] is False]
    told = f"{_words(first)} breaks it first, at strength {broken[first]:.2f} of 1"
    told = f"{told[:1].upper()}{told[1:]}; {len(broken)} of {counted(len(part['artefacts']), 'artefact')}"
    told += " breaks it" if len(broken) == 1 else " break it"
    if any(a["warned_before"] is not None for a in part["artefacts"].values()):
        told += f", {len(late) or 'none'} of them before the gate warns" + (
            f" ({', '.join(map(_words, late))})" if late else ""
        )
    return f"{broken[first]:.2f}", f"{told}.", n


def _annotation(d: Document) -> Told:
    part = d["annotation"]
    if part.get("absent"):
        return _absent(part)
    wrong = part.get("label_errors") or {}
    told = []
    found, of = wrong.get("n_suspicious"), wrong.get("n_cases") or 0
    if not of:
        told.append("masks were not judged")
    else:
        told.append(
            f"{found} of {counted(of, 'mask')} {'looks' if found == 1 else 'look'} wrong and should be looked at"
        )
    ways = [w for label in part["sensitivity"].values() for w in label["ways"] if w["way"] in ("thinner", "thicker")]
    values = [w["own"]["mean"] for w in ways if w["own"]["mean"] is not None]
    if values:
        told.append(f"a mask one voxel off would score a perfect prediction at {min(values):.2f}")
    told += [rated["sentence"].rstrip(".") for rated in part["raters"][:1]]
    if not part["raters"]:
        told.append("no second rater")
    text = "; ".join(told)
    return (f"{found} of {of}" if of else "–"), f"{text[:1].upper()}{text[1:]}.", part["n_subjects"]


def _data(d: Document) -> Told:
    part = d["learning_curve"]
    if part.get("absent"):
        return _absent(part)
    points = part["points"]
    first, last = points[0], points[-1]
    told = (
        f"Dice {1 - first['error']:.2f} from {counted(round(first['subjects']), 'subject')}, {1 - last['error']:.2f} from"
        f" {last['subjects']:g} (refits of {show_seconds(part['refit_s'])})."
    )
    if 1 - min(p["error"] for p in points) < WEAK:
        return (
            "–",
            f"{told} That is too little to say anything of more data: refits need more time.",
            part["n_subjects"],
        )
    told += f" {part['sentence']}"
    foreseen = part.get("foreseen")
    value = (
        f"{first['error'] - last['error']:+.2f}" if foreseen is None else f"{last['error'] - foreseen['error']:+.2f}"
    )
    return value.replace("-", "−"), told, part["n_subjects"]


def _cost(d: Document) -> Told:
    part = d["cost"]
    if part.get("absent"):
        return _absent(part)
    estimate = " (estimated)" if "estimate" in part["energy_source"] else ""
    told = (
        f"{show_seconds(part['seconds'])}, {part['peak_memory_bytes'] / 1e9:.1f} GB and {part['wh']:.2g} Wh{estimate} per case,"
        f" by {part['engine']} on {counted(part['cores'], 'core')}."
    )
    return show_seconds(part["seconds"]), told, part["n_subjects"]


def _black_box(d: Document) -> Told:
    cal, cov, exp = d["calibration"], d["coverage"], d["explanations"]
    told, n = [], 0
    value = "–"
    ece, name = _worst(cal, "ece")
    if ece is not None:
        value, n = f"{ece:.3f}", cal["n_subjects"]
        told.append(f"expected calibration error {ece:.3f}{name} over {_whom(cal)}")
    elif cal.get("absent"):
        told.append("the model was never calibrated, so it has neither probabilities nor intervals that can be trusted")
    shares = [
        v["volume_ml"]["share"] for v in (cov.get("labels") or {}).values() if v["volume_ml"]["share"] is not None
    ]
    if shares:
        told.append(f"{100 * cov['wanted']:.0f} % intervals of the volume held {100 * min(shares):.0f} %")
    elif not cov.get("absent"):
        told.append("too few subjects for intervals")
    if exp.get("absent"):
        told.append("explanations were not checked")
    elif exp.get("passed") is not None:
        sound = exp["sound"]
        which = f"; all of them by {joined([title_of(name) for name in sound])}" if sound else "; no method passed all"
        told.append(f"{100 * exp['passed']:.0f} % of the checks of explanations passed{which}")
    text = "; ".join(told)
    return value, f"{text[:1].upper()}{text[1:]}.", n


def _whom(part: Document) -> str:
    """Return on whom something was measured."""
    told = str(part.get("told") or "")
    subjects = counted(part["n_subjects"], "subject")
    return told if told.startswith(subjects) else f"{subjects} ({told})" if told else subjects


def _groups(d: Document) -> Told:
    part = d["subgroups"]
    if part.get("absent"):
        return _absent(part)
    columns = part["columns"]
    if not columns:
        return "–", "No column of the cohort has groups that could be compared.", part["n_subjects"]
    worse = [
        c for c in columns if c["differs"] and c["name"] not in ("lesion load (mL)", "lesions", "lesion volume (mL)")
    ]
    size = [c for c in columns if c["differs"] and c not in worse]
    told = f"{len(worse)} of {counted(len([c for c in columns if c not in size]), 'column')}"
    told += " differs by more than chance" if len(worse) == 1 else " differ by more than chance"
    if worse:
        c = worse[0]
        low = min(c["groups"], key=lambda g: g["mean"])
        told = (
            f"{c['name']}: {c['measure']} {low['mean']:.2f} in {low['name']}, {max(g['mean'] for g in c['groups']):.2f} in the"
            f" best group (p = {c['p_corrected']:.2g} after correction); {told}"
        )
    if size:
        told += "; how well it does depends on the size of the lesions"
    few = part.get("under_represented") or []
    if part["n_subjects"] < 2 * FEW:
        told += f"; {counted(part['n_subjects'], 'subject')}: every group is too small to say much"
    elif few:
        told += f"; under-represented: {', '.join(' '.join((f['column'], f['group'])) for f in few[:3])}"
        told += f" and {len(few) - 3} more" if len(few) > 3 else ""
    gaps = [c["gap"] for c in columns if c["gap"] is not None and c["measure"] == "Dice"]
    return (f"{max(gaps):.2f}" if gaps else "–"), f"{told[:1].upper()}{told[1:]}.", part["n_subjects"]


def _attack(d: Document) -> Told:
    part = d["adversarial"]
    if part.get("absent"):
        return _absent(part)
    n, weak = part["n_subjects"], _weak(part["clean"]["mean"])
    if weak:
        return "–", f"{weak[:1].upper()}{weak[1:]}.", n
    halves = {a: e for a, e in part["halves_at"].items() if e is not None}
    masked = " Its gradients are hidden, so the real harm is larger." if part["masking"]["masked"] else ""
    short = too_little(part)
    told_short = short or (too_little(part["hardened"]) if part.get("hardened") else "")
    masked += f" {told_short}" if told_short else ""
    if not halves:
        most = max((p["epsilon"] for points in part["curves"].values() for p in points), default=0.0)
        return (
            "–" if short else f"> {most:g}",
            f"No attack halves the Dice up to {most:g} of the tissue contrast.{masked}",
            n,
        )
    first = min(halves, key=lambda a: halves[a])
    told = f"{ATTACKS.get(first, first)} halves the Dice with changes of {100 * halves[first]:.1f} % of the tissue contrast."
    hard = (part.get("hardened") or {}).get("halves_at") or {}
    if part.get("hardened"):
        after = hard.get(first)
        told += f" The hardened model: {'not at all' if after is None else f'{100 * after:.1f} %'}."
    return f"{'≤ ' if short else ''}{halves[first]:.3f}", told + masked, n


def _card(d: Document) -> Told:
    part = d["card"]
    few, n = len(part.get("under_represented") or []), part["n_subjects"]
    licence = part.get("licence") or "not recorded"
    told = f"Model card in the published structure; licence of the data: {licence}"
    if n < 2 * FEW:
        return "–", f"{told}; {counted(n, 'subject')}: too few to tell which groups are under-represented.", n
    return str(few), f"{told}; {counted(few, 'group')} {'is' if few == 1 else 'are'} under-represented.", n


def _forgetting(d: Document) -> Told:
    part = d["forgetting"]
    change = (part.get("earlier") or {}).get("change") or {}
    if not part["done"]:
        return "–", str(part.get("told") or FORGETTING), 0
    told = f"{part['told']} Measured when the model was updated, not here."
    return f"{change['mean']:+.3f}".replace("-", "−"), told, part["n_subjects"]


_TELL = {
    "quality": _quality, "annotation": _annotation, "learning_curve": _data, "cost": _cost, "black_box": _black_box,
    "subgroups": _groups, "adversarial": _attack, "forgetting": _forgetting, "card": _card,
}  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")


def _worst(part: Document, key: str) -> tuple[float | None, str]:
    """Return the largest calibrated score of all labels, and of which label it is where there are several."""
    known = {
        n: v["after"][key]
        for n, v in (part.get("labels") or {}).items()
        if v.get("after") and v["after"][key] is not None
    }
    if not known:
        return None, ""
    name = max(known, key=lambda n: known[n])
    return float(known[name]), f" ({name})" if len(known) > 1 else ""


def numbers(document: Document) -> dict[str, Measured]:
    """Return every number that can be required, by its name in `striate.trust.requirements.NAMES`."""
    d = document
    found: dict[str, Measured] = {}

    def put(name: str, value: Any, part: Document, why: str = "") -> None:
        absent = str(part.get("absent") or why or "it was not measured")
        found[name] = Measured(None if value is None else float(value), int(part.get("n_subjects") or 0), absent)

    done = d["performance"]
    for key in ("dice", "lesion_f1"):
        known = [v[key]["mean"] for v in (done.get("labels") or {}).values() if v[key]["mean"] is not None]
        put(key, min(known, default=None), done)
    for key in ("ece", "adaptive_ece", "brier"):
        few = f"{counted(d['calibration']['n_subjects'], 'subject')}, and two are needed to judge each without it"
        put(key, _worst(d["calibration"], key)[0], d["calibration"], few)
    cov = d["coverage"]
    for name, quantity in (("coverage", "volume_ml"), ("count_coverage", "count")):
        known = [v[quantity]["share"] for v in (cov.get("labels") or {}).values()]
        lowest = min(known) if known and all(k is not None for k in known) else None
        whys = [str(v["why"]) for v in (cov.get("labels") or {}).values() if v.get("why")]
        put(name, lowest, cov, " ".join(whys))
    flag = cov.get("review") or {}
    put(
        "missed",
        flag.get("missed"),
        {**cov, "n_subjects": flag.get("n_bad_subjects", 0)},
        "too few subjects have a case with a Dice below 0.6"
        if flag.get("n_bad_subjects")
        else "no case has a Dice below 0.6",
    )
    _put_groups(put, d["subgroups"])
    _put_robust(put, d)
    put("explained", d["explanations"].get("passed"), d["explanations"])
    notes = d["annotation"]
    ratios = [r["model"]["mean"] / r["between"]["mean"] for r in notes.get("raters") or [] if r["between"]["mean"]]
    put("raters", min(ratios, default=None), notes, str(notes.get("no_raters") or ""))
    wrong = notes.get("label_errors") or {"absent": "masks were not ranked"}
    put("suspects", wrong["n_suspicious"] / wrong["n_cases"] if wrong.get("n_cases") else None, wrong)
    curve = d["learning_curve"]
    foreseen = curve.get("foreseen")
    doubled = None if not foreseen else curve["points"][-1]["error"] - foreseen["error"]
    put("doubled", doubled, curve, str(curve.get("reason") or ""))
    price = d["cost"]
    put("seconds", price.get("seconds"), price)
    put("memory_gb", None if price.get("peak_memory_bytes") is None else price["peak_memory_bytes"] / 1e9, price)
    put("wh", price.get("wh"), price)
    return {name: found[name] for name in NAMES}


def _put_groups(put: Any, part: Document) -> None:
    columns: Sequence[Any] = part.get("columns") or []
    gaps = [c["gap"] for c in columns if c["gap"] is not None and c["measure"] == "Dice"]
    put("gap", max(gaps, default=None), part, "no column has two groups of enough subjects")
    put("unfair", len([c for c in columns if c["differs"]]) if columns else None, part, "no column could be compared")


def _put_robust(put: Any, d: Document) -> None:
    part = d["quality"]
    artefacts = (part.get("artefacts") or {}).values()
    weak = _weak(part["clean"]["dice"]["mean"]) if artefacts else ""
    breaks = [a["breaks_at"] for a in artefacts if a["breaks_at"] is not None]
    put("breaks_at", None if not artefacts or weak else min(breaks, default=1.0), part, weak)
    known = [a for a in artefacts if a["breaks_at"] is None or a["warned_before"] is not None]
    late = len([a for a in artefacts if a["warned_before"] is False])
    told = artefacts and not weak and len(known) == len(artefacts)
    put("unwarned", late if told else None, part, weak or "the model has no input gate")
    part = d["adversarial"]
    most = max((p["epsilon"] for points in (part.get("curves") or {}).values() for p in points), default=None)
    halves = [e for e in (part.get("halves_at") or {}).values() if e is not None]
    unknown = (_weak(part["clean"]["mean"]) or too_little(part)) if part.get("curves") else ""
    put("halves_at", None if unknown else min(halves) if halves else most, part, unknown)
