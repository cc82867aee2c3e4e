"""Candidates of lesions for `evaluate`: of masks beside which the probabilities lie (``predict --save-probabilities``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import DataError, FormatError, ModelError, expected
from striate.core.files import read_json
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.data.pairs import MaskPair
from striate.inference.observed import quantise
from striate.inference.probabilities import map_beside
from striate.io.read import read_image, read_label, stem
from striate.measure.detection import LARGEST, LESION, Ranked, named_in
from striate.measure.evaluation import CaseEvaluation, on_one_grid
from striate.measure.finding import CaseFindings
from striate.trust.candidates import Candidates, candidates_of
from striate.trust.trust import Trust


def rank_candidates(
    cases: Sequence[CaseEvaluation],
    pairs: Sequence[MaskPair],
    findings: Mapping[str, CaseFindings],
    targets: Targets,
) -> dict[str, Ranked]:
    """Return label → its candidates in their order; labels without a map of their probability for each case are left out.

    They are ranked by the model of lesions that made the findings, where its folder is still where it was; else by the largest
    probability of their voxels.

    Parameters
    ----------
    cases
        What was measured: the lesions of the masks over the true ones.
    pairs
        The files; of each case the maps lie beside the mask.
    findings
        Case → its findings, which name the labels as the model does.
    targets
        Which values make which label or region.

    Raises
    ------
    DataError
        When a map cannot be read, or does not lie on the grid of its mask.
    """
    files = {pair.case: pair for pair in pairs}
    names, maps = dict[str, str](), dict[str, dict[str, Path]]()
    for label in targets.names:
        name = named_in(findings, label, {case.case: case.overlaps[label] for case in cases})
        there = {} if name is None else {c: _map(pair, name, findings[c]) for c, pair in files.items()}
        known = {c: path for c, path in there.items() if path is not None}
        if name is not None and len(known) == len(cases):
            names[label], maps[label] = name, known
    found: dict[str, dict[str, Candidates]] = {label: {} for label in maps}
    for case in cases if maps else ():
        own = {label: paths[case.case] for label, paths in maps.items()}
        for label, one in _candidates(files[case.case], targets, own, case).items():
            found[label][case.case] = one
    trusts = {folder: _trust(folder) for folder in {pair.predicted.parent for pair in pairs}}
    return {
        label: _ranked(names[label], own, {c: trusts[files[c].predicted.parent] for c in own})
        for label, own in found.items()
    }


def _map(pair: MaskPair, name: str, findings: CaseFindings) -> Path | None:
    return map_beside(pair.predicted, stem(pair.predicted), name, list(findings.labels))


def _candidates(
    pair: MaskPair, targets: Targets, maps: Mapping[str, Path], measured: CaseEvaluation
) -> dict[str, Candidates]:
    """Return label → the candidates of one case; its files are read once, its maps one after the other."""
    predicted = read_label(pair.predicted)
    truth = on_one_grid(predicted, read_label(pair.truth), pair.case)
    truth = LabelMap(truth.array, predicted.affine)  # within the tolerance of what was matched
    found = dict[str, Candidates]()
    for label, path in maps.items():
        own = Targets({label: targets.sets[label]}, exclusive=False)
        shares = {label: _bins(path, predicted, pair.case)}
        found[label] = candidates_of(predicted, truth, own, shares, measured.overlaps[label].rule)[label]
    return found


def _bins(path: Path, predicted: LabelMap, case: str) -> NDArray[np.uint8]:
    """Return the bins of a map of probability, which must lie on the grid of the mask."""
    image = read_image(path)
    if not image.grid.matches(predicted.grid):
        got = f"shape {image.grid.shape}, the mask has {predicted.grid.shape}"
        got = got if image.grid.shape != predicted.grid.shape else "another place than the mask"
        again = "Predict the case again with --save-probabilities, or take the map away."
        raise DataError(expected(path, got, "one grid is needed", again), case=case, path=path)
    return quantise(image.array[0])


def _ranked(name: str, found: Mapping[str, Candidates], trusts: Mapping[str, Trust | None]) -> Ranked:
    """Rank the candidates of the label that findings call `name`; of each case, by the limits of what predicted it."""
    overlaps, scores = {case: one.overlap for case, one in found.items()}, list[list[float]]()
    for case, one in found.items():
        trust = trusts[case]
        if trust is None or trust.lesions.reason(name) is not None:
            return Ranked(overlaps, [one.largest for one in found.values()], LARGEST)
        told = [trust.lesions.probability(name, lesion) for lesion in one.lesions]
        scores.append([p for p in told if p is not None])
    return Ranked(overlaps, scores, LESION)


def _trust(folder: Path) -> Trust | None:
    """Return the limits of the model that predicted into a folder; None where they do not hold for its masks, or are gone."""
    try:
        document = read_json(folder / "record.json", "striate-record")
        facts, where = document["facts"], Path(str(document["options"]["model"]))
        trust = Trust.read(where, str(facts["weights_sha256"]))
        return trust if trust is not None and trust.holds_for(facts["made_by"]) else None
    except (FormatError, ModelError, KeyError, TypeError, ValueError):
        return None
