"""Measures what docs/benchmarks.md holds about change between visits: new lesions, registration, noise, two real pairs.

    python benchmarks/change.py MODEL WORK [new] [noise] [real]        about half an hour on two cores

MODEL draws lesions (a run of benchmarks/trust.py). `new`: phantoms with two visits, in which lesions appear, grow and vanish,
the head lies otherwise and the noise is new; lesion-wise F1 of what is called new against what was drawn as new, from true and
from predicted masks; the registration against the true motion. `noise`: phantoms scanned twice with nothing changed: what differs
all the same, and how much of it is called a change. `real`: the two pairs of ms-longitudinal in ../shared/data or
$STRIATE_TEST_DATA.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from striate.core.image import Image
from striate.data.cohort import Cohort
from striate.io.read import read_image, read_label
from striate.measure.components import components
from striate.measure.finding import Quantity
from striate.phantoms import subject as subjects
from striate.phantoms.anatomy import template
from striate.phantoms.lesions import Change as Fates
from striate.phantoms.lesions import draw_lesions, evolve
from striate.phantoms.scanner import Raster
from striate.phantoms.shape import draw_shape, warp
from striate.trust.change import KINDS, Examined, compare_label
from striate.trust.registration import head_mask, register
from striate.trust.repeatability import Repeatability
from striate.trust.resampling import looked_up
from striate.trust.transform_file import read_transform
from striate.workflows.change import change
from striate.workflows.phantom import phantom

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ms-longitudinal"
SPACING, SUBJECTS, SEED = (3.0, 3.0, 3.0), 24, 91
CORNERS = np.c_[np.array(list(product((-65, 65), (-85, 85), (-60, 60)))), np.ones(8)]
"""Of a box around a head, mm."""


def visits(work: Path, *, still: bool = False) -> Path:
    """Make phantoms with two visits; with `still` nothing changes but pose and noise."""
    table = work / ("still" if still else "visits") / "cohort.csv"
    if not table.exists():
        evolve = subjects.evolve
        if still:
            subjects.evolve = lambda rng, places, lesions: (lesions, Fates())
        try:
            phantom(table.parent, subjects=SUBJECTS, seed=SEED, spacing_mm=SPACING, visits=2)
        finally:
            subjects.evolve = evolve
    return table


def pairs(table: Path) -> dict[str, list]:
    found: dict[str, list] = {}
    for case in Cohort.open(table).cases:
        found.setdefault(case.subject, []).append(case)
    return found


def known(subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the true transform (later mm → earlier mm) and where lesions are new at the second visit, as they were drawn."""
    raster = Raster.of(SPACING)
    warped = warp(draw_shape(subjects.stream(SEED, subject, 0)), template())
    places = subjects.lesion_sites(warped, template())
    first = draw_lesions(subjects.stream(SEED, subject, 2), places, 1.0)
    second = evolve(subjects.stream(SEED, subject, 2, 2), places, first)[0]
    poses = [subjects.draw_pose(subjects.stream(SEED, subject, 3, time)) for time in (1, 2)]
    new = [x for x in second if not any(np.allclose(x.centre_mm, y.centre_mm) for y in first)]
    fine = [raster.fine_mm(axis) for axis in range(3)]
    where = raster.averaged(subjects.render_lesions(fine, poses[1], new)[0]) > 0.1
    matrix = np.eye(4)
    matrix[:3, :3] = poses[0].turn.T @ poses[1].turn
    matrix[:3, 3] = poses[0].turn.T @ (poses[1].shift_mm - poses[0].shift_mm)
    return matrix, where


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


def new(model: Path, work: Path) -> dict[str, object]:
    table, still = visits(work), visits(work, still=True)
    rescans, out, measured = work / "rescans", work / "changed", work / "changed-measured"
    if not rescans.exists():
        change(model, still, None, rescans, rescan=True)
    if not out.exists():
        change(model, table, None, out)
    if not measured.exists():
        change(model, table, None, measured, repeatability=rescans)
    scores: dict[str, list[tuple[int, int, int]]] = {"true_masks": [], "predicted": [], "predicted_noise_measured": []}
    errors = []
    for number, (name, (before, after)) in enumerate(pairs(table).items()):
        told = json.loads((out / "record.json").read_text())["facts"]["registrations"][f"{before.name} to {after.name}"]
        true, where = known(number)
        found = np.array(told["matrix"])
        errors.append(np.linalg.norm((CORNERS @ (found - true).T)[:, :3], axis=1).max())
        seen = [read_label(case.label) for case in (before, after)]
        ml = [Quantity(float(x.array.sum() * x.grid.voxel_volume_ml)) for x in seen]
        was, now = (Examined(x.array > 0, x.grid, v) for x, v in zip(seen, ml, strict=True))
        fresh = where & now.mask
        scores["true_masks"].append(detected(compare_label(was, now, found).kinds == KINDS["new"], fresh))
        for key, folder in (("predicted", out), ("predicted_noise_measured", measured)):
            said = read_label(next((folder / "changes").glob(f"{name}_*.nii.gz"))).array
            scores[key].append(detected(said == KINDS["new"], fresh))
    return {
        "n_subjects": len(errors), **{key: score(rows) for key, rows in scores.items()},
        "registration_error_mm_at_head_corners": {
            "median": round(float(np.median(errors)), 2), "largest": round(float(max(errors)), 2)
        },
    }  # fmt: skip


def noise(model: Path, work: Path) -> dict[str, object]:
    """Scan and rescan: what was measured, and how often unchanged totals and lesions lie beyond it (half teach, half judge)."""
    rescans = work / "rescans"
    if not rescans.exists():
        change(model, visits(work, still=True), None, rescans, rescan=True)
    masks = {}
    for name, (before, after) in pairs(visits(work, still=True)).items():
        key = f"{before.name} to {after.name}"
        matrix = np.array(json.loads((rescans / "record.json").read_text())["facts"]["registrations"][key]["matrix"])
        for kind in ("true", "predicted"):
            paths = [case.label if kind == "true" else rescans / f"{case.name}.nii.gz" for case in (before, after)]
            seen = [read_label(path) for path in paths]
            was, now = (
                Examined(x.array > 0, x.grid, Quantity(float(x.array.sum() * x.grid.voxel_volume_ml))) for x in seen
            )
            masks.setdefault(kind, []).append((name, was, now, matrix))
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
    for part in sys.argv[3:] or ["new", "noise", "real"]:
        print(json.dumps({part: globals()[part](Path(sys.argv[1]), place)}), flush=True)
