"""Measures what docs/benchmarks.md holds about change between visits: new lesions, registration, noise, triage, two real pairs.

    python benchmarks/change.py MODEL WORK [new] [noise] [triage] [others] [real]        by estimate half an hour on one core

MODEL draws lesions and is calibrated (WORK/calibrated/model of benchmarks/trust.py). All phantoms have two visits, each of a
subject to one and the same of four scanners; half of the scans have an artefact. Three groups that the model never saw, of other
subjects each: 60 `changed`, whose lesions appear, grow and vanish; 30 `rescanned`, in whom nothing changes, to measure noise
on; 30 `still`, in whom nothing changes either. In all of them the head lies otherwise and the noise is new. Scanners are
those that MODEL learned from; for `others`, four that it did not.

`new`: lesion-wise F1 of what is called new against what was drawn as new, from true and from predicted masks, with the noise that
is estimated and with that measured on `rescanned`; the registration against the true motion. `noise`: what differs though nothing
changed, and how much of it is called a change. `triage`: whether the list puts those first in whom lesions are new, and how many
of them it calls low. `others`: `new` with noise that is estimated. `real`: the two pairs of ms-longitudinal in
../shared/data or $STRIATE_TEST_DATA. WORK keeps phantoms, registrations and results, so that a run that was stopped goes on.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from striate.core.files import write_json
from striate.core.image import Image
from striate.data.cohort import Cohort
from striate.io.read import read_image, read_label
from striate.io.write import write_image, write_label
from striate.measure.components import components
from striate.measure.finding import Quantity
from striate.measure.roc import auc
from striate.phantoms import artefacts
from striate.phantoms import subject as subjects
from striate.phantoms.anatomy import template
from striate.phantoms.lesions import Change as Fates
from striate.phantoms.lesions import draw_lesions, evolve
from striate.phantoms.person import draw_person
from striate.phantoms.shape import draw_shape, warp
from striate.phantoms.site import draw_site
from striate.trust.change import KINDS, Examined, compare_label
from striate.trust.registration import Registration, head_mask, register
from striate.trust.repeatability import Repeatability
from striate.trust.resampling import looked_up
from striate.trust.transform_file import read_transform
from striate.workflows import change_pair
from striate.workflows.change import change
from trust import share

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ms-longitudinal"
SPACING, SITES, ARTEFACTS, RESAMPLES = (2.0, 2.0, 2.0), 4, "mixed", 2000
CORNERS = np.c_[np.array(list(product((-65, 65), (-85, 85), (-60, 60)))), np.ones(8)]
"""Of a box around a head, mm."""


@dataclass(frozen=True)
class Group:
    """Subjects number `first` … `first` + `count` − 1 of a seed; in those that are `still` nothing changes."""

    seed: int
    first: int
    count: int
    still: bool = False


GROUPS = {
    "changed": Group(0, 1000, 60),
    "rescanned": Group(0, 1100, 30, still=True),
    "still": Group(0, 1200, 30, still=True),
    "others": Group(91, 1000, 60),
}
"""Seed 0 has the scanners of benchmarks/trust.py, whose subjects are numbered below 400."""


def cohort(work: Path, *names: str) -> Path:
    """Make the phantoms of these groups, and return a table of them."""
    folder, rows = work / "phantoms", []
    for path in (folder / "images", folder / "masks"):
        path.mkdir(parents=True, exist_ok=True)
    write_json(folder / "labels.json", {"1": "lesion"})
    for name in names:
        group = GROUPS[name]
        for subject in range(group.first, group.first + group.count):
            stems = [f"{name}{subject}_{time}" for time in (1, 2)]
            files = [[f"images/{stem}_flair.nii.gz", f"masks/{stem}_lesion.nii.gz"] for stem in stems]
            if not (folder / files[-1][-1]).exists():
                for visit, (flair, label) in zip(visits(group, subject), files, strict=True):
                    write_image(folder / flair, visit.flair)
                    write_label(folder / label, visit.label)
            for time, (stem, paths) in enumerate(zip(stems, files, strict=True), 1):
                kind = artefacts.choose(ARTEFACTS, subjects.stream(group.seed, subject, 4, time))
                rows.append([stem, f"{name}{subject}", time, *paths, kind, draw_site(group.seed, subject % SITES).name])
    table = folder / f"{'-'.join(names)}.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["case", "subject", "time", "flair", "label", "artefact", "site"], *rows])
    return table


def visits(group: Group, subject: int) -> Iterator[subjects.Visit]:
    evolving = subjects.evolve
    if group.still:
        subjects.evolve = lambda rng, places, lesions: (lesions, Fates())
    try:
        yield from subjects.visits(group.seed, subject, spacing_mm=SPACING, count=2, artefacts=ARTEFACTS, sites=SITES)
    finally:
        subjects.evolve = evolving


def pairs(table: Path) -> dict[str, list]:
    found: dict[str, list] = {}
    for case in Cohort.open(table).cases:
        found.setdefault(case.subject, []).append(case)
    return found


def known(name: str) -> tuple[np.ndarray, np.ndarray, Fates]:
    """Return the true transform (later mm → earlier mm), where lesions are new at the second visit, and how many changed."""
    label = name.rstrip("0123456789")
    group, subject = GROUPS[label], int(name[len(label) :])

    def stream(*key: int) -> np.random.Generator:
        return subjects.stream(group.seed, subject, *key)

    site, person = draw_site(group.seed, subject % SITES), draw_person(stream(5))
    raster = site.raster(SPACING, stream(6))
    warped = warp(person.shaped(draw_shape(stream(0))), template())
    places = subjects.lesion_sites(warped, template())
    first = draw_lesions(stream(2), places, person.load)
    second, fates = (first, Fates()) if group.still else evolve(stream(2, 2), places, first)
    poses = [subjects.draw_pose(stream(3, time)) for time in (1, 2)]
    new = [x for x in second if not any(np.allclose(x.centre_mm, y.centre_mm) for y in first)]
    fine = [raster.fine_mm(axis) for axis in range(3)]
    where = raster.averaged(subjects.render_lesions(fine, poses[1], new)[0]) > 0.1
    matrix = np.eye(4)
    matrix[:3, :3] = poses[0].turn.T @ poses[1].turn
    matrix[:3, 3] = poses[0].turn.T @ (poses[1].shift_mm - poses[0].shift_mm)
    return matrix, where, fates


def kept(path: Path, make):
    """Return what was kept, or make it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(pickle.dumps(make()))
        path.with_suffix(".part").replace(path)
    return pickle.loads(path.read_bytes())


def compared(model: Path, work: Path, *names: str, how: str = "", **options: object) -> Path:
    """Compare the visits of these groups, unless that was done; two heads are registered once."""
    out = work / f"{'-'.join(names)}{how}"

    def once(before: Image, after: Image, *, case: str) -> Registration:
        key = hashlib.sha256(before.array.tobytes() + after.array.tobytes()).hexdigest()[:24]
        return kept(work / "registered" / f"{key}.pickle", lambda: register(before, after, case=case))

    change_pair.register = once
    try:
        if not out.exists():
            change(model, cohort(work, *names), None, out, **options)
    finally:
        change_pair.register = register
    return out


def measured(model: Path, work: Path) -> Path:
    return compared(model, work, "rescanned", how="-noise", rescan=True)


def detected(said: np.ndarray, true: np.ndarray) -> tuple[int, int, int]:
    """Return true positives, false positives and misses of lesions; one voxel in common is enough."""
    found, n = components(said)
    real, m = components(true)
    hit = len(set(np.unique(found[real > 0])) - {0})
    seen = len(set(np.unique(real[found > 0])) - {0})
    return seen, n - hit, m - seen


def score(counts: list[tuple[int, int, int]]) -> dict[str, float | int]:
    hits, false, missed = (sum(row[i] for row in counts) for i in range(3))
    return {
        "f1": round(2 * hits / max(2 * hits + false + missed, 1), 3),
        "hits": hits,
        "false": false,
        "missed": missed,
    }


def matrices(folder: Path) -> dict[str, np.ndarray]:
    told = json.loads((folder / "record.json").read_text())["facts"]["registrations"]
    return {key.split("_")[0]: np.array(found["matrix"]) for key, found in told.items()}


def examined(path: Path) -> Examined:
    label = read_label(path)
    return Examined(label.array > 0, label.grid, Quantity(float(label.array.sum() * label.grid.voxel_volume_ml)))


def said_new(folder: Path, name: str) -> np.ndarray:
    return read_label(next((folder / "changes").glob(f"{name}_*.nii.gz"))).array == KINDS["new"]


def new(model: Path, work: Path) -> dict[str, object]:
    folders = {
        "predicted": compared(model, work, "changed", "still"),
        "predicted_noise_measured": compared(
            model, work, "changed", "still", how="-measured", repeatability=measured(model, work)
        ),
    }
    return _new(cohort(work, "changed"), folders)


def others(model: Path, work: Path) -> dict[str, object]:
    return _new(cohort(work, "others"), {"predicted": compared(model, work, "others")})


def _new(table: Path, folders: dict[str, Path]) -> dict[str, object]:
    scores: dict[str, list[tuple[int, int, int]]] = {"true_masks": [], **{key: [] for key in folders}}
    errors, dice, lost = [], [], []
    found = matrices(next(iter(folders.values())))
    for name, (before, after) in pairs(table).items():
        true, where, _ = known(name)
        was, now = (examined(case.label) for case in (before, after))
        fresh = where & now.mask
        if name not in found:
            lost.append(name)
            continue
        errors.append(np.linalg.norm((CORNERS @ (found[name] - true).T)[:, :3], axis=1).max())
        scores["true_masks"].append(detected(compare_label(was, now, found[name]).kinds == KINDS["new"], fresh))
        for key, folder in folders.items():
            scores[key].append(detected(said_new(folder, name), fresh))
        said = read_label(next(iter(folders.values())) / f"{after.name}.nii.gz").array > 0
        dice.append(2 * (said & now.mask).sum() / (said.sum() + now.mask.sum()))
    return {
        "n_subjects": len(errors), "not_compared": lost, "dice_second_visit": round(float(np.mean(dice)), 3),
        **{key: score(rows) for key, rows in scores.items()},
        "registration_error_mm_at_head_corners": {
            "median": round(float(np.median(errors)), 2), "largest": round(float(max(errors)), 2)
        },
    }  # fmt: skip


def triage(model: Path, work: Path) -> dict[str, object]:
    """Tell whether who has new lesions comes first, and how many of them are called low."""
    rescans = measured(model, work)
    told = {
        "estimated": compared(model, work, "changed", "still"),
        "measured": compared(model, work, "changed", "still", how="-measured", repeatability=rescans),
    }
    largest, grown = {}, {}
    for name, (_, after) in pairs(cohort(work, "changed", "still")).items():
        _, where, fates = known(name)
        now = read_label(after.label)
        numbers, count = components(where & (now.array > 0))
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:] * now.grid.voxel_volume_ml
        largest[name], grown[name] = float(sizes.max(initial=0.0)), fates.grown
    return {key: _listed(folder, largest, grown) for key, folder in told.items()}


def _listed(folder: Path, largest: dict[str, float], grown: dict[str, int]) -> dict[str, object]:
    rows = json.loads((folder / "triage.json").read_text())["rows"]
    gains = {
        c["subject"]: sum(label["volume_change_ml"]["value"] for label in c["labels"].values())
        for c in json.loads((folder / "findings.json").read_text())["changes"]
    }
    rank = np.array([-row["rank"] for row in rows])
    priority = np.array([row["priority"] for row in rows])
    names = [row["subject"] for row in rows]
    size, gain = np.array([largest[n] for n in names]), np.array([gains.get(n, 0.0) for n in names])
    changed = (size > 0) | (np.array([grown[n] for n in names]) > 0)
    out: dict[str, object] = {
        "n_subjects": len(rows),
        "priority_of_the_unchanged": {p: share(priority[~changed] == p) for p in ("high", "middle", "low")},
        "priority_of_the_changed": {p: share(priority[changed] == p) for p in ("high", "middle", "low")},
    }
    for least in (0.1, 0.25, 0.5):
        wanted = size >= least
        low = priority == "low"
        out[f"new_lesion_of_at_least_{least}_ml"] = {
            "subjects": int(wanted.sum()), "auroc": interval(rank, wanted),
            "auroc_of_the_gain_in_volume": interval(gain, wanted),
            "among_the_first_10": share(wanted[np.argsort(-rank)[:10]]),
            "called_low": share(low[wanted]), "of_those_called_low": share(wanted[low]) if low.any() else None,
        }  # fmt: skip
    return out


def interval(scores: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Return the area under the ROC curve with its 95 % interval over resampled subjects (percentiles)."""
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(wanted), size=len(wanted))
        if 0 < wanted[chosen].sum() < len(wanted):
            found.append(auc(scores[chosen], wanted[chosen]))
    return [round(float(v), 3) for v in (auc(scores, wanted), *np.percentile(found, (2.5, 97.5)))]


def noise(model: Path, work: Path) -> dict[str, object]:
    """Scan and rescan: what was measured, and how often unchanged totals and lesions lie beyond it (half teach, half judge)."""
    folders = {"rescanned": measured(model, work), "still": compared(model, work, "changed", "still")}
    masks: dict[str, list] = {"true": [], "predicted": []}
    for group, folder in folders.items():
        found = matrices(folder)
        for name, both in pairs(cohort(work, group)).items():
            if name in found:
                masks["true"].append((name, *(examined(case.label) for case in both), found[name]))
                masks["predicted"].append((name, *(examined(folder / f"{c.name}.nii.gz") for c in both), found[name]))
    return {kind: _noise(rows) for kind, rows in masks.items()}


def _noise(rows: list) -> dict[str, object]:
    half = len(rows) // 2
    lesions = [(name, compare_label(was, now, matrix).lesions) for name, was, now, matrix in rows]
    sides = [(name, [(x.before, x.after) for x in found]) for name, found in lesions]
    whole = Repeatability.fit({"lesion": sides}).labels["lesion"]
    out: dict[str, object] = {"n_subjects": len(rows), "measured": asdict(whole)}
    for title, judged, taught in (
        ("estimated", rows, [None] * len(rows)),
        ("measured_on_the_other_half", rows, [Repeatability.fit({"lesion": sides[half:]}).labels["lesion"]] * half
         + [Repeatability.fit({"lesion": sides[:half]}).labels["lesion"]] * (len(rows) - half)),
    ):  # fmt: skip
        totals, kinds = 0, {}
        for (_, was, now, matrix), repeatability in zip(judged, taught, strict=True):
            found = compare_label(was, now, matrix, repeatability).change
            totals += bool(found.detectable)
            for lesion in found.lesions:
                kinds[lesion.kind] = kinds.get(lesion.kind, 0) + 1
        out[title] = {"totals_beyond_noise": totals, "lesions": kinds}
    return out


def brighter(earlier: Image, later: Image, matrix: np.ndarray) -> np.ndarray:
    """Return where the later image is brighter than chance, on its grid: what can be had without a model, (I, J, K) bool.

    Both images are scaled to the median of the head; the smoothed difference counts above 4 robust standard deviations, inside
    the head less 8 mm of rim, in components of at least 0.02 mL.
    """
    moved, _ = looked_up(earlier, later.grid, matrix)
    now = later.array[0].astype(np.float32)
    head = head_mask(now) & head_mask(moved)
    depth = ndimage.distance_transform_edt(head, sampling=later.grid.spacing_mm)
    inside = depth > 8
    sigma = [1.0 / s for s in later.grid.spacing_mm]
    difference = ndimage.gaussian_filter(now / np.median(now[inside]) - moved / np.median(moved[inside]), sigma)
    middle = np.median(difference[inside])
    spread = 1.4826 * np.median(np.abs(difference[inside] - middle))
    numbers, count = components(inside & (difference > middle + 4 * spread))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1) * later.grid.voxel_volume_ml
    return (numbers > 0) & (sizes >= 0.02)[numbers]


def real(model: Path, work: Path) -> dict[str, object]:
    found = {}
    for folder in sorted(DATA.glob("sub-*")):
        one, two = folder / "study1_FLAIR.nii.gz", folder / "study2_FLAIR.nii.gz"
        earlier, later, truth = read_image(one), read_image(two), read_label(folder / "gt.nii.gz")
        first, second = (read_transform(folder / f"study{i}_FLAIR_to_common_space.txt") for i in (1, 2))
        given = first @ np.linalg.inv(
            second
        )  # later mm → common → earlier mm: the files look up each study from common space
        done = register(earlier, later)
        corners = np.array([[x, y, z, 1.0] for x in (-65, 65) for y in (-85, 85) for z in (-55, 65)])
        corners += [*(later.affine @ [*(np.array(later.array.shape[1:]) / 2), 1.0])[:3], 0]
        errors = {
            "as_given": np.linalg.norm((corners @ (done.matrix - given).T)[:, :3], axis=1).max(),
            "inverted": np.linalg.norm(
                (corners @ (done.matrix - np.linalg.inv(first) @ second).T)[:, :3], axis=1
            ).max(),
        }
        with tempfile.TemporaryDirectory() as place:
            told = change(model, one, two, Path(place) / "out").changes[0]
            said = read_label(next((Path(place) / "out" / "changes").glob("*.nii.gz")))
        common, _ = looked_up(
            Image(np.isin(said.array, (2, 3)).astype(np.float32)[None], said.affine), truth.grid, second
        )
        mask, true = common >= 0.5, truth.array > 0
        plain = brighter(earlier, later, done.matrix).astype(np.float32)
        plain = looked_up(Image(plain[None], later.affine), truth.grid, second)[0] >= 0.5
        found[folder.name] = {
            "registration_error_mm": {k: round(float(v), 2) for k, v in errors.items()}, "registration": done.to_dict(),
            "change_true_ml": round(float(true.sum() * truth.grid.voxel_volume_ml), 2),
            "change_said_ml": round(float(mask.sum() * truth.grid.voxel_volume_ml), 2),
            "dice": round(float(2 * (mask & true).sum() / max(mask.sum() + true.sum(), 1)), 3),
            "lesions": score([detected(mask, true)]),
            "brighter_by_intensity": {
                "dice": round(float(2 * (plain & true).sum() / max(plain.sum() + true.sum(), 1)), 3),
                "ml": round(float(plain.sum() * truth.grid.voxel_volume_ml), 2), **score([detected(plain, true)]),
            },
            "volume_change_ml": told.labels["lesion"].volume_change_ml.to_dict(),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    for part in sys.argv[3:] or ["new", "noise", "triage", "others", "real"]:
        print(json.dumps({part: globals()[part](Path(sys.argv[1]), place)}), flush=True)
