"""The report of changes: whom to look at first comes first, every kind is told, what is missing is named."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from striate.core.errors import FormatError
from striate.core.files import write_json
from striate.reporting.change_panel import COLOURS, VALUES, ChangePanel
from striate.reporting.figures.detectable import ChangeRow, change_plot
from striate.reporting.figures.overlay import tinted
from striate.reporting.folder import Folder
from striate.reporting.own_reason import own_reason
from striate.reporting.render import render

SHAPE = (6, 30, 40)


def lesion(kind, before, after):
    return {"kind": kind, "before_ml": before, "after_ml": after, "centroid_mm": [1.0, -2.0, 3.0]}


def pair(subject, value, *lesions, smallest=0.5, warnings=()):
    change = {"value": value, "low": value - 0.4, "high": value + 0.6, "coverage": 0.9}
    label = {
        "volume_change_ml": change,
        "volume_change_percent": 10 * value,
        "smallest_detectable_ml": smallest,
        "lesions": list(lesions),
    }
    return {
        "subject": subject,
        "before": f"{subject}a",
        "after": f"{subject}b",
        "warnings": list(warnings),
        "labels": {"lesion": label},
    }


def panel(path, change):
    path.parent.mkdir(exist_ok=True)
    image = np.full(SHAPE, 120, np.uint8)
    np.savez_compressed(path, before=image, after=image + 40, change=change, spacing_mm=np.array([1.0, 1.0, 2.0]))


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two subjects; the second one comes first."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[4, 5:9, 5:9], drawn[1, 20:22, 20:22], drawn[4, 20, 20] = VALUES["new"], VALUES["vanished"], VALUES["stable"]
    panel(tmp_path / "changes" / "B_Ba_Bb.npz", drawn)
    panel(tmp_path / "changes" / "A_Aa_Ab.npz", np.zeros(SHAPE, np.uint8))
    grown = (lesion("new", 0, 0.9), lesion("vanished", 0.2, 0), lesion("enlarged", 1.0, 1.5), lesion("stable", 2, 2))
    doubt = {"code": "contrast-differs", "message": "<b>Another scanner.</b>"}
    write_json(
        tmp_path / "findings.json",
        {"cases": [], "changes": [pair("A", 0.1, lesion("stable", 1, 1.1)), pair("B", 1.2, *grown, warnings=[doubt])]},
    )
    rows = [
        {"rank": 1, "subject": "B", "before": "Ba", "after": "Bb", "priority": "high", "reason": "1 new lesion."},
        {
            "rank": 2,
            "subject": "A",
            "before": "Aa",
            "after": "Ab",
            "priority": "low",
            "reason": "No change beyond noise.",
        },
    ]
    write_json(tmp_path / "triage.json", {"kind": "striate-triage", "schema_version": 1, "rows": rows})
    write_json(tmp_path / "record.json", {"verb": "change", "started": "2026-01-02T03:04:05+00:00"})
    return tmp_path


def section(page):
    return re.search(r'<section id="changes".*?</section>', page, flags=re.DOTALL)[0]


def test_who_comes_first_is_told_first(folder):
    page = render(folder)
    found = section(page)
    assert "Change of lesion in 2 subjects" in page and "Follow-up" in page and 'id="headline"' not in page
    assert found.index("1 new lesion.") < found.index("No change beyond noise.") < found.index("<h3>B: Ba → Bb</h3>")
    assert found.index("<h3>B: Ba → Bb</h3>") < found.index("<h3>A: Aa → Ab</h3>")
    assert "1 new, 1 enlarged, 1 vanished" in found and "no lesion changed" in found


def test_volumes_lesions_and_doubts_of_a_pair(folder):
    found = section(render(folder))
    assert "+1.20 mL (+12 %)" in found and "at least 90 % interval 0.80 to 1.80 mL" in found
    assert found.count("beyond noise (smallest detectable change 0.50 mL)") == 1 and found.count("within noise (") == 1
    listed = re.findall(r'<i class="kind \w+"></i>(\w+)</th>(.*?)</tr>', found)
    assert [kind for kind, _ in listed] == ["new", "enlarged", "vanished"]
    assert "+50" in listed[1][1] and "−0.20" in listed[2][1]
    assert (
        "1 lesion is stable and not listed." in found
        and "No lesion changed by more than noise; 1 lesion is stable." in found
    )
    assert "&lt;b&gt;Another scanner.&lt;/b&gt;" in found and "<b>Another" not in found


def test_every_changed_place_is_pictured(folder):
    found = ChangePanel.read(folder / "changes" / "B_Ba_Bb.npz")
    assert found.slices() == ([4, 1], 0) and found.slices(1) == ([4], 1)
    page = section(render(folder))
    assert page.count("<img") == 3 * (2 + 1)
    assert all(f"axial slice {k} (0 to 5)" in page for k in (4, 1, 3)), "counted from 0, the lowest"
    assert ChangePanel.read(folder / "changes" / "A_Aa_Ab.npz").slices() == ([3], 0)


def test_what_is_gone_is_hatched():
    """A mask covers less of the picture where it is hatched than where it is filled; nothing is tinted without a mask."""
    image, mask = np.full((40, 40), 90, np.uint8), np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    tints = [
        tinted(image, (1.0, 1.0), {"new": m}, COLOURS, hatched=h)
        for m, h in ((mask, ()), (mask, ("new",)), (~mask & mask, ()))
    ]
    coloured = []
    for uri in tints:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)
        coloured.append(float((pixels[..., 0] - pixels[..., 2] > 60).mean()))
    assert coloured[0] == pytest.approx(0.25, abs=0.03) and 0.1 < coloured[1] < 0.2 and coloured[2] == 0


def test_missing_and_broken_parts_are_named(folder):
    (folder / "triage.json").unlink()
    (folder / "changes" / "A_Aa_Ab.npz").write_bytes(b"broken")
    (folder / "changes" / "B_Ba_Bb.npz").unlink()
    found = section(render(folder))
    assert "Whom to look at first is not known: triage.json is not in the folder." in found
    assert found.index("<h3>A:") < found.index("<h3>B:") and "<img" not in found
    assert "changes/B_Ba_Bb.npz: there is no such file" in found and "changes/A_Aa_Ab.npz: not readable" in found


def test_a_panel_of_another_form_is_refused(tmp_path):
    panel(tmp_path / "x" / "a.npz", np.zeros((1, 2, 3), np.uint8))
    with pytest.raises(FormatError, match="a panel written by striate change"):
        ChangePanel.read(tmp_path / "x" / "a.npz")


def test_a_prediction_without_changes_has_no_such_section(folder):
    write_json(folder / "findings.json", {"cases": []})
    assert Folder(folder).changes == [] and 'id="changes"' not in render(folder)


def test_the_band_is_drawn_around_zero():
    drawn = change_plot(
        [ChangeRow("a", 2.0, 1.0, 3.0, 1.0), ChangeRow("b", 0.5, smallest=1.0), ChangeRow("c", 3.0)], "mL"
    )
    assert drawn.count('class="band"') == 2 and drawn.count("hollow") == 2 and drawn.count("whisker") == 1
    start, stop = map(float, re.search(r'class="band" d="M([\d.]+) [\d.]+H([\d.]+)v', drawn).groups())
    zero = float(re.search(r'class="upright" d="M([\d.]+) ', drawn)[1])
    assert (start + stop) / 2 == pytest.approx(zero, abs=0.02)
    assert "3 shown, 1 beyond noise" in drawn


def test_a_pair_that_could_not_be_compared_shows_no_numbers(folder):
    document = json.loads((folder / "findings.json").read_text())
    document["changes"][0]["labels"] = {}
    write_json(folder / "findings.json", document)
    found = section(render(folder))
    assert found.count("not compared") == 1 and found.count("<h3>") == len(document["changes"])
    own = found.split("<h3>" + document["changes"][0]["subject"])[1].split("</div>\n</section>")[0].split("<h3>")[0]
    assert "<svg" not in own and "stable" not in own


def test_what_holds_for_all_cases_is_not_repeated_within_a_list_of_reasons() -> None:
    limits = ["No intervals: 3 subjects; 9 are needed."]
    told = "the mask of A is doubtful: too low. No intervals: 3 subjects; 9 are needed; 1 new lesion."
    assert own_reason(told, limits) == "the mask of A is doubtful: too low; 1 new lesion."
    assert own_reason(f"Too low. {limits[0]}", limits) == "Too low."
    assert own_reason("Case P001: flair has blur 0.4.", limits, "P001") == "flair has blur 0.4."
