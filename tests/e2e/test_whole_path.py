"""The one true path as a user walks it: phantom, check, plan, train, predict, evaluate, report, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from striate.cli.main import run
from striate.core.record import Record
from striate.io.read import read_label
from striate.model.model import Model
from striate.planning.plan import Plan


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walk the path once, in a folder with a space and an accent in its name."""
    folder = tmp_path_factory.mktemp("whole path é")
    cohort = folder / "scans"
    assert run(["phantom", "--out", str(cohort), "--subjects", "3", "--spacing", "4", "4", "4"]) == 0
    assert run(["check", str(cohort), "--json"]) in (0, 1)
    plan = folder / "plan.yaml"
    assert run(["plan", str(cohort), "--steps", "20", "--seed", "3", "--out", str(plan)]) == 0
    edited = plan.read_text(encoding="utf-8").replace("learning_rate: 0.002", "learning_rate: 0.005")
    plan.write_text(edited, encoding="utf-8")
    assert run(["train", str(cohort), "--plan", str(plan), "--out", str(folder / "run")]) == 0
    assert run(["predict", str(folder / "run"), str(cohort), "--out", str(folder / "out"), "--save-probabilities"]) == 0
    assert run(["evaluate", str(folder / "out"), str(cohort), "--out", str(folder / "measures.json")]) == 0
    assert run(["report", str(folder / "out")]) == 0
    return folder


def test_every_artefact_reads_back(walked: Path) -> None:
    assert Plan.read(walked / "run" / "plan.yaml").training.learning_rate == 0.005
    assert Model.open(walked / "run").plan == Plan.read(walked / "run" / "plan.yaml")
    record = Record.read(walked / "run" / "record.json")
    assert record.verb == "train"
    assert record.facts["steps"] == 20
    assert len(record.inputs) == 6


def test_it_learned_something(walked: Path) -> None:
    rows = (walked / "run" / "metrics.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[4]) for row in rows]
    assert len(losses) == 20
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_masks_lie_on_the_scans_grid(walked: Path) -> None:
    truth = read_label(next((walked / "scans" / "masks").iterdir()))
    masks = sorted((walked / "out").glob("*.nii.gz"))
    assert len(masks) == 3
    for mask in masks:
        found = read_label(mask)
        assert found.grid.matches(truth.grid)
        assert set(found.values()) <= {1}


def test_measures_and_findings_agree_on_cases(walked: Path) -> None:
    measures = json.loads((walked / "measures.json").read_text())
    findings = json.loads((walked / "out" / "findings.json").read_text())
    assert sorted(c["case"] for c in measures["cases"]) == sorted(c["case"] for c in findings["cases"])
    assert measures["summary"]["lesion"]["dice"]["n"] == 3


def test_reports_are_whole_pages(walked: Path) -> None:
    for page in (walked / "run" / "report.html", walked / "out" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert text.rstrip().endswith("</html>")
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert 'src="http' not in text


def test_nothing_half_written_is_left(walked: Path) -> None:
    assert [p for p in walked.rglob("*") if ".part" in p.name] == []
