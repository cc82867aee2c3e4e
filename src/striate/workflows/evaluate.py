"""`evaluate`: predicted masks and the truth → measures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from striate.core.errors import FormatError, UsageError, expected
from striate.core.files import read_json
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent, each
from striate.core.targets import Targets
from striate.data.pairs import MaskPair, Pairs, pair_masks
from striate.io.read import read_label, stem
from striate.measure.classification import ClassEvaluation
from striate.measure.detection import Ranked, Scores, scores_of
from striate.measure.evaluation import CaseEvaluation, Evaluation
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.measure.lesions import LesionOverlap, LesionRule
from striate.measure.reconstruction import FILE, KIND, ReconstructionEvaluation
from striate.workflows.evaluate_anomaly import evaluate_anomalies
from striate.workflows.evaluate_candidates import rank_candidates
from striate.workflows.evaluate_classes import evaluate_classes, table_of
from striate.workflows.taught import taught_of, told


@kinds
def evaluate(
    predicted: Path | str,
    truth: Path | str,
    *,
    regions: Sequence[str] | None = None,
    minimal_overlap: float = 0.0,
    minimal_lesion_ml: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation | ClassEvaluation | ReconstructionEvaluation:
    """Compare predicted masks, classes or reconstructions with the truth.

    Parameters
    ----------
    predicted
        A label map, a folder of them, or a cohort; or ``predictions.csv`` of a model of classes, or its folder; or
        ``evaluation.json`` of a model that reconstructs, or its folder: measured when it was written, against the images
        that were read then, so that of `truth` only masks are read, for anomaly maps to be compared with.
    truth
        A label map, a folder of them, or a cohort in any layout; matched by case name unless both are files.
    regions
        For instance ``["tumour=1+2+3+4"]``; by default the regions that the predicting model was trained
        on, else each label value that occurs in the truth.
    minimal_overlap
        Share of a lesion that must be covered to count as found; 0 means one voxel.
    minimal_lesion_ml
        Smaller lesions are not counted in the lesion-wise measures.
    seed
        Of the bootstrap intervals.
    progress
        Who listens; by default nobody.

    Raises
    ------
    DataError
        When no case stands on both sides, a file cannot be read, or grids differ.
    UsageError
        When a region cannot be read, or an option is given that only masks have.
    """
    if seed < 0:
        raise UsageError(expected("evaluate", f"seed is {seed}", "a number of at least 0 is needed"))
    progress = progress or Silent()
    table, measured = table_of(Path(predicted)), reconstructions_of(Path(predicted))
    if table is not None or measured is not None:
        of_masks = {"--regions": regions, "--min-overlap": minimal_overlap, "--min-lesion-ml": minimal_lesion_ml}
        wrong = next((name for name, value in of_masks.items() if value), None)
        if wrong is not None:
            raise UsageError(f"{wrong}: {table or measured} is not of masks; leave it away.")
    if table is not None:
        return evaluate_classes(table, Path(truth), seed, progress)
    if measured is not None:
        anomaly = evaluate_anomalies(measured.parent, Path(truth), progress)
        read = f"of {truth} only the masks are read" if anomaly else f"{truth} is not read"
        progress.note(f"{measured}: measured when the images were reconstructed; {read}.")
        cases, taught = ReconstructionEvaluation.read(measured).cases, taught_of(measured.parent)
        trained = tuple(one.case for one in cases if one.case in taught)
        told(trained, len(cases), progress)
        return replace(ReconstructionEvaluation.of(cases, seed=seed, anomaly=anomaly), trained_on=trained)
    rule = LesionRule(minimal_overlap, minimal_lesion_ml)
    return evaluate_masks(Path(predicted), Path(truth), regions, rule, seed, progress)


def reconstructions_of(predicted: Path) -> Path | None:
    """Return the measures of reconstructions that `predicted` is or holds, or None where it holds none."""
    places = (predicted, predicted / FILE, predicted / "validation" / FILE)
    for place in places:
        if place.name == FILE and place.is_file():
            try:
                return place if read_json(place).get("kind") == KIND else None
            except FormatError:
                return None
    return None


def evaluate_masks(
    predicted: Path, truth: Path, regions: Sequence[str] | None, rule: LesionRule, seed: int, progress: Progress
) -> Evaluation:
    """Compare predicted masks with the truth; see `evaluate`."""
    pairs = pair_masks(predicted, truth)
    targets, notes = (Targets.parse(regions, pairs.label_names), ()) if regions else _targets(pairs)
    for note in (*pairs.notes, *notes):
        progress.warn(note)
    cases = [_measure(pair, targets, rule) for pair in each(progress, "evaluate", pairs.pairs, len(pairs.pairs))]
    findings = _findings(pairs.pairs, progress)
    notes = (*notes, *_flattering(findings, pairs.pairs, progress))

    ranked = rank_candidates(cases, pairs.pairs, findings, targets)

    def scores(label: str, overlaps: Mapping[str, LesionOverlap]) -> Scores | Ranked | str:
        return ranked.get(label) or scores_of(overlaps, label, findings)

    trained = _trained(pairs.pairs)
    notes = (*pairs.notes, *notes, *told(trained, len(cases), progress))
    return replace(Evaluation.of(cases, seed=seed, notes=notes, scores=scores), trained_on=trained)


def _trained(pairs: Sequence[MaskPair]) -> tuple[str, ...]:
    """Return the cases that the predicting model had learned from, as the records beside the masks say."""
    taught = {folder: taught_of(folder) for folder in {pair.predicted.parent for pair in pairs}}
    return tuple(pair.case for pair in pairs if stem(pair.predicted) in taught[pair.predicted.parent])


def _measure(pair: MaskPair, targets: Targets, rule: LesionRule) -> CaseEvaluation:
    predicted, truth = read_label(pair.predicted), read_label(pair.truth)
    return CaseEvaluation.of(pair.case, predicted, truth, targets, pair.subject, rule=rule)


def _findings(pairs: Sequence[MaskPair], progress: Progress) -> dict[str, CaseFindings]:
    """Return the findings that lie beside the predicted masks, by the name of the case in the truth."""
    known = dict[Path, dict[str, CaseFindings]]()
    for folder in dict.fromkeys(pair.predicted.parent for pair in pairs):
        try:
            there = (folder / "findings.json").is_file()
            known[folder] = {found.case: found for found in Findings.read(folder).cases} if there else {}
        except FormatError as error:
            progress.warn(f"{error} Lesions are not ranked.")
    found = {pair.case: known.get(pair.predicted.parent, {}).get(stem(pair.predicted)) for pair in pairs}
    return {case: one for case, one in found.items() if one is not None}


def _flattering(findings: Mapping[str, CaseFindings], pairs: Sequence[MaskPair], progress: Progress) -> tuple[str, ...]:
    """Say so where the probabilities of lesions were fitted to the very cases that they are judged on."""
    for folder in dict.fromkeys(pair.predicted.parent for pair in pairs if pair.case in findings):
        if folder.name == "validation" and (folder.parent / "model" / "trust.json").is_file():
            note = (
                f"{folder}: the probabilities of these lesions were fitted to these cases, so that the curve of detection"
                f" flatters them; {folder / FILE} holds the curve of subjects that were left out."
            )
            progress.warn(note)
            return (note,)
    return ()


def _targets(pairs: Pairs) -> tuple[Targets, tuple[str, ...]]:
    """The regions of the predicting model, else labels."""
    if not pairs.regions:
        return _labels(pairs)
    shown = " ".join(f"{name}={'+'.join(map(str, values))}" for name, values in pairs.regions.items())
    note = f"the model predicts regions, so these are measured: --regions {shown}."
    return Targets(pairs.regions, exclusive=False), (note,)


def _labels(pairs: Pairs) -> tuple[Targets, tuple[str, ...]]:
    """Labels that occur in the truth, else (all of it empty) in the prediction, else those the cohort names."""
    true = {value for pair in pairs.pairs for value in read_label(pair.truth).values()}
    found = {value for pair in pairs.pairs for value in read_label(pair.predicted).values()}
    values = true or found or {v for v in pairs.label_names if v != 0} or {1}
    targets = Targets.of_labels({v: pairs.label_names.get(v, f"label_{v}") for v in sorted(values)})
    strange = ", ".join(str(v) for v in sorted(found - values))
    if strange:
        return targets, (
            f"predicted label values {strange} occur in no truth and are not measured; name them with --regions.",
        )
    return targets, ()
