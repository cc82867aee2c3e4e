"""The whole check: clean cohorts are clean, planted defects are found, results are read back, the command line."""

import json
import re
import tracemalloc

import heads
import numpy as np
import pytest

from striate.cli.main import run
from striate.core.errors import FormatError
from striate.core.progress import Silent
from striate.data.checks import CHECKS
from striate.data.checks.problem import Problem
from striate.data.checks.run import CheckResult, run_checks
from striate.workflows.check import check


def sentences(result, code):
    return [p.sentence for p in result.problems if p.code == code]


def clean(maker, count=6, kind="raw"):
    for seed in range(count):
        channels = {c: heads.scan(seed, c) for c in ("flair", "t1")}
        if kind != "raw":
            channels = {c: heads.stripped(a, seed, kind == "zscored") for c, a in channels.items()}
        maker.add(f"P{seed:02d}", channels, heads.mask(seed))
    return maker


@pytest.mark.parametrize("kind", ["raw", "stripped", "zscored"])
def test_clean_cohort_has_no_problem(maker, kind):
    result = run_checks(clean(maker, kind=kind).cohort({1: "lesion"}))
    assert [p.sentence for p in result.problems] == []
    assert result.clean and result.cases == 6
    quality = result.facts[0]["channels"]["flair"]["quality"]
    reasons = result.facts[0]["channels"]["flair"]["not_measurable"]
    if kind == "raw":
        assert reasons == {}
    else:
        assert quality["snr"] is None and reasons["snr"] in (
            "no background",
            "intensities below zero (normalised or CT)",
        )
        assert all(quality[m] is not None for m in ("cnr", "cjv", "blur", "edge_strength", "spikes"))
    assert (quality["snr_object"] is None) == (kind == "zscored")


def test_result_is_read_back_without_loss(maker, tmp_path):
    result = check(clean(maker, 2).cohort({1: "lesion", 2: "absent"}), out=tmp_path / "check.json", progress=Silent())
    again = CheckResult.read(tmp_path / "check.json")
    assert again == CheckResult(result.cohort, result.cases, result.problems, again.facts, result.states)
    document = json.loads((tmp_path / "check.json").read_text())
    assert document["kind"] == "striate-check" and document["schema_version"] == 1
    fact = document["facts"][0]
    assert fact["shape"] == list(heads.SHAPE) and fact["spacing_mm"] == [3.0, 3.0, 3.0] and fact["axes"] == "RAS"
    assert fact["label"]["1"]["voxels"] == int(heads.mask(0).sum()) and fact["label"]["1"]["components"] == 1
    assert fact["label"]["1"]["volume_ml"] == pytest.approx(int(heads.mask(0).sum()) * 0.027)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(FormatError, match=r"kind 'striate-check' is needed"):
        CheckResult.read(tmp_path / "x.json")


def test_problems_are_one_line_and_sorted_by_severity(maker):
    clean(maker, 3)
    broken = heads.scan(7).copy()
    broken[:, :, :2] = np.nan
    maker.add("Z", {"flair": broken, "t1": heads.scan(7, "t1")}, heads.mask(7) * 0)
    result = run_checks(maker.cohort({1: "lesion"}))
    order = [("error", "warning", "note").index(p.severity) for p in result.problems]
    assert order == sorted(order) and result.count("error") >= 1 and not result.clean
    for problem in result.problems:
        assert "\n" not in problem.sentence
        assert re.match(r"(case \w+|cohort): .+; .+\. .+\.$", problem.sentence)


def test_memory_does_not_grow_with_the_number_of_cases(maker):
    clean(maker, 1)
    cases = maker.cases
    peaks = []
    for count in (1, 3):
        maker.cases = [
            type(c)(f"{c.name}_{i}", f"{c.subject}_{i}", c.channels, c.label) for i in range(count) for c in cases
        ]
        tracemalloc.start()
        run_checks(maker.cohort())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2 * 2 * 60_000  # two more cases of two channels; one channel alone takes 885 kB


def test_what_is_measured_is_told_while_it_takes_long(maker):
    class Listening(Silent):
        def __init__(self):
            super().__init__()
            self.heard = []

        def bar(self, title, total):
            assert (title, total) == ("reading", 2)
            return self

        def update(self, done, **shown):
            self.heard.append((done, shown))

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            return None

    clean(maker, 2)
    run_checks(maker.cohort({1: "lesion"}), progress := Listening())
    done = [share for share, _ in progress.heard]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 2
    first = [shown.get("now") for share, shown in progress.heard if share < 1]
    assert first == [
        *(text for n in ("flair", "t1") for text in (f"reading {n}", f"{n}: what is not background", f"{n}: quality",
                                                     f"{n}: likeness")), "label map",
    ]  # fmt: skip
    assert {shown["case"] for _, shown in progress.heard} == {case.name for case in maker.cases}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_is_silent_on_nothing(name):
    from striate.data.checks.facts import CaseFacts, CohortFacts

    assert list(CHECKS[name](CohortFacts(()))) == []
    assert list(CHECKS[name](CohortFacts((CaseFacts("a", "a", {}),)))) == []


def write_csv(maker, channels):
    lines = ["subject," + ",".join(channels) + ",label"]
    lines += [
        ",".join([c.subject, *(c.channels[n].name for n in channels), c.label.name if c.label else ""])
        for c in maker.cases
    ]
    path = maker.folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_command_line_is_quiet_and_0_on_a_clean_cohort(maker, capsys):
    path = write_csv(clean(maker, 3), ["flair", "t1"])
    assert run(["check", str(path)]) == 0
    assert "3 cases; 0 errors, 0 warnings, 0 notes" in capsys.readouterr().err


def test_command_line_tells_problems_and_returns_1(maker, capsys, tmp_path):
    maker.add("A", {"flair": heads.scan(1)}, heads.mask(1))
    maker.add("B", {"flair": heads.scan(1)}, heads.mask(1))
    path = write_csv(maker, ["flair"])
    assert run(["check", str(path), "--json", "--out", str(tmp_path / "out.json")]) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["problems"][0]["code"] == "duplicate"
    assert "same voxels as flair of case A" in document["problems"][0]["sentence"]
    assert CheckResult.read(tmp_path / "out.json").to_dict()["problems"] == document["problems"]
    assert run(["check", str(path)]) == 1
    assert re.search(r"error: +case B: flair holds the same voxels", capsys.readouterr().err)


def test_command_line_refuses_what_is_no_cohort(tmp_path, capsys):
    assert run(["check", str(tmp_path / "nothing")]) == 3
    assert "nothing" in capsys.readouterr().err


def test_unreadable_files_are_problems_not_exceptions(maker):
    clean(maker, 2)
    case = maker.add("Bad", {"flair": heads.scan(5), "t1": heads.scan(5, "t1")}, heads.mask(5))
    raw = case.channels["t1"].read_bytes()
    case.channels["t1"].write_bytes(raw[: len(raw) // 2])
    found = sentences(run_checks(maker.cohort()), "unreadable")
    assert len(found) == 1 and found[0].startswith("case Bad: t1 cannot be read (Bad_t1.nii.gz:")


def test_files_larger_than_the_memory_are_problems_too(maker, monkeypatch):
    from striate.io.formats import content

    clean(maker, 2)
    maker.add("Large", {"flair": np.zeros((80, 90, 70)), "t1": heads.scan(5, "t1")}, heads.mask(5))
    monkeypatch.setattr(content, "ALWAYS_TRIED_BYTES", 0)
    monkeypatch.setattr(content, "memory_available_bytes", lambda: 80 * 90 * 70 * 4 - 1)
    found = sentences(run_checks(maker.cohort()), "unreadable")
    assert len(found) == 1 and found[0].startswith(
        "case Large: flair cannot be read (Large_flair.nii.gz: its voxels need"
    )


def test_pictures_are_checked_too(tmp_path):
    from PIL import Image as Picture

    from striate.core.case import Case
    from striate.data.cohort import Cohort

    cases = []
    for seed in range(3):
        flat = heads.scan(seed)[:, :, 24]
        big = np.kron(flat, np.ones((3, 3))) + np.random.default_rng(seed).normal(0, 3, (192, 216))
        Picture.fromarray(np.clip(big / 2, 0, 254).astype(np.uint8).T).save(tmp_path / f"p{seed}.png")
        Picture.fromarray((np.kron(heads.mask(seed)[:, :, 24], np.ones((3, 3))) * 255).astype(np.uint8).T).save(
            tmp_path / f"m{seed}.png"
        )
        cases.append(Case(f"p{seed}", f"p{seed}", {"image": tmp_path / f"p{seed}.png"}, tmp_path / f"m{seed}.png"))
    result = run_checks(Cohort("pictures", tuple(cases)))
    assert result.clean, [p.sentence for p in result.problems]
    assert sentences(result, "label_understood")[0].startswith("case p0: the mask was understood: 0 and 255")
    copied = Case("copy", "copy", cases[0].channels, cases[0].label)
    again = run_checks(Cohort("pictures", (*cases, copied)))
    assert "same voxels as image of case p0" in sentences(again, "duplicate")[0]


def test_problem_round_trip():
    problem = Problem("x", None, "note", "found this", "that is needed", "Do it.")
    assert Problem.from_dict(problem.to_dict()) == problem
    assert problem.sentence == "cohort: found this; that is needed. Do it."


def test_errors_of_several_cases_are_told_together_by_their_reason(maker, capsys):
    """Four truncated files, four of text, four masks of another shape and four shifted ones: a line for each, none is lost."""
    for number, name in enumerate("abcdefgh"):
        case = maker.add(name, {"flair": heads.scan(number)}, heads.mask(number))
        path, raw = case.channels["flair"], case.channels["flair"].read_bytes()
        path.write_bytes(raw[: len(raw) // 2] if number < 4 else f"<html> not found: {name}".encode())
    for number, name in enumerate("ijklmnop", start=8):
        mask, shifted = heads.mask(number), heads.affine()
        shifted[0, 3] += number
        maker.add(name, {"flair": heads.scan(number)}, mask[:, :, :-number] if number < 12 else mask,
                  label_affine=None if number < 12 else shifted)  # fmt: skip
    assert run(["check", str(write_csv(maker, ["flair"]))]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert [re.search(r"\((\w, \w, \w, \w)\)\.$", line)[1] for line in errors] == [
        "a, b, c, d", "e, f, g, h", "i, j, k, l", "m, n, o, p",
    ]  # fmt: skip
    for line, reason in zip(errors, ("end too early", "holds text", "has shape", "is shifted"), strict=True):
        assert reason in line
