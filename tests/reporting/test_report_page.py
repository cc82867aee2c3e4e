"""The page as a whole: alone in the world, safe, deterministic, made without torch."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from striate.cli.main import run
from striate.core.errors import DataError
from striate.reporting.render import render
from striate.workflows.report import report


class Tags(HTMLParser):
    """Collects tags, attributes and the text of scripts; refuses wrong nesting."""

    VOID = frozenset({"meta", "input", "img", "br", "link", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert len(set(tags.ids)) == len(tags.ids)
    return tags


def test_nothing_is_fetched(run_folder: Path) -> None:
    text = render(run_folder)
    tags = parsed(text)
    for tag, attributes in tags.found:
        assert tag not in {"link", "iframe", "object", "embed"} and "srcset" not in attributes
        for name in ("src", "href"):
            held = "data:image/" if tag == "img" else "#"
            assert (attributes.get(name) or held).startswith(held)
    assert not re.search(r"https?://|@import|url\(", text)


def test_only_our_script_may_run(run_folder: Path) -> None:
    text = render(run_folder)
    policy = next(
        a["content"] for t, a in parsed(text).found if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)


def test_hostile_names_stay_text(hostile_folder: Path) -> None:
    text = render(hostile_folder)
    tags = parsed(text)
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    scripts = [a for t, a in tags.found if t == "script"]
    assert scripts == [{"type": "application/json"}] * 3 + [{}]
    names = {
        json.loads(block)["case"]
        for block in re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    }
    assert "<script>alert(1)<" in names
    assert "<script>alert" not in text


def test_every_anchor_of_the_navigation_exists(run_folder: Path) -> None:
    tags = parsed(render(run_folder))
    assert {str(a["href"])[1:] for t, a in tags.found if t == "a"} <= set(tags.ids)


def test_the_same_folder_gives_the_same_bytes(run_folder: Path) -> None:
    assert render(run_folder) == render(run_folder)


def test_headline_comes_first_and_holds_the_interval(run_folder: Path) -> None:
    text = render(run_folder)
    first = text[text.index("<main>") : text.index('id="warnings"')]
    assert "0.81 to 0.93" in first
    assert "oedema" in first


def test_prediction_has_no_truth(prediction_folder: Path) -> None:
    text = render(prediction_folder)
    assert "Ground truth" not in text
    assert "spacing outside the training range" in text
    assert "mL" in text


def test_workflow_writes_beside_and_elsewhere(run_folder: Path, tmp_path: Path) -> None:
    assert report(run_folder) == run_folder / "report.html"
    elsewhere = tmp_path / "a folder" / "page é.html"
    assert report(run_folder, elsewhere) == elsewhere
    assert elsewhere.read_text() == (run_folder / "report.html").read_text()
    with pytest.raises(DataError, match="there is no such folder"):
        report(tmp_path / "none")


def test_command_line(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert run(["report", str(run_folder), "--out", str(out), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"report": str(out), "bytes": out.stat().st_size}
    assert run(["report", str(tmp_path / "none")]) == 3
    assert "there is no such folder" in capsys.readouterr().err


def test_reports_need_no_torch() -> None:
    code = (
        "import sys, striate.workflows.report, striate.reporting.sections, striate.reporting.sprites\n"
        "print([m for m in ('torch', 'monai', 'matplotlib', 'safetensors') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_without_scripts_pictures_stand_in_place_of_empty_frames(run_folder: Path, prediction_folder: Path) -> None:
    head, body = render(run_folder).split("<body>")
    assert ":root:not([data-live]) .viewer :is(canvas, .controls, .slider) { display: none; }" in head
    assert (
        body.count("<img data-still") == 3 * 3
        and body.count('<p class="note" data-still>Axial slice 16 (0 to 29)') == 3
    )
    assert re.findall(r"</i>(\w+)</span>", body) == 3 * ["oedema", "core"]
    assert render(prediction_folder).count("<img data-still") == 2


def test_a_comparison_without_a_finished_run_counts_no_networks(tmp_path: Path) -> None:
    asked = {"cohort": "cohort", "networks": ["unet"]}
    document = {"kind": "striate-comparison", "schema_version": 1, "asked": asked, "planned": []}
    (tmp_path / "compare.json").write_text(json.dumps(document))
    text = render(tmp_path)
    assert "<title>Networks compared</title>" in text
    assert "No network has a measure" in text
