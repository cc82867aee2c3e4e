"""Pages of classes, sequences and reconstructions: what they say, in which order, and what they leave out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from class_folders import (
    CLASSES,
    class_table,
    make_class_prediction,
    make_class_run,
    make_reconstruction_prediction,
    make_reconstruction_run,
    make_sequence_run,
    picture,
    slice_table,
    write_classes,
)
from report_folders import make_run

from striate.core.errors import DataError, FormatError
from striate.measure.class_table import ClassTable
from striate.reporting.figures.confusion import confusion_matrix
from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.figures.roc import SQUARE, RocCurve, roc_plot
from striate.reporting.figures.strips import Strip, strip_plot
from striate.reporting.folder import Folder
from striate.reporting.render import page, render
from striate.reporting.sample_panel import LONGEST, MOST, Samples, choose, upright, write_samples, write_triples
from striate.reporting.sections import anomaly, class_trust, classes, headline, learning, methods, samples
from striate.trust.class_trust import ClassTrust

HOSTILE = '<script>alert("1")</script>'


class Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(v) for k, v in attrs if k in ("src", "href")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]


class TestPage:
    def test_sections_of_masks_stay_away_and_the_other_way_round(self, tmp_path: Path) -> None:
        text = render(make_class_run(tmp_path / "classes", class_table(20)))
        assert {'id="classes"', 'id="samples"', 'id="learning"'} <= set(re.findall(r'id="\w+"', text))
        for title in ("Volumes", "Lesions", "Dice", "Ground truth"):
            assert title not in text
        masks = render(make_run(tmp_path / "masks"))
        assert 'id="classes"' not in masks
        assert 'id="samples"' not in masks

    def test_nothing_is_fetched(self, tmp_path: Path) -> None:
        sources = Sources()
        text = render(make_class_run(tmp_path / "run", class_table(20)))
        sources.feed(text)
        assert sum(s.startswith("data:image/") for s in sources.found) == 20
        assert all(s.startswith(("data:image/", "#")) for s in sources.found)
        assert not re.search(r"https?://|@import|url\(", text)

    def test_hostile_names_stay_text(self, tmp_path: Path) -> None:
        names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a' & b")
        text = render(make_class_run(tmp_path / "run", class_table(30, names)))
        sources = Sources()
        sources.feed(text)
        assert sources.handlers == []
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text

    def test_the_same_folder_gives_the_same_bytes(self, tmp_path: Path) -> None:
        folder = make_class_run(tmp_path / "run", class_table(20))
        assert render(folder) == render(folder)

    def test_titles(self, tmp_path: Path) -> None:
        assert "<h1>Classification of meningioma, glioma and no tumour from t1</h1>" in render(
            make_class_run(tmp_path / "a")
        )
        assert "<h1>Reconstruction of t1</h1>" in render(make_reconstruction_run(tmp_path / "b"))
        assert "in 20 cases</h1>" in render(make_class_prediction(tmp_path / "c"))
        many = class_table(60, tuple(f"k{n}" for n in range(9)))
        assert "<h1>Classification of 9 classes from t1</h1>" in render(make_class_run(tmp_path / "d", many))


class TestTask:
    """A folder tells its task by its plan or record, and without them by what lies in it."""

    def test_from_what_lies_in_it(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "a", class_table(12))
        folder = Folder(tmp_path / "a")
        assert (folder.kind, folder.task, folder.classes) == ("prediction", "classification", list(CLASSES))
        (tmp_path / "a" / "evaluation.json").unlink()
        assert Folder(tmp_path / "a").task == "classification"
        write_triples(tmp_path / "b", [picture(0, 0)], [picture(0, 1)])
        assert Folder(tmp_path / "b").task == "reconstruction"

    def test_a_case_named_samples_is_a_case(self, tmp_path: Path) -> None:
        folder = Folder(make_run(tmp_path / "run", ("samples",)))
        assert folder.task == "segmentation"
        assert 'id="panels"' in render(folder.path)


class TestSamples:
    def test_mistakes_come_first_and_leave_room(self) -> None:
        table = class_table(300)
        rows = choose(table)
        wrong = np.array([set(table.truth[n] or ()) != set(table.predicted[n]) for n in rows])
        assert len(rows) == MOST
        assert wrong[: MOST // 2].all()
        assert not wrong[MOST // 2 :].any()
        sure = table.confidence[rows[: MOST // 2]]
        assert (np.diff(sure) <= 0).all()
        everywhere = [n for n in range(300) if set(table.truth[n] or ()) != set(table.predicted[n])]
        assert sure.min() >= np.sort(table.confidence[everywhere])[-MOST // 2]
        called = [table.predicted[n] for n in rows[MOST // 2 :]]
        assert {called.count(name) for name in set(called)} == {8}, "right ones of each class in turn"

    def test_nothing_wrong_and_nothing_known(self) -> None:
        table = class_table(60)
        right = table.with_truth(dict(zip(table.cases, table.predicted, strict=True)))
        assert len(choose(right)) == MOST
        unknown = choose(table.with_truth({}))
        assert (np.diff(table.confidence[unknown]) >= 0).all()

    def test_they_read_back(self, tmp_path: Path) -> None:
        table = class_table(6)
        images = [np.full((40, 300), n + 1.0) for n in range(3)] + [np.eye(20)] * 3
        write_samples(tmp_path, images, table)
        found = Samples.read(tmp_path / "panels" / "samples.npz")
        assert found.images.dtype == np.uint8
        assert found.images.shape == (6, 20, LONGEST)
        assert {s.caption for s in found.samples} == set(table.cases)
        one = next(s for s in found.samples if s.caption == table.cases[0])
        assert (one.truth, one.predicted) == (table.truth[0][0], table.predicted[0][0])
        assert one.probability == pytest.approx(table.confidence[0], abs=1e-6)
        assert found.total == 6
        assert found.wrong == sum(s.right is False for s in found.samples)

    def test_the_order_of_names_is_no_mistake(self, tmp_path: Path) -> None:
        table = ClassTable(("a", "b"), False, ("p",), ("p",), (3,), (("b", "a"),), np.array([[0.9, 0.8]]))
        write_samples(tmp_path, np.ones((1, 8, 8)), table)
        one = Samples.read(tmp_path / "panels" / "samples.npz").samples[0]
        assert (one.caption, one.truth, one.right) == ("p, slice 3", "a;b", True)

    def test_scans_are_seen_as_radiologists_do(self) -> None:
        plane = np.zeros((4, 6))
        plane[3, 5] = 1  # right, anterior
        assert upright(plane, oriented=True).shape == (6, 4)
        assert upright(plane, oriented=True)[0, 0] == 1
        assert upright(plane, oriented=False)[5, 3] == 1

    def test_triples_share_the_window_of_the_image(self, tmp_path: Path) -> None:
        image = np.linspace(0, 100, 400).reshape(20, 20)
        write_triples(tmp_path / "t.npz", [image], [image + 50])
        found = Samples.read(tmp_path / "t.npz")
        assert found.form == "triples"
        assert int(found.differences[0, 5, 5]) == pytest.approx(255 * 50 / 99, abs=2)
        assert found.reconstructions[0].mean() > found.images[0].mean() + 60
        write_triples(tmp_path / "t.npz", [image] * 50, [image] * 50)
        found = Samples.read(tmp_path / "t.npz")
        assert (len(found.samples), found.total, found.samples[-1].caption) == (MOST // 3, 50, "50")
        assert found.differences.max() == 0

    def test_what_is_no_picture_is_refused(self, tmp_path: Path) -> None:
        table = class_table(2)
        with pytest.raises(DataError, match="1 image for 2 rows"):
            write_samples(tmp_path, [np.ones((3, 3))], table)
        with pytest.raises(DataError, match=r"one of shape \(3, 3, 3\)"):
            write_samples(tmp_path, [np.ones((3, 3, 3))] * 2, table)
        with pytest.raises(DataError, match="the same size"):
            write_triples(tmp_path, [np.ones((3, 3))], [np.ones((3, 4))])
        with pytest.raises(FormatError, match="there is no such file"):
            Samples.read(tmp_path / "none.npz")
        np.savez(tmp_path / "old.npz", facts=np.array(json.dumps({"kind": "striate-samples", "schema_version": 9})))
        with pytest.raises(FormatError, match="schema version 9"):
            Samples.read(tmp_path / "old.npz")

    def test_the_gallery_says_what_is_true_of_mistakes(self, tmp_path: Path) -> None:
        section = samples.make(Folder(make_class_run(tmp_path / "run")))
        titles = [title for title, _ in section.data["groups"]]
        assert titles[0].startswith("Mistakes, the most confident (uncalibrated) first: ")
        assert titles[1] == "Typical right ones"
        assert all(t["truth"] != t["predicted"] for t in section.data["groups"][0][1])


class TestClasses:
    def test_probabilities_are_called_uncalibrated_wherever_they_are_shown(self, tmp_path: Path) -> None:
        table = class_table(20)
        measured = classes.make(Folder(make_class_run(tmp_path / "run", table))).data["measured"]
        assert "confidence, uncalibrated" in measured["reliability"]["plot"]
        text = render(tmp_path / "run")
        assert "Probabilities are the network's own, uncalibrated." in text
        assert "what the image was called, with the probability, uncalibrated" in text

    def test_a_classifier_with_limits_shows_them(self, tmp_path: Path) -> None:
        folder = Folder(make_class_run(tmp_path / "run", limits=True))
        trust = ClassTrust.read(tmp_path / "run" / "model")
        found = class_trust.make(folder).data
        before, after = trust.calibration.before, trust.calibration.after
        assert ("ECE", f"{before.ece:.3f}", f"{after.ece:.3f}") in found["calibration"]["rows"]
        assert found["calibration"]["plot"].count("before calibration") == len(trust.calibration.reliability_before)
        assert found["sets"]["held"] == f"{100 * trust.sets.held:.1f} %"
        assert found["sets"]["size"] == f"{trust.sets.size:.2f}"
        assert {name for name, *_ in found["sets"]["classes"]} == set(CLASSES)
        text = render(folder.path)
        assert "Probabilities are calibrated on 45 subjects, these among them." in text
        assert "with the probability, calibrated" in text
        assert "Set for 90 %" in text
        said = folder.said["P003", None]
        row = next(r for r in classes.make(folder).data["rows"]["rows"] if r["case"] == "P003")
        assert row["said"] == [f"{p:.3f}" for p in said["probabilities"].values()]
        assert row["set"] == ", ".join(said["set"])

    def test_the_probability_beside_an_image_is_that_of_the_class_that_it_was_called(self, tmp_path: Path) -> None:
        """A vector can make another class the most probable one; the image is shown with what the network called it."""
        path = make_class_run(tmp_path / "run", limits=True) / "validation" / "findings.json"
        document = json.loads(path.read_text())
        for case in document["cases"]:
            case["probabilities"] = dict.fromkeys(CLASSES, 0.7)
        first = Folder(tmp_path / "run").samples.samples[0]
        one = next(case for case in document["cases"] if case["case"] == first.caption)
        one["probabilities"] = {name: 0.2 if name == first.predicted else 0.4 for name in CLASSES}
        path.write_text(json.dumps(document))
        tiles = [t for _, group in samples.make(Folder(tmp_path / "run")).data["groups"] for t in group]
        assert {t["probability"] for t in tiles if t["caption"] != first.caption} == {"0.70"}
        assert next(t for t in tiles if t["caption"] == first.caption)["probability"] == "0.20"

    def test_a_prediction_with_limits_opens_with_who_needs_review(self, tmp_path: Path) -> None:
        folder = make_class_prediction(tmp_path / "out", limits=True)
        needed = [case for case in Folder(folder).cases if case["review"]["needed"]]
        text = render(folder)
        assert needed
        assert f"{len(needed)} of 20 cases: do not use without review." in text
        assert "Median probability, calibrated" in text
        assert "own, uncalibrated" not in text
        assert "Dice" not in text

    def test_numbers_are_those_of_the_evaluation(self, tmp_path: Path) -> None:
        folder = Folder(make_class_run(tmp_path / "run"))
        document = folder.evaluation["summary"]
        found = classes.make(folder).data["measured"]
        row = found["classes"][1]
        assert row["name"] == "glioma"
        one = document["glioma"]["auc"]
        assert row["cells"][0]["value"] == f"{one['value']:.3f}"
        assert row["cells"][0]["interval"] == f"{one['low']:.3f} to {one['high']:.3f}"
        assert (found["samples"], found["subjects"]) == (90, 45)
        tile = headline.make(folder).data["tiles"][0]
        assert (tile["what"], tile["value"]) == ("accuracy", f"{document['overall']['accuracy']['value']:.2f}")

    def test_two_exclusive_classes_have_one_curve(self, tmp_path: Path) -> None:
        folder = Folder(make_sequence_run(tmp_path / "run"))
        found = classes.make(folder).data["measured"]
        assert [name.split()[0] for name, _ in found["roc"]["keys"]] == ["lesion"]
        assert "mirror image" in render(folder.path)

    def test_of_many_classes_the_lowest_areas_are_drawn(self, tmp_path: Path) -> None:
        table = class_table(200, tuple(f"k{n}" for n in range(11)))
        folder = Folder(make_class_run(tmp_path / "run", table))
        found = classes.make(folder).data["measured"]["roc"]
        areas = {name: rows["auc"]["value"] for name, rows in folder.evaluation["summary"].items() if name != "overall"}
        assert {name.split()[0] for name, _ in found["keys"]} == set(sorted(areas, key=areas.__getitem__)[:8])
        assert found["hidden"] == 3

    def test_classes_that_occur_together_have_counts_and_no_matrix(self, tmp_path: Path) -> None:
        table = class_table(60, ("a", "b"), exclusive=False)
        found = classes.make(Folder(make_class_run(tmp_path / "run", table))).data["measured"]
        assert found["matrix"] is None
        row = found["counts"][0]
        assert row["found"] + row["missed"] == sum("a" in (t or ()) for t in table.truth)
        assert sum(row[k] for k in ("found", "missed", "alarm", "absent")) == 60

    def test_nothing_wrong_has_the_exact_interval(self, tmp_path: Path) -> None:
        table = class_table(40)
        right = table.with_truth(dict(zip(table.cases, table.predicted, strict=True)))
        text = render(make_class_run(tmp_path / "run", right))
        assert "0.83 to 1.00" in text and "exact binomial one (Clopper–Pearson) of 20 subjects" in text
        assert "No image was called wrong." in text

    def test_subjects_that_do_not_differ_are_told(self, tmp_path: Path) -> None:
        said = np.array([[0.9, 0.1], [0.8, 0.2]] * 3)
        subjects = tuple(f"s{n // 2}" for n in range(6))
        cases = tuple(f"c{n}" for n in range(6))
        table = ClassTable(("a", "b"), True, cases, subjects, (None,) * 6, (("a",), ("b",)) * 3, said)
        write_classes(tmp_path, table)
        assert "All 3 subjects have the same accuracy" in render(tmp_path)

    def test_a_prediction_without_truth(self, tmp_path: Path) -> None:
        folder = Folder(make_class_prediction(tmp_path / "out"))
        found = classes.make(folder).data
        assert "striate evaluate PREDICTION TRUTH" in found["unmeasured"]
        assert sum(int(row["count"].split()[0]) for row in found["called"]) == 20
        text = render(folder.path)
        assert "nothing is known here of how often that is right" in text
        assert "Median probability, uncalibrated" in text
        assert "Sensitivity" not in text

    def test_strips_run_along_the_slices_and_the_worst_comes_first(self, tmp_path: Path) -> None:
        folder = Folder(make_sequence_run(tmp_path / "run"))
        found = classes.make(folder).data["strips"]
        assert found["keys"] == [("no lesion", 8), ("lesion", 1)]
        right = [int(n) for n in re.findall(r"scan \d (\d+) of 40 slices right", found["plot"])]
        assert len(right) == 5
        assert right == sorted(right)
        assert slice_table().slices[40] == 0

    def test_learning_curves_of_other_measures(self, tmp_path: Path) -> None:
        found = learning.make(Folder(make_class_run(tmp_path / "a", class_table(12)))).data["plots"]
        keys = next(plot["keys"] for plot in found if plot["caption"] == "validation measures")
        assert [name for name, _ in keys] == ["Balanced accuracy", "Accuracy", "Mean AUC"]
        found = learning.make(Folder(make_reconstruction_run(tmp_path / "b"))).data["plots"]
        assert {"Mean squared error", "PSNR (dB)"} <= {plot["caption"] for plot in found}

    def test_methods(self, tmp_path: Path) -> None:
        def told(folder: Path) -> str:
            return " ".join(methods.make(Folder(folder)).data["sentences"])

        assert "trained to tell meningioma, glioma and no tumour apart in t1" in told(make_class_run(tmp_path / "a"))
        table = class_table(12, ("x", "y"), exclusive=False)
        assert "trained to find x and y in t1" in told(make_class_run(tmp_path / "b", table))
        sequence = told(make_sequence_run(tmp_path / "c"))
        assert "apart in each slice of flair" in sequence
        assert "sequences of 16 images of 64\u00a0×\u00a064 pixels" in sequence
        assert "trained to reconstruct t1" in told(make_reconstruction_run(tmp_path / "d"))
        assert "20 cases were classified with the model first/model" in told(make_class_prediction(tmp_path / "e"))


class TestFigures:
    @pytest.mark.parametrize(
        "plot",
        [
            confusion_matrix([HOSTILE, "b"], [[3, 1], [0, 0]]),
            confusion_matrix([f"class {n}" for n in range(30)], [[n * m for n in range(30)] for m in range(30)]),
            roc_plot([RocCurve(HOSTILE, [(0, 0), (0, 1), (1, 1)], 1, (0.1, 0.9))]),
            roc_plot([]),
            reliability_diagram(
                [ReliabilityBin(0, 0.1, 4, 0.05, 0.25, 0.0, 0.5), ReliabilityBin(0.9, 1, 1, 1, 1)], HOSTILE, "y"
            ),
            strip_plot([Strip(HOSTILE, [0, 1, 5], [1, None, 2], [2, 2, 2])], {1: HOSTILE, 2: "b"}),
        ],
    )
    def test_pictures_are_well_formed_and_escaped(self, plot: str) -> None:
        root = ET.fromstring(str(plot))
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "script" not in {element.tag for element in root.iter()}
        assert "nan" not in plot.lower()

    def test_a_cell_is_as_dark_as_its_share_of_the_row(self) -> None:
        root = ET.fromstring(str(confusion_matrix(["a", "b"], [[3, 1], [0, 50]])))
        shades = [float(e.get("fill-opacity", 0)) for e in root.iter() if e.get("class") == "cell"]
        assert shades == pytest.approx([0.04 + 0.92 * s for s in (0.75, 0.25, 0, 1)])

    def test_the_characteristic_is_square(self) -> None:
        across, up = SQUARE.at_x(1) - SQUARE.at_x(0), SQUARE.at_y(0) - SQUARE.at_y(1)
        assert across == pytest.approx(up)


def test_the_most_unusual_cases_come_first_in_one_scale(tmp_path: Path) -> None:
    folder = Folder(make_reconstruction_prediction(tmp_path / "prediction"))
    section = anomaly.make(folder)
    assert [row["case"] for row in section.data["rows"]] == [f"P{n:02d}" for n in range(14, 2, -1)]
    assert section.data["hidden"] == 3 and section.data["outlined"]
    text = page(folder, [section])
    assert text.count('class="bar"') == 1 and "Unusual is not ill" in text
    (folder.path / "panels" / "anomaly.npz").write_bytes(b"broken")
    assert "There are no anomaly maps to show: panels/anomaly.npz" in str(anomaly.make(folder).absent)
