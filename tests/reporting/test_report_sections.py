"""Contract of every section: it shows what is there, states why it is not, and never breaks the page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import report_folders
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
from striate.measure.finding import Quantity
from striate.reporting.folder import Folder
from striate.reporting.render import make_section, page, render
from striate.reporting.sections import (
    SECTIONS,
    detection,
    learning,
    lesions,
    measures,
    plan,
    review,
    sections_of,
    trust,
    volumes,
)
from striate.reporting.sections import warnings as cautions
from striate.reporting.sections.panels import make as panels_section
from striate.reporting.sections.panels import spread

TASKS = ("segmentation", "classification", "sequence", "reconstruction")
KEYS = [
    (task, kind, key)
    for task in TASKS
    for kind in ("run", "prediction")
    for key in sections_of(task, kind)
    if key not in ("changes", "update")
]
TELLS_TASK = {"run": ("methods", "plan"), "prediction": ("methods", "record", "warnings")}
EMPTY = [(t, k, key) for t, k, key in KEYS if t == "segmentation" or key not in TELLS_TASK[k]]
"""Sections that an otherwise empty folder leaves empty: the file that tells the task feeds the others."""
MAKE = {
    ("segmentation", "run"): make_run,
    ("segmentation", "prediction"): make_prediction,
    ("classification", "run"): partial(make_class_run, limits=True),
    ("classification", "prediction"): partial(make_class_prediction, limits=True),
    ("sequence", "run"): partial(make_sequence_run, limits=True),
    ("sequence", "prediction"): partial(make_sequence_prediction, limits=True),
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
    "model/trust.json",
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
        '{"cases": [{"case": 1, "review": 5, "ood": [], "labels": {"x": {}}, "warnings": [7, {}]}], "review": {"limit": "x"},'
        ' "calibration": {"labels": {"a": {"before": 3}}}, "lesions": {"labels": []}}',
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


def test_cases_without_a_picture_are_counted_and_their_order_is_told(tmp_path: Path) -> None:
    folder = make_prediction(tmp_path / "prediction")
    (folder / "evaluation.json").unlink()
    panels = sorted((folder / "panels").glob("*.npz"))
    for n in range(12 - len(panels)):
        shutil.copy(panels[0], folder / "panels" / f"Z{n:02d}.npz")
    findings = json.loads((folder / "findings.json").read_text())
    findings["cases"] += [{**findings["cases"][0], "case": f"Z{n:02d}"} for n in range(30 - len(findings["cases"]))]
    (folder / "findings.json").write_text(json.dumps(findings))
    found = panels_section(Folder(folder)).data
    assert (len(found["viewers"]), found["hidden"], found["by_dice"]) == (8, 22, False)
    text = render(folder)
    assert "22 further cases are not shown" in text
    assert "shown are spread evenly, among the 12 that have a picture, in the order of their names." in text
    assert "to the highest Dice" not in text


def test_neither_run_nor_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "scan.nii.gz").write_text("")
    with pytest.raises(DataError, match=r"holds scan\.nii\.gz; a run folder"):
        Folder(tmp_path)


def test_the_time_of_the_updates_is_split(run_folder: Path) -> None:
    section = learning.make(Folder(run_folder))
    assert section.data["notes"][-1].startswith(
        "Of the time of the updates the network waited 10\u00a0% for data and computed 86\u00a0%."
    )
    bar = section.data["plots"][-1]
    assert bar["keys"] == [
        ("waiting for data 10\u00a0%", 6), ("to the device 0.4\u00a0%", 1), ("forward 30\u00a0%", 7),
        ("backward 50\u00a0%", 2), ("optimiser 6.0\u00a0%", 3), ("the rest 3.6\u00a0%", 8),
    ]  # fmt: skip
    widths = [float(w) for w in re.findall(r'<rect class="stripe [^>]* width="([\d.]+)"', bar["plot"])]
    assert [round(w / sum(widths), 3) for w in widths] == pytest.approx([0.1, 0.004, 0.3, 0.5, 0.06, 0.036], abs=1e-3)
    assert "Time of the updates (%)" in render(run_folder)


def test_runs_that_did_not_split_the_time_say_how_long_they_waited(run_folder: Path) -> None:
    rows = [line.split(",") for line in (run_folder / "metrics.csv").read_text().splitlines()]
    kept = [n for n, name in enumerate(rows[0]) if name in ("step", "elapsed_s", "loss", "data_wait_s", "step_s")]
    old = [",".join(row[n] for n in kept) for row in rows]
    (run_folder / "metrics.csv").write_text("\n".join(old) + "\n")
    section = learning.make(Folder(run_folder))
    assert section.data["notes"][-1] == "Of the time of the updates the network waited 10\u00a0% for data."
    assert "time of the updates" not in [plot["caption"] for plot in section.data["plots"]]


def test_held_out_cases_that_were_predicted_better_before_the_end_are_spoken_of(run_folder: Path) -> None:
    table = run_folder / "validation.csv"
    for values, told in (((0.1, 0.93, 0.92), True), ((0.1, 0.93, 0.925), False), ((0.1, 0.8, 0.93), False)):
        rows = [f"{20 * n},{n},{value}" for n, value in enumerate(values)]
        table.write_text("\n".join(["step,elapsed_s,dice_mean", *rows]) + "\n")
        notes = learning.make(Folder(run_folder)).data["notes"]
        begun = "The Dice of the held-out cases was highest after 20 of 40 updates (0.930) and is 0.920 at the end"
        assert notes[0].startswith(begun) is told and len(notes) == 1 + told
    table.write_text("step,elapsed_s,dice_mean\n")
    assert len(learning.make(Folder(run_folder)).data["notes"]) == 1


def test_of_a_run_that_went_on_after_a_change_the_later_part_is_split(run_folder: Path) -> None:
    lines = (run_folder / "metrics.csv").read_text().splitlines()
    older = [",".join([*line.split(",")[:6], "", "", "", "", "", line.split(",")[11]]) for line in lines[1:26]]
    (run_folder / "metrics.csv").write_text("\n".join([lines[0], *older, *lines[26:]]) + "\n")
    rows = Folder(run_folder).metrics
    spent = learning.seconds_by_part(rows)
    assert len(rows) == 50 and spent["backward_s"] == pytest.approx(25 * 0.25)
    assert "waited 10\u00a0% for data" in learning.make(Folder(run_folder)).data["notes"][-1], "of the whole run"


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


def test_of_a_single_subject_no_share_of_missed_cases_is_shown(run_folder: Path) -> None:
    path = run_folder / "model" / "trust.json"
    limits = json.loads(path.read_text())
    limits["review"] |= {
        "n_subjects": 1,
        "n_cases": 2,
        "n_bad_subjects": 1,
        "n_bad_cases": 2,
        "limit": None,
        "missed": 0.0,
    }
    path.write_text(json.dumps(limits))
    text = render(run_folder)
    assert "1 of 1 subject had a Dice below 0.60" in text
    assert "fitted without its subject" not in text and "Bad cases that it missed" not in text


def test_what_needs_review_comes_first_with_its_reason(run_folder: Path) -> None:
    data = review.make(Folder(run_folder)).data
    assert [(r["case"], r["reason"]) for r in data["needed"]] == [
        ("P01", "reason 0: expected Dice"),
        ("P03", "reason 2: expected Dice"),
    ]
    assert [r["case"] for r in data["others"]] == ["P02"]
    other = data["others"][0]
    assert (other["dice"], other["by_label"], other["outside"]) == ("0.80", ["oedema 0.80", "core 0.90"], True)
    evaluation = json.loads((run_folder / "validation" / "evaluation.json").read_text())["cases"][1]
    assert other["measured"] == f"{min(evaluation[n]['dice'] for n in ('oedema', 'core')):.2f}"


def test_a_prediction_opens_with_what_must_not_be_used(prediction_folder: Path, run_folder: Path) -> None:
    text = render(prediction_folder)
    first = text[text.index("<main>") : text.index('class="tiles"')]
    assert "Do not use without review" in first and "reason 0: expected Dice" in first
    assert 'class="alarm stop"' not in render(run_folder)
    path = prediction_folder / "findings.json"
    path.write_text(path.read_text().replace('"needed": true', '"needed": false'))
    text = render(prediction_folder)
    assert 'class="alarm stop"' not in text and "No case bears the flag <i>do not use without review</i>." in text


def test_findings_without_a_judgement_say_so(prediction_folder: Path) -> None:
    path = prediction_folder / "findings.json"
    document = json.loads(path.read_text())
    for case in document["cases"]:
        del case["review"], case["ood"]
    path.write_text(json.dumps(document))
    absent = review.make(Folder(prediction_folder)).absent
    assert absent and "findings.json holds no judgement of a case" in absent


def test_warnings_are_gathered_by_code(run_folder: Path) -> None:
    (group,) = cautions.make(Folder(run_folder)).data["groups"]
    assert (group["code"], group["n"]) == ("coarse-voxels", 3)
    assert group["rows"][0] == ("P01", "slices of 3 mm")


def test_sentences_of_earlier_findings_have_no_code(prediction_folder: Path) -> None:
    path = prediction_folder / "findings.json"
    document = json.loads(path.read_text())
    document["cases"][0]["warnings"] = ["case P01: thick slices"]
    path.write_text(json.dumps(document))
    (group,) = cautions.make(Folder(prediction_folder)).data["groups"]
    assert group["code"] == ""
    assert group["rows"] == [("", "spacing outside the training range"), ("", "case P01: thick slices")]


def test_volumes_and_lesions_show_intervals_and_probabilities(run_folder: Path, prediction_folder: Path) -> None:
    data = volumes.make(Folder(run_folder)).data
    assert data["interval"] == "90 % interval" and len(data["intervals"]["plots"]) == 2
    found = json.loads((run_folder / "validation" / "findings.json").read_text())["cases"][0]["labels"]["oedema"]
    value = found["volume_ml"]["value"]
    assert data["rows"][0]["interval"] == f"{0.8 * value:.2f} to {1.3 * value:.2f}"
    assert data["rows"][0]["counts"] == "0 to 3"
    assert data["intervals"]["checked"] == 0, "intervals of a run were fitted to its cases"
    rows = lesions.make(Folder(run_folder)).data["rows"]
    told = {r["case"]: (r["probability"], r["doubtful"]) for r in rows}
    assert told == {"P01": ("0.97", False), "P02": ("0.37", True), "P03": ("0.97", False)}
    assert volumes.make(Folder(prediction_folder)).data["intervals"] is None, "one case is not drawn"


def test_the_limits_of_a_model(run_folder: Path) -> None:
    folder = Folder(run_folder)
    data = trust.make(folder).data
    row = data["calibration"]["rows"][0]
    assert row["cells"] == [("0.200", "0.012"), ("0.210", "0.210"), ("0.100", "0.100")]
    assert (row["n"], row["present"], row["family"]) == ("12", "11", "beta")
    assert data["intervals"]["rows"][0]["cells"] == ["92 %", "4.20", "92 %", "4.2"]
    assert data["lesions"]["rows"][0]["cells"] == ["80", "61", "0.871", "0.120", "0.180"]
    assert data["missing"] == [] and data["risk"] is None, "three cases give no curve"
    text = page(folder, [trust.make(folder)])
    assert "at most 10 % go unflagged on average; this rests on 10 such subjects of 30" in text


def test_too_few_subjects_give_no_guarantee(run_folder: Path) -> None:
    path = run_folder / "model" / "trust.json"
    document = json.loads(path.read_text())
    document["review"]["limit"] = document["review"]["missed"] = None
    document["intervals"]["labels"]["oedema"]["reach"] = None
    document["calibration"]["labels"]["oedema"].update(after=None, reliability_after=[])
    del document["likeness"]
    path.write_text(json.dumps(document))
    folder = Folder(run_folder)
    data = trust.make(folder).data
    assert data["calibration"]["rows"][0]["cells"][0] == ("0.200", "–")
    text = page(folder, [trust.make(folder)])
    assert "No share of missed cases is guaranteed: 10 of 30 subjects" in text
    assert re.search(r"a guarantee needs \d+ such subjects", text) and "which is too few" not in text
    assert "too few subjects for a guarantee" in text
    assert "Likeness to the training data: not measured for this model." in text


def test_a_calibration_is_named_as_such_and_says_nothing_of_learning(run_folder: Path) -> None:
    record = json.loads((run_folder / "record.json").read_text())
    record |= {"verb": "calibrate", "options": {"model": "runs/old/model"}, "duration_s": 61.0}
    (run_folder / "record.json").write_text(json.dumps(record))
    told = {"kind": "striate-model", "schema_version": 1, "calibration_cohort": "clinic"}
    (run_folder / "model" / "model.json").write_text(json.dumps(told))
    html = render(run_folder)
    assert "Calibration run" in html and "Training run" not in html
    assert (
        "The model old/model, which did not learn from them, segmented 3 cases of cohort clinic in 1 min 01 s" in html
    )
    assert not any(f'<section id="{key}"' in html for key in ("learning", "check", "plan"))
    assert '<section id="trust"' in html and "was trained" not in html
    (run_folder / "model" / "model.json").write_text(json.dumps({**told, "validation_is_unseen": False}))
    html = render(run_folder)
    assert "of which it is not known whether it learned from them" in html and "never seen in training" not in html


def test_what_is_missing_for_lesions_and_likeness_is_named(run_folder: Path) -> None:
    path = run_folder / "model" / "trust.json"
    document = json.loads(path.read_text())
    for found in document["lesions"]["labels"].values():
        found.update(model=None, n_lesions=109, n_real=109)
    document["likeness"] = {"method": "mahalanobis", "subjects": ["1", "2"], "threshold": None}
    path.write_text(json.dumps(document))
    html = render(run_folder)
    assert "too few false ones: no probability is given" in html
    assert "none: too few training subjects to say who is unlike them" in html


def test_detection_draws_what_is_ranked_and_says_what_is_not(made: dict[tuple[str, str], Path]) -> None:
    folder = Folder(made["segmentation", "run"])
    section = detection.make(folder)
    assert [row["name"] for row in section.data["rows"]] == ["oedema", "core"]
    ranked, alone = section.data["rows"]
    assert len(ranked["cells"]) == 7 and ranked["mean"]["interval"] and alone["mean"] is None
    assert [plot["name"] for plot in section.data["plots"]] == ["oedema"]
    text = page(folder, [section])
    assert 'class="ribbon c7"' in text and "Band: 95 %" in text and "from a model of the other subjects" in text
    assert re.search(r"oedema: \d+ candidates, with those that the masks leave out, ranked by their probability", text)
    assert ">the masks</text>" in text
    assert "One operating point only, no curve: No probability of lesions of &#39;core&#39;: too few." in text
    plain = re.search(r'class="line c7" d="M([^"]+)"', text)
    assert plain is not None
    heights = [float(corner.split()[1]) for corner in plain[1].split("L")]
    assert heights == sorted(heights, reverse=True)  # the curve rises


def test_few_subjects_get_no_band(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    path = folder / "validation" / "evaluation.json"
    document = json.loads(path.read_text())
    document["detection"]["oedema"] |= {"subjects": 4, "cases": 4}
    document["detection"]["core"] |= {"subjects": 4, "cases": 4}
    path.write_text(json.dumps(document))
    text = page(Folder(folder), [detection.make(Folder(folder))])
    assert "ribbon" not in text.split("</style>")[-1]
    assert "No band: 4 subjects are too few" in text and "One false positive in 4 scans is 1/4 per scan" in text


def test_one_of_each_is_told_in_the_singular(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    path = folder / "validation" / "evaluation.json"
    document = json.loads(path.read_text())
    document["detection"]["oedema"] |= {"cases": 1, "lesions": 1, "candidates": 1, "most_found": 1}
    path.write_text(json.dumps(document))
    text = page(Folder(folder), [detection.make(Folder(folder))])
    assert "oedema, 1 lesion in 1 scan<" in text and "oedema: 1 candidate, with those" in text
    assert re.search(r"it finds 1 of 1 lesion with \d+\.\d\d false positives", text)


def test_a_prediction_that_was_not_measured_says_so_once(tmp_path: Path) -> None:
    folder = make_prediction(tmp_path / "prediction")
    assert 'id="detection"' in render(folder)
    (folder / "evaluation.json").unlink()
    assert 'id="detection"' not in render(folder)


def many_structures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run of twelve structures."""
    names = {n: f"structure {n}" for n in range(1, 13)}
    balls = np.zeros((40, 48, 30), np.uint8)
    for n in names:
        balls[report_folders.ball(balls.shape, (8 + 8 * (n % 4), 10 + 10 * (n // 4), 15), 3)] = n
    quantity = Quantity(0.2, 0.1, 0.3, 0.9)
    monkeypatch.setattr(report_folders, "NAMES", names)
    monkeypatch.setattr(report_folders, "volumes", lambda n: ({"flair": balls * 1.0}, balls, np.roll(balls, 1, axis=1)))
    monkeypatch.setattr(
        report_folders, "judged",
        lambda case, n: replace(case, labels={k: replace(v, volume_ml=quantity) for k, v in case.labels.items()}),
    )  # fmt: skip
    return make_run(tmp_path / "many")


def test_of_many_structures_those_that_are_left_out_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = render(many_structures(tmp_path, monkeypatch))
    assert "The tables hold 6 more." in text
    assert "structure 5 Dice 0.764 · 7 more in the tables" in text
    assert "The first 3 of 12 structures are drawn." in text
    assert "Differences are drawn of the first 3 structures." in text


def test_curves_of_held_out_cases_span_the_whole_run(run_folder: Path) -> None:
    (run_folder / "validation.csv").write_text("step,elapsed_s,dice_core,ssim\n0,1,0.1,0.5\n")
    plots = {one["caption"]: str(one["plot"]) for one in learning.make(Folder(run_folder)).data["plots"]}
    for caption in ("Dice of the held-out cases", "validation measures"):
        assert ">40</text>" in plots[caption]


def test_shares_and_their_intervals_have_the_same_decimals(run_folder: Path) -> None:
    row = detection.make(Folder(run_folder)).data["rows"][0]
    for cell in (row["mask"], row["mean"], *row["cells"]):
        assert re.fullmatch(r"\d\.\d{3}", cell["value"])
        assert re.fullmatch(r"\d\.\d{3} to \d\.\d{3}", cell["interval"])


def test_the_record_shows_options_that_were_given_and_durations_with_their_unit(run_folder: Path) -> None:
    record = json.loads((run_folder / "record.json").read_text())
    record |= {"options": {"budget": "2m", "fold": None}, "facts": {"seconds": {"forward": 14.027, "rest": 2.09}}}
    (run_folder / "record.json").write_text(json.dumps(record))
    data = sections_of("segmentation", "run")["record"](Folder(run_folder)).data
    assert dict(data["tables"])["Options"] == [("Budget", "2m")]
    assert data["nested"] == [("Seconds", [("forward", "14 s"), ("rest", "2.1 s")])]
