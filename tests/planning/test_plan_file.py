"""``plan.yaml``: read, edited, refused with the line that is wrong."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import PlanError
from striate.planning.plan import Plan


@pytest.fixture
def edited(tmp_path, tiny_plan):
    """Write a plan with one piece of its text replaced; returns the path."""

    def edit(old="", new=""):
        text = tiny_plan().to_yaml()
        assert old in text, text
        path = tmp_path / "plan.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return edit


def test_round_trip_with_reasons(tmp_path, tiny_plan):
    plan = tiny_plan()
    plan.write(tmp_path / "p.yaml")
    assert Plan.read(tmp_path / "p.yaml") == plan
    text = (tmp_path / "p.yaml").read_text()
    assert "patch: [16, 16, 16]  # small: a test" in text
    assert text.count("small: a test") == 2  # beside the line, and kept for machines


def test_the_reason_stands_at_its_own_key_only(tmp_path, tiny_plan):
    lines = tiny_plan().to_yaml().splitlines()
    assert [line for line in lines if line.strip().startswith("patch:") and "#" not in line]  # inference.patch


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
                   min_size=1, max_size=9, unique=True),
    reason=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=300),
)  # fmt: skip
def test_any_label_and_reason_survives(tiny_plan, names, reason):
    plan = tiny_plan(tuple(f"c{i}" for i in range(20)))
    task = plan.task.changed(label_names=dict(enumerate(names, start=1)))
    keys = ("task.channels", "training.patch", "preparation.normalisation", "network.name")
    plan = plan.changed(task=task.model_dump(), reasons=dict.fromkeys(keys, reason))
    document = yaml.safe_load(plan.to_yaml())
    assert Plan.parse(document, "here") == plan


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch: 2", "bacth: 2", r"unknown key 'training\.bacth'\. Did you mean 'batch'\?"),
        ("spacing_mm:", "spacing:", r"'preparation\.spacing'\. Did you mean 'spacing_mm'\?"),
        ("mirror_axes: [0]", "mirror_axis: [0]", r"'training\.augmentation\.mirror_axis'\. Did you mean 'mirror_axes'\?"),
        ("batch: 2", "batch: 0", r"key 'training\.batch' is 0; .*greater than 0"),
        ("batch: 2", "batch: many", r"key 'training\.batch' is 'many'"),
        ("momentum: 0.9", "momentum: 1.0", r"key 'training\.momentum' is 1\.0; .*less than 1"),
        ("overlap: 0.5", "overlap: -1", r"'inference\.overlap' is -1"),
        ("workers: ", "workers: 500  # ", r"'training\.workers' is 500; .*less than or equal to 64"),
        ("scale: [", "scale: [3, 1]  # ", r"'training\.augmentation\.scale' is \[3, 1\]; .*smallest first"),
        ("optimiser: adamw", "optimiser: adam", r"'training\.optimiser' is 'adam'; .*'adamw', 'sgd' or 'rmsprop'"),
        ("loss: cross_entropy", "loss: squared", r"training\.loss 'squared' compares images, segmentation does not learn any"),
        ("precision: fp32", "precision: fp16", r"'training\.precision' is 'fp16'"),
        ("steps: 30", "steps: null", r"exactly one of steps and budget_s"),
        ("budget_s: null", "budget_s: 60", r"exactly one of steps and budget_s"),
        ("normalisation: [zscore]", "normalisation: [z-score]", r"normalisation 'z-score' is not known"),
        ("normalisation: [zscore]", "normalisation: [zscore, zscore]", r"intensities has 1 entry for 2 channels"),
        ("normalisation: [zscore]", "normalisation: [ct]", r"'ct' needs mean, std, p005 and p995"),
        ("patch: [16, 16, 16]", "patch: [16, 16]", r"training\.patch \(16, 16\) has 2 axes, the images have 3"),
        ("spatial_dims: 3", "spatial_dims: 2", r"needs exactly one axis of 1 for a 2D network"),
        ("spatial_dims: 3", "spatial_dims: 4", r"'network\.spatial_dims' is 4"),
        ("options:\n", "options:\n    out_channels: 3\n", r"network small_unet: unknown key 'out_channels'\. Known: .*features"),
        ("schema_version: 1", "schema_version: 2", r"schema version 2; this Striate reads up to 1.*pip install -U"),
        ("schema_version: 1", "schema_version: one", r"'schema_version' is 'one'"),
        ("label_names:\n    '1': lesion", "label_names: {}", r"at least one label value besides background"),
        ("regions: null", "regions: {tumour: [0]}", r"region 'tumour' = \(0,\): label values of 1 or more"),
        ("channels: [flair]", "channels: [flair", r"not readable as YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(edited, old, new, message):
    path = edited(old, new)
    with pytest.raises(PlanError, match=message) as caught:
        Plan.read(path)
    assert str(path) in str(caught.value) and caught.value.exit_code == 4
    assert "pydantic" not in str(caught.value)


def test_keys_that_do_not_fit_together_do_not_print_the_whole_plan(edited):
    with pytest.raises(PlanError) as caught:
        Plan.read(edited("patch: [16, 16, 16]", "patch: [16, 16]"))
    assert "{" not in str(caught.value) and "key ''" not in str(caught.value)


@pytest.mark.parametrize(("text", "came"), [("", "None"), ("x" * 5000, "'xxxx")], ids=["empty", "text"])
def test_a_file_that_is_no_plan_is_told_in_one_line(tmp_path, text, came):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(PlanError, match=f"it holds {came}.*; keys with their values are needed") as caught:
        Plan.read(tmp_path / "plan.yaml")
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


def test_several_problems_are_told_at_once(edited):
    path = edited("batch: 2", "batch: 0\n  patience: 3")
    with pytest.raises(PlanError, match=r"training\.batch") as caught:
        Plan.read(path)
    assert "training.patience" in str(caught.value) and str(caught.value).count("\n") == 2


@pytest.mark.parametrize("text", ["", "- 1\n", "flair", "{}"])
def test_what_is_no_plan_at_all(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.yaml: "):
        Plan.read(path)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(PlanError, match=r"there is no such file.*striate plan COHORT --out plan\.yaml"):
        Plan.read(tmp_path / "plan.yaml")


def test_other_bytes(tmp_path):
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(PlanError, match=r"not readable as YAML"):
        Plan.read(tmp_path / "plan.yaml")
    with pytest.raises(PlanError, match=r"not readable as YAML"):
        Plan.read(tmp_path)


def test_numbers_as_people_write_them(edited):
    assert Plan.read(edited("learning_rate: 0.002", "learning_rate: 1e-3")).training.learning_rate == 1e-3


def test_one_axis_of_one_makes_slices(edited):
    path = edited("spatial_dims: 3", "spatial_dims: 2")
    path.write_text(path.read_text().replace("patch: [16, 16, 16]", "patch: [16, 16, 1]"))
    assert Plan.read(path).training.patch == (16, 16, 1)


def test_regions_are_targets(edited):
    plan = Plan.read(edited("regions: null", "regions: {all: [1, 2], core: [2]}"))
    assert plan.targets.names == ("all", "core") and not plan.targets.exclusive
