"""The section of an update: a point for each network, the taken one marked, before and after, and who was forgotten most."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_folders import make_run

from striate.measure.forgetting import FILE, Forgetting, Measured
from striate.reporting.folder import Folder
from striate.reporting.render import render
from striate.reporting.sections import update


def forgetting(earlier: bool = True, tolerance: float = 0.02) -> Forgetting:
    """Two earlier subjects, of whom one forgets, and two new ones who gain."""
    subjects = {"p": "P", "q": "Q", "r": "R", "s": "S"}
    found = Forgetting((), subjects, frozenset("pq") if earlier else frozenset(), tolerance, 3, "0123456789abcdef")
    while (a := found.next_share) is not None:
        dice = {"p": 0.9 - 0.06 * a, "q": 0.8 + 0.03 * a, "r": 0.4 + 0.3 * a, "s": 0.5 + 0.2 * a}
        found = found.with_row(Measured(a, f"{a}", {case: {"core": value} for case, value in dice.items()}))
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_the_section_shows_what_was_measured(run: Path) -> None:
    forgetting().write(run / FILE)
    data = update.make(Folder(run)).data
    assert "The whole update was taken" in data["told"] and data["limit"]
    assert [row["name"] for row in data["points"]] == ["before", "25 %", "50 %", "75 %", "whole update"]
    assert [row["taken"] for row in data["points"]] == [False] * 4 + [True]
    assert data["worst"] == [["P", "0.900", "0.840", "−0.060"]]
    assert data["sides"][0][:2] == ["earlier cohort", "2"] and data["sides"][0][4].startswith("−0.015")
    assert data["sides"][1][4].startswith("+0.250") and data["few"]
    assert data["plot"].count("<circle") == 5 and data["plot"].count('r="6"') == 1 and 'class="mark"' in data["plot"]
    page = render(run)
    assert (
        "What was learned and what was forgotten" in page
        and "slightly optimistic" in page
        and "Left of the dashed line" in page
    )


def test_where_little_may_be_forgotten_a_part_is_taken(run: Path) -> None:
    forgetting(tolerance=0.008).write(run / FILE)
    data = update.make(Folder(run)).data
    assert "53.1 % of the way from the old weights" in data["told"] and data["points"][3]["taken"]


def test_a_limit_below_nought_is_not_drawn() -> None:
    chosen = {"tolerance": 0.02, "earlier": {"before": {"mean": 0.015}}}
    assert update._limit([{"earlier": {"after": {"mean": 0.008}}}], chosen) is None


def test_without_earlier_subjects_there_is_no_figure(run: Path) -> None:
    forgetting(earlier=False).write(run / FILE)
    data = update.make(Folder(run)).data
    assert data["plot"] is None and not data["measured"] and data["worst"] == [] and data["sides"][0][2:] == ["–"] * 3
    assert "cannot be measured" in render(run)


def test_other_runs_have_no_such_section(run: Path) -> None:
    assert update.TITLE not in render(run)
    assert update.make(Folder(run)).absent == "update.json is not in the folder."


@pytest.mark.parametrize("content", ["", "\0{]", "[1, 2]", '{"chosen": {"told": 3}, "points": 5}', '{"chosen": null}'])
def test_what_cannot_be_read_breaks_nothing(run: Path, content: str) -> None:
    (run / FILE).write_text(content)
    page = render(run)
    assert "</html>" in page and "Traceback" not in page
