"""Candidates of lesions for `evaluate`: of masks beside which the probabilities lie (``predict --save-probabilities``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from striate.core.errors import DataError, FormatError, ModelError, expected
from striate.core.files import read_json
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.data.pairs import MaskPair
from striate.inference.observed import quantise
from striate.inference.probabilities import map_beside
from striate.io.read import read_image, read_label, stem
from striate.measure.detection import LARGEST, LESION, Ranked, named_in
from striate.measure.evaluation import on_one_grid
from striate.measure.finding import CaseFindings
from striate.measure.lesions import LesionOverlap
from striate.trust.candidates import Candidates, candidates_of
from striate.trust.trust import Trust


def rank_candidates(
    label: str,
    overlaps: Mapping[str, LesionOverlap],
    pairs: Sequence[MaskPair],
    findings: Mapping[str, CaseFindings],
    targets: Targets,
) -> Ranked | None:
    """Return the candidates of one label in their order; None where the map of its probability is missing for a case.

    They are ranked by the model of lesions that made the findings, where its folder is still where it was; else by the largest
    probability of their voxels.

    Parameters
    ----------
    label
        Its name in `targets`.
    overlaps
        Case → the lesions of its mask over the true ones.
    pairs
        The files; of each case the map lies beside the mask.
    findings
        Case → its findings, which name the labels as the model does.
    targets
        Which values make which label or region.

    Raises
    ------
    DataError
        When a map cannot be read, or does not lie on the grid of its mask.
    """
    cases = {pair.case: pair for pair in pairs if pair.case in overlaps}
    names = {c: named_in(findings[c], label, overlaps[c]) for c in cases if c in findings}
    maps = {
        c: map_beside(cases[c].predicted, stem(cases[c].predicted), name, list(findings[c].labels))
        for c, name in names.items()
        if name is not None
    }
    own = Targets({label: targets.sets[label]}, exclusive=False)
    there = {case: path for case, path in maps.items() if path is not None}
    if len(there) < len(cases):
        return None
    found = {c: _candidates(cases[c], own, label, path, overlaps[c]) for c, path in there.items()}
    every, scores = {case: one.overlap for case, one in found.items()}, list[list[float]]()
    trusts = {folder: _trust(folder) for folder in {pair.predicted.parent for pair in cases.values()}}
    for case, one in found.items():
        name, trust = str(names[case]), trusts[cases[case].predicted.parent]
        judged = all(lesion.probability is not None for lesion in findings[case].labels[name].lesions)
        told = [trust.lesions.probability(name, lesion) if trust and judged else None for lesion in one.lesions]
        scores.append([p for p in told if p is not None])
    if any(len(row) < len(one.lesions) for row, one in zip(scores, found.values(), strict=True)):
        return Ranked(every, [one.largest for one in found.values()], LARGEST)
    return Ranked(every, scores, LESION)


def _candidates(pair: MaskPair, own: Targets, label: str, path: Path, overlap: LesionOverlap) -> Candidates:
    predicted = read_label(pair.predicted)
    truth, image = on_one_grid(predicted, read_label(pair.truth), pair.case), read_image(path)
    if not image.grid.matches(predicted.grid):
        got = f"shape {image.grid.shape}, the mask has {predicted.grid.shape}"
        got = got if image.grid.shape != predicted.grid.shape else "another place than the mask"
        again = "Predict the case again with --save-probabilities, or take the map away."
        raise DataError(expected(path, got, "one grid is needed", again), case=pair.case, path=path)
    shares = {label: quantise(image.array[0])}
    truth = LabelMap(truth.array, predicted.affine)  # within the tolerance of what was matched
    return candidates_of(predicted, truth, own, shares, overlap.rule)[label]


def _trust(folder: Path) -> Trust | None:
    """Return the limits of the model that predicted into a folder; None where they are not to be had any more."""
    try:
        document = read_json(folder / "record.json", "striate-record")
        where = Path(str(document["options"]["model"]))
        return Trust.read(where, str(document["facts"]["weights_sha256"]))
    except (FormatError, ModelError, KeyError, TypeError):
        return None
