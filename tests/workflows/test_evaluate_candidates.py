"""Candidates of `evaluate`: the scores of a mask's lesions are those of its findings, and limits are used where they hold."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import striate
from striate.core.files import read_json
from striate.core.image import Image, LabelMap
from striate.core.progress import Silent
from striate.core.record import Record
from striate.core.targets import Targets
from striate.data.pairs import pair_masks
from striate.io.read import read_label
from striate.io.write import write_image, write_label
from striate.measure.detection import LARGEST, LESION
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.training.loop import initialise
from striate.trust.lesions import LabelLesions, LesionModel, Logistic
from striate.trust.trust import Trust
from striate.workflows import evaluate_candidates
from striate.workflows.evaluate import _findings
from striate.workflows.predict import predict

KNOWN = LabelLesions(4, 4, 40, 20, Logistic((0.0, 8.0, 9.0), (2.0, 2.0, 2.0), 0.3, (0.2, 0.9, 1.1)))
"""Probability 0.57 for a mean logit of 8 and a largest one of 9, and far from even to both sides."""

HALF_A_BIN = 0.012
"""Of a probability near ½, as bins of logits are 0.094 wide."""


@pytest.fixture(scope="module")
def model(tiny_plan, tmp_path_factory):
    """A model of small spots, of many of which it is very sure, with limits that know its lesions."""
    plan, folder = tiny_plan(), tmp_path_factory.mktemp("sure") / "model"
    weights = initialise(plan).state_dict()
    weights["head.weight"], weights["head.bias"] = 14 * weights["head.weight"], 14 * weights["head.bias"]
    weights["head.bias"][1] -= 7
    saved = Model.save(folder, plan, weights, {})
    sha = str(saved.facts["weights_sha256"])
    replace(Trust.fit((), weights_sha256=sha), lesions=LesionModel({"lesion": KNOWN})).write(saved.folder)
    return saved


def ranked(predicted, truth, regions=("lesion=1",)):
    """Return what `evaluate` ranks by."""
    findings = {found.case: found for found in Findings.read(predicted).cases}
    cases = striate.evaluate(predicted, truth, regions=regions).cases
    targets = Targets.parse(regions, {})
    return evaluate_candidates.rank_candidates(cases, pair_masks(predicted, truth).pairs, findings, targets)


def test_lesions_of_the_masks_get_the_probabilities_of_their_findings(model, tiny_cohort, tmp_path):
    predict(model, tiny_cohort, tmp_path / "out", save_probabilities=True, engine="torch")
    found, seen = ranked(tmp_path / "out", tiny_cohort)["lesion"], list[float]()
    assert found.by == LESION
    for own, scores in zip(Findings.read(tmp_path / "out").cases, found.scores, strict=True):
        rows = list(zip(found.overlaps[own.case].predicted_voxels.tolist(), scores, strict=True))
        for lesion in own.labels["lesion"].lesions:
            match = min(rows, key=lambda row: (row[0] != lesion.voxels, abs(row[1] - lesion.probability)))
            rows.remove(match)
            assert match == (lesion.voxels, pytest.approx(lesion.probability, abs=1e-9))
            seen.append(lesion.probability)
    assert len(seen) > 10 and min(seen) < 0.001 and max(seen) > 0.7
    assert read_json(tmp_path / "out" / "record.json")["facts"]["made_by"] == {"uncertainty": "none", "crf": False}


def faint(folder, model, made_by, labels=("lesion",)):
    """Write two cases with empty masks, and for each label a map with one faint peak at its own place, which is true."""
    for index in range(2):
        case, empty, truth = f"c{index}", np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
        for value, name in enumerate(labels, start=1):
            truth[2 * value, 4, 4 + index] = value
            share = Image(np.where(truth == value, np.float32(0.1 + 0.2 * value), np.float32(0))[None], np.eye(4))
            write_image(folder / "out" / "probabilities" / f"{case}_{name}.nii.gz", share)
        write_label(folder / "out" / f"{case}.nii.gz", LabelMap(empty, np.eye(4)))
        write_label(folder / "truth" / f"{case}.nii.gz", LabelMap(truth, np.eye(4)))
    targets = Targets.of_labels(dict(enumerate(labels, start=1)))
    masks = {case: read_label(folder / "out" / f"{case}.nii.gz") for case in ("c0", "c1")}
    Findings(tuple(Findings.of(case, mask, targets).cases[0] for case, mask in masks.items())).write(folder / "out")
    facts = {"weights_sha256": model.facts["weights_sha256"], **({"made_by": made_by} if made_by else {})}
    Record("predict", options={"model": model.folder}, facts=facts).write(folder / "out" / "record.json")
    return folder / "out", folder / "truth"


@pytest.mark.parametrize(
    ("made_by", "by"),
    [
        ({"uncertainty": "none", "crf": False}, LESION),
        ({"uncertainty": "tta", "crf": False}, LARGEST),
        ({"exact": True}, LARGEST),
        (None, LARGEST),
    ],
)
def test_limits_are_used_for_masks_that_were_made_as_they_were_fitted_to(model, tmp_path, made_by, by):
    found = ranked(*faint(tmp_path, model, made_by))["lesion"]
    assert found.by == by and [len(row) for row in found.scores] == [1, 1]
    assert (found.scores[0] == [pytest.approx(0.3, abs=HALF_A_BIN)]) == (by == LARGEST)


def test_empty_masks_do_not_tell_one_label_from_another(model, tmp_path):
    folders = faint(tmp_path, model, None, ("edema", "core"))
    assert ranked(*folders, ("label_1=1", "label_2=2")) == {}
    detection = striate.evaluate(*folders).detection
    assert "'label_2' may be those of 'core' or 'edema' in the findings" in detection["label_2"].why
    found = ranked(*folders, ("edema=1", "core=2"))
    for name, largest in {"edema": 0.3, "core": 0.5}.items():
        assert [scores == [pytest.approx(largest, abs=HALF_A_BIN)] for scores in found[name].scores] == [True, True]
        assert all(len(overlap.pairs) == 1 for overlap in found[name].overlaps.values())


def test_each_mask_is_read_once_for_all_labels(model, tmp_path, monkeypatch):
    folders = faint(tmp_path, model, None, ("edema", "core", "cyst"))
    read = list[str]()
    monkeypatch.setattr(evaluate_candidates, "read_label", lambda path: read.append(path.name) or read_label(path))
    assert len(ranked(*folders, ("edema=1", "core=2", "cyst=3"))) == 3
    once = sorted(["c0.nii.gz", "c1.nii.gz"] * 2)  # mask and truth
    assert sorted(read) == sorted(once * 2)  # `evaluate`, and `ranked` itself


def test_folders_with_broken_findings_are_told_in_the_order_of_the_cases(tmp_path):
    folders, listener = [tmp_path / f"p{n}" for n in range(8)], Silent()
    for folder in folders:
        folder.mkdir()
        (folder / "findings.json").write_text("{")
    pairs = [SimpleNamespace(case=folder.name, predicted=folder / "a.nii.gz") for folder in folders]
    assert _findings(pairs, listener) == {}
    told = [text for text in listener.warnings if "Lesions are not ranked." in text]
    assert [str(folder) in text for folder, text in zip(folders, told, strict=True)] == [True] * 8
