"""The page in headless Chromium: its script draws, it is light and dark, it fits a narrow screen, it prints."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from class_folders import make_class_run, make_reconstruction_run
from inspection_folders import make_inspection
from PIL import Image as Picture

from striate.core.errors import UsageError
from striate.reporting.render import render
from striate.web.live import LiveServer
from striate.workflows.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")]


def browse(page: Path, profile: Path, *extra: str) -> str:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *extra, page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def picture(page: Path, tmp_path: Path, *, dark: bool, size: str) -> np.ndarray:
    out = tmp_path / f"shot-{dark}-{size}.png"
    scheme = 0 if dark else 1
    browse(
        page,
        tmp_path / f"profile-{dark}-{size}",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--window-size={size}",
        f"--screenshot={out}",
    )
    return np.asarray(Picture.open(out).convert("RGB")).astype(int)


def test_the_script_runs_from_disk_and_draws_every_case(hostile_folder: Path, tmp_path: Path) -> None:
    dom = browse(report(hostile_folder), tmp_path / "profile", "--dump-dom", "--window-size=1200,900")
    assert 'data-drawn="3"' in dom
    assert dom.count('data-ready="yes"') == 3
    assert dom.count("axial slice 16 (0 to 29)") >= 3, "slices are counted from 0, as in files and options"
    assert "cm²" in dom


def test_light_and_dark_and_pictures(run_folder: Path, tmp_path: Path) -> None:
    page = report(run_folder)
    light = picture(page, tmp_path, dark=False, size="1200,2400")
    dark = picture(page, tmp_path, dark=True, size="1200,2400")
    assert tuple(light[2, 2]) == (255, 255, 255)
    assert dark[2, 2].max() < 40
    colourful = np.abs(light[..., 0] - light[..., 2]) > 90
    assert colourful.sum() > 500, "outlines of the masks are drawn in colour"
    black = (light.max(axis=-1) < 10).sum()
    assert black > 20_000, "pictures have their black background"


def test_narrow_screens_do_not_scroll_sideways(run_folder: Path, tmp_path: Path) -> None:
    page = report(run_folder)
    shot = picture(page, tmp_path, dark=False, size="500,6000")
    assert shot.shape[1] == 500
    assert (shot[:, -8:] == 255).all(), "the margin stays free"


def test_it_prints(prediction_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.pdf"
    browse(report(prediction_folder), tmp_path / "profile", f"--print-to-pdf={out}", "--no-pdf-header-footer")
    content = out.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page") + content.count(b"/Type/Page") >= 2


def test_classes_light_dark_and_narrow(tmp_path: Path) -> None:
    page = report(make_class_run(tmp_path / "run"))
    light = picture(page, tmp_path, dark=False, size="1200,3400")
    dark = picture(page, tmp_path, dark=True, size="1200,2400")
    assert tuple(light[2, 2]) == (255, 255, 255)
    assert dark[2, 2].max() < 40
    blue = (light[..., 2] - light[..., 0] > 90).sum()
    assert blue > 15_000, "the diagonal of the matrix is dark"
    assert (light.max(axis=-1) < 10).sum() > 20_000, "pictures have their black background"
    narrow = picture(page, tmp_path, dark=False, size="500,6000")
    assert (narrow[:, -8:] == 255).all(), "the margin stays free"


def test_reconstructions_print(tmp_path: Path) -> None:
    out = tmp_path / "page.pdf"
    page = report(make_reconstruction_run(tmp_path / "run"))
    browse(page, tmp_path / "profile", f"--print-to-pdf={out}", "--no-pdf-header-footer")
    content = out.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Subtype /Image") >= 36, "every picture is printed"


def test_a_network_is_walked_through(tmp_path: Path) -> None:
    folder = make_inspection(tmp_path / "toy")
    page = tmp_path / "toy" / "report.html"
    page.write_text(render(folder))
    key = next(iter(json.loads((folder / "inspection.json").read_text())["sums"]))
    node, unit, at = key.split(":")
    command = [str(CHROMIUM), *FLAGS, "--enable-logging=stderr", "--window-size=1200,2400", "--dump-dom"]
    address = f"{page.resolve().as_uri()}#n{node}.u{unit}.at{at}"
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dom = done.stdout
    assert "CONSOLE" not in done.stderr and 'data-inspected="11"' in dom
    chosen = dom[dom.index('id="chosen"') : dom.index('id="inspection-data"')]
    assert f"Step {node}: convolution" in chosen and f"map {unit} at {at.replace(',', ', ')}" in chosen
    assert "Total, added up with 64 bits" in chosen and "The kernel on flair" in chosen
    assert ">null<" not in dom and "null</div>" not in chosen
    assert dom.count('class="card ') == 11 and "data-still" not in dom.split("<script")[0]


def test_a_network_light_dark_and_narrow(tmp_path: Path) -> None:
    page = report(make_inspection(tmp_path / "toy"))
    dark = picture(page, tmp_path, dark=True, size="1200,2400")
    narrow = picture(page, tmp_path, dark=False, size="500,6000")
    assert dark[2, 2].max() < 40
    assert (narrow[:, -8:] == 255).all(), "the margin stays free"


@pytest.mark.parametrize("opens", [True, False])
def test_a_page_that_is_served_asks_for_the_sum_of_any_number(tmp_path: Path, opens: bool) -> None:
    folder, asked = make_inspection(tmp_path / "toy"), list[dict[str, str]]()
    one = next(iter(json.loads((folder / "inspection.json").read_text())["sums"].values()))

    def answer(given: Mapping[str, str]) -> dict[str, Any]:
        asked.append(dict(given))
        if not opens:
            raise UsageError("this number is not to be had.")
        return {**one, "unit": 4, "at": [3, 7], "error": 1.25e-7}

    server = LiveServer()
    page = render(folder, live={"path": "", "token": server.token})
    thread = threading.Thread(target=server.serve, args=(page, {"/sum": answer}))
    thread.start()
    try:
        command = [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,2400",
            "--dump-dom",
        ]
        address = f"{server.url}#n{one['node']}.u4.at3,7"
        dom = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True).stdout
    finally:
        server.shutdown()
        thread.join()
    assert asked[0] == {"node": str(one["node"]), "unit": "4", "at": "3,7"} and len(asked) == 1
    said = dom[dom.index('id="sum"') : dom.index('id="inspection-data"')]
    assert ("Total, added up with 64 bits" in said and "1·10⁻⁷" in said) == opens
    assert ("This sum cannot be opened: this number is not to be had." in said) != opens
