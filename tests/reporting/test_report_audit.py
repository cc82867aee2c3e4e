"""The page of an audit: every con answered, plots where people look, reasons where there is nothing, no markup from names."""

import json
import re
from pathlib import Path

import pytest

from striate.reporting.figures.forest import Bunch, Stem, forest_plot
from striate.reporting.figures.strength import Mark, Response, strength_plot
from striate.reporting.render import render
from striate.reporting.sections import OF_AUDIT

GOLDEN = Path(__file__).parents[1] / "golden" / "audit.json"
PARTS = ("quality", "learning_curve", "adversarial", "calibration", "coverage", "explanations", "subgroups", "cost")


def page(folder: Path, document: dict) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(document))
    return render(folder)


@pytest.fixture
def document() -> dict:
    """An audit of a model of phantoms, explained by `striate explain`; its learning curve is made up."""
    return json.loads(GOLDEN.read_text())


def section(html: str, key: str) -> str:
    return html.split(f'<section id="{key}"')[1].split("</section>")[0]


def test_every_section_is_there_and_every_con_leads_to_it(tmp_path, document):
    html = page(tmp_path / "a", document)
    assert "cannot be shown" not in html
    for key in OF_AUDIT:
        assert f'<section id="{key}"' in html
    table = section(html, "audited")
    for row in document["answers"]:
        assert row["con"] in table
    for anchor in re.findall(r'href="#(\w+)"', table):
        assert f'id="{anchor}"' in html


def test_plots_stand_where_people_look(tmp_path, document):
    html = page(tmp_path / "a", document)
    quality = section(html, "audit_quality")
    assert quality.count("<svg") == len(document["quality"]["artefacts"])
    assert ("breaks" in quality) == any(a["breaks_at"] is not None for a in document["quality"]["artefacts"].values())
    assert "<svg" in section(html, "audit_attacks") and "<svg" in section(html, "audit_groups")
    limits = section(html, "audit_limits")
    assert "Reliability of" in limits and "Deletion and insertion" in limits
    assert "<svg" in section(html, "audit_learning")


def test_the_cost_is_said_to_be_that_of_pytorch(tmp_path, document):
    assert "Always by PyTorch: striate predict may choose another" in section(
        page(tmp_path / "a", document), "audit_cost"
    )


def test_broken_limits_come_first_and_in_red(tmp_path, document):
    told = "ece<=0.01: broken, 0.2 (5 subjects)."
    document["requirements"] = [{"text": "ece<=0.01", "met": False, "sentence": told, "value": 0.2, "n_subjects": 5}]
    first = section(page(tmp_path / "a", document), "audited")
    assert '<div class="stop">' in first and "ece&lt;=0.01: broken" in first


def test_parts_that_were_not_done_say_so(tmp_path, document):
    for key in PARTS:
        document[key] = {"n_subjects": 0, "absent": f"No time for {key}."}
    document["parts"]["quality"] = {"status": "not done", "seconds": 0.0, "reason": "No time for quality."}
    html = page(tmp_path / "a", document)
    for key in PARTS:
        assert f"No time for {key}." in html
    assert "cannot be shown" not in html


def test_names_are_not_markup(tmp_path, document):
    document["cohort"]["name"] = "<script>alert(1)</script>"
    for column in document["subgroups"]["columns"]:
        column["groups"][0]["name"] = "<img src=x onerror=alert(2)>"
    html = page(tmp_path / "a", document)
    assert "<script>alert" not in html and "<img src=x" not in html


def test_a_broken_document_has_its_reason(tmp_path):
    (tmp_path / "audit.json").write_text("{")
    html = render(tmp_path)
    assert "not readable as JSON" in html


def test_the_gate_and_the_break_are_marked():
    curve = Response("Dice", [0, 0.5, 1], [0.8, 0.6, 0.2], [0.7, 0.5, 0.1], [0.9, 0.7, None])
    svg = strength_plot([curve], "strength", "Dice", marks=[Mark(0.4, "gate warns"), Mark(0.7, "breaks", alarm=True)])
    assert svg.count('class="upright') == 2 and "upright alarm" in svg and "ribbon" in svg


def test_a_forest_has_a_row_per_group():
    stems = [Stem("A", 0.7, 0.6, 0.8, 12), Stem("a rather long name of a site", 0.5, None, None, 1, few=True)]
    svg = forest_plot([Bunch("site", "p = 0.040", stems, alarm=True)], "Dice", 0.65)
    assert svg.count("<circle") == 2 and svg.count("whisker") == 1 and "a rather long n" in svg and ">12</text>" in svg
