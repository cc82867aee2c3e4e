"""``striate plan`` as it is typed."""

from __future__ import annotations

import json

import pytest

from striate.cli.main import run
from striate.planning.plan import Plan


@pytest.fixture(scope="module")
def shown(tiny_cohort, tmp_path_factory):
    """What `striate plan` prints, and the plan that it wrote."""
    import contextlib
    import io

    path, text = tmp_path_factory.mktemp("plan") / "my plan.yaml", io.StringIO()
    with contextlib.redirect_stderr(text):
        assert run(["plan", str(tiny_cohort), "--out", str(path), "--budget", "2m", "--memory", "2G"]) == 0
    return text.getvalue(), path


@pytest.mark.parametrize(
    "text",
    ["3 training cases of 3 subjects", "channels flair", "spacing      2 × 2 × 2 mm", "because: median of 3 cases",
     "network      ", "patch        ", "batch        2 patches", "mirroring    axes", "precision    ", "steps in 2 min 00 s",
     "GMAC per patch", "rule of thumb: 10", "voxels of one scan are far from independent", "FLOP by operations",
     "arXiv 2202.05924", "at the peak", "objects are", "Train with it: striate train"],
)  # fmt: skip
def test_everything_is_told(shown, text):
    assert text in shown[0]


def test_the_plan_is_written_with_its_reasons(shown):
    plan = Plan.read(shown[1])
    assert plan.training.budget_s == 120 and "# median of 3 cases" in shown[1].read_text()
    assert f"'{shown[1]}'" in shown[0]  # quoted, because the path has a space


@pytest.mark.parametrize(("task", "sample"), [("contains:ball", "slice"), ("sequence:ball", "sequence")])
def test_whole_images_are_no_patches_and_have_no_objects(tiny_cohort, capsys, task, sample):
    assert run(["plan", str(tiny_cohort), "--task", task, "--regions", "ball=1", "--steps", "3"]) == 0
    told = capsys.readouterr().err
    assert f" {sample}s\n" in told and f"GMAC per {sample}" in told and "image        " in told
    assert "patch" not in told and "objects" not in told


def test_one_document(tiny_cohort, capsys):
    assert run(["plan", str(tiny_cohort), "--steps", "5", "--json", "--regions", "ball=1", "all=1"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert set(document) == {"fingerprint", "plan"} and captured.err == ""
    assert document["plan"]["training"]["steps"] == 5 and set(document["plan"]["task"]["regions"]) == {"ball", "all"}
    assert Plan.parse(document["plan"], "json").targets.names == ("ball", "all")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["COHORT", "--memory", "1M"], 5, "training needs at least"),
        (["COHORT", "--budget", "1s"], 5, "at least 20 s"),
        (["COHORT", "--network", "resnet"], 2, "unknown network 'resnet'"),
        (["COHORT", "--regions", "tumour=7"], 3, "no voxel of any region (tumour = 7)"),
        (["nowhere"], 3, "nowhere"),
        ([], 2, "Missing argument 'COHORT'"),
    ],
)
def test_one_sentence_and_an_exit_code(tiny_cohort, capsys, arguments, code, message):
    assert run(["plan", *(str(tiny_cohort) if a == "COHORT" else a for a in arguments)]) == code
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.out == ""
