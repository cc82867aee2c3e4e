"""Contract of every section: it shows what is there, states why it is not, and never breaks the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from class_folders import (
    class_table,
    make_class_prediction,
    make_class_run,
    make_reconstruction_prediction,
    make_reconstruction_run,
    make_sequence_prediction,
    make_sequence_run,
)
from report_folders import make_prediction, make_run

from striate.core.errors import DataError
from striate.reporting.folder import Folder
from striate.reporting.render import make_section, page, render
from striate.reporting.sections import SECTIONS, learning, measures, plan, sections_of, volumes
from striate.reporting.sections.panels import spread

TASKS = ("segmentation", "classification", "sequence", "reconstruction")
KEYS = [(task, kind, key) for task in TASKS for kind in ("run", "prediction") for key in sections_of(task, kind)]
TELLS_TASK = {"run": ("methods", "plan"), "prediction": ("methods", "record", "warnings")}
EMPTY = [(t, k, key) for t, k, key in KEYS if t == "segmentation" or key not in TELLS_TASK[k]]
"""Sections that an otherwise empty folder leaves empty: the file that tells the task feeds the others."""
MAKE = {
    ("segmentation", "run"): make_run,
    ("segmentation", "prediction"): make_prediction,
    ("classification", "run"): make_class_run,
    ("classification", "prediction"): make_class_prediction,
    ("sequence", "run"): make_sequence_run,
    ("sequence", "prediction"): make_sequence_prediction,
    ("reconstruction", "run"): make_reconstruction_run,
    ("reconstruction", "prediction"): make_reconstruction_prediction,
}
ARTEFACTS = (
    "check.json",
    "record.json",
    "plan.yaml",
    "split.json",
    "metrics.csv",
    "validation.csv",
    "validation/evaluation.json",
    "validation/findings.json",
)
CLASS_ARTEFACTS = (
    "validation.csv",
    *(f"validation/{n}" for n in ("evaluation.json", "predictions.csv", "panels/samples.npz")),
)
BROKEN = (
    '{"kind": "striate-class-evaluation", "classes": 3, "summary": [1], "roc": 5}',
    "case,subject,slice,truth,predicted,p_a\nx,x,,a,a,2\n",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """One folder of each task and kind, only read."""
    return {key: make(tmp_path_factory.mktemp("made") / "-".join(key)) for key, make in MAKE.items()}


@pytest.mark.parametrize(("task", "kind", "key"), KEYS)
def test_section_shows_what_is_there(task: str, kind: str, key: str, made: dict[tuple[str, str], Path]) -> None:
    folder = Folder(made[task, kind])
    assert (folder.task, folder.kind) == (task, kind)
    section = SECTIONS[key](folder)
    assert section.key == key
    assert section.absent is None
    assert page(folder, [section])


@pytest.mark.parametrize(("task", "kind", "key"), EMPTY)
def test_section_states_why_it_is_empty(task: str, kind: str, key: str, tmp_path: Path) -> None:
    for name in ("plan.yaml", "metrics.csv") if kind == "run" else ("findings.json",):
        (tmp_path / name).write_text("")
    if task != "segmentation":
        (tmp_path / "record.json" if kind == "prediction" else tmp_path / "plan.yaml").write_text(
            TASK_ONLY[kind] % task
        )
    folder = Folder(tmp_path)
    assert folder.task == task
    section = make_section(folder, key, SECTIONS[key])
    assert section.absent
    assert section.absent.endswith(".")
    assert str(tmp_path) not in section.absent
    assert section.absent.split(":")[0] in page(folder, [section])


TASK_ONLY = {"prediction": '{"facts": {"task": {"kind": "%s"}}}', "run": "task: {kind: %s}"}


@pytest.mark.parametrize("missing", ARTEFACTS)
@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "\0{]",
        "[1, 2]",
        '{"cases": 3, "summary": [1], "problems": {"a": 1}, "task": 5, "options": 7, "training": "x"}',
    ],
)
def test_no_artefact_breaks_the_page(missing: str, content: str | None, run_folder: Path) -> None:
    target = run_folder / missing
    target.unlink()
    if content is not None:
        target.write_text(content)
    assert "</html>" in render(run_folder)


@pytest.mark.parametrize("missing", CLASS_ARTEFACTS)
@pytest.mark.parametrize("content", [None, "", "\0{]", "[1, 2]", *BROKEN])
def test_no_artefact_breaks_the_page_of_classes(missing: str, content: str | None, tmp_path: Path) -> None:
    folder = make_class_run(tmp_path / "run", class_table(12))
    (folder / missing).unlink()
    if content is not None:
        (folder / missing).write_text(content)
    text = render(folder)
    assert "</html>" in text
    assert "Volumes" not in text, "a run of classes stays one"


def test_broken_panel_is_named_and_the_others_are_shown(run_folder: Path) -> None:
    (run_folder / "validation" / "panels" / "P02.npz").write_bytes(b"broken")
    text = render(run_folder)
    assert "P02.npz: not readable" in text
    assert text.count('<figure class="viewer') == 2


def test_neither_run_nor_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "scan.nii.gz").write_text("")
    with pytest.raises(DataError, match=r"holds scan\.nii\.gz; a run folder"):
        Folder(tmp_path)


def test_waiting_is_the_share_of_all_time(run_folder: Path) -> None:
    assert learning.waited_percent(Folder(run_folder).metrics) == pytest.approx(10.0)
    assert learning.waited_percent([]) is None


def test_true_volume_is_predicted_minus_error(run_folder: Path) -> None:
    findings = json.loads((run_folder / "validation" / "findings.json").read_text())
    predicted = findings["cases"][2]["labels"]["oedema"]["volume_ml"]["value"]
    rows = volumes.make(Folder(run_folder)).data["rows"]
    row = next(r for r in rows if r["case"] == "P03" and r["name"] == "oedema")
    error = json.loads((run_folder / "validation" / "evaluation.json").read_text())["cases"][2]["oedema"][
        "volume_error_ml"
    ]
    assert float(row["predicted"]) == pytest.approx(predicted, abs=0.005)
    assert float(row["true"].replace("−", "-")) == pytest.approx(predicted - error, abs=0.005)


def test_a_single_case_gets_no_interval(run_folder: Path) -> None:
    path = run_folder / "validation" / "evaluation.json"
    document = json.loads(path.read_text())
    for name in document["summary"].values():
        for values in name.values():
            values["n"] = 1
    path.write_text(json.dumps(document))
    folder = Folder(run_folder)
    assert all(c["interval"] == "" for r in measures.make(folder).data["summary"] for c in r["cells"])
    text = page(folder, [SECTIONS["headline"](folder)])
    assert "says little about the next one" in text
    assert "95 % interval" not in text


def test_a_prediction_without_truth_says_how_to_measure_it(prediction_folder: Path) -> None:
    assert "Measures" in render(prediction_folder)
    (prediction_folder / "evaluation.json").unlink()
    absent = measures.make(Folder(prediction_folder)).absent
    assert absent
    assert "evaluation.json is not in the folder. Where there is a truth: striate evaluate" in absent


def test_plan_shows_decisions_with_reasons_and_the_rest_apart(run_folder: Path) -> None:
    data = plan.make(Folder(run_folder)).data
    assert ("Patch (voxels)", "32\u00a0×\u00a032\u00a0×\u00a016", "covers 95 % of the lesions") in data["decided"]
    assert ("Time budget", "2 min 00 s") in data["others"]
    duration = next(row for row in data["expected"] if row[0] == "Duration")
    assert duration[1:3] == ("1 min 58 s", "2 min 00 s")


def test_many_cases_are_spread_from_worst_to_best() -> None:
    items = [Path(str(n)) for n in range(50)]
    found = spread(items, 8)
    assert len(set(found)) == 8
    assert (found[0], found[-1]) == (items[0], items[-1])
    assert spread(items[:3], 8) == items[:3]
