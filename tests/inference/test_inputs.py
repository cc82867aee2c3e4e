"""What the user may give, and how it becomes cases with the model's channels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import DataError, GeometryError, LayoutError, ModelError, UsageError
from striate.core.image import Image
from striate.inference.inputs import check_all_headers, check_headers, gather, group, match
from striate.io.write import write_image

TWO = ("flair", "t1c")


def _scan(path: Path, shape=(1, 6, 5, 4), affine=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
    write_image(path, Image(array, np.eye(4) if affine is None else affine))
    return path


def _names(cases):
    return {case.name: [p.name for p in case.channels.values()] for case in cases}


def test_one_file_for_a_model_of_one_channel(tmp_path):
    cases = gather([_scan(tmp_path / "P 1 é.nii.gz")], ("flair",))
    assert _names(cases) == {"P 1 é": ["P 1 é.nii.gz"]}
    assert list(cases[0].channels) == ["flair"]


def test_the_number_0000_of_a_single_channel_is_no_part_of_the_name(tmp_path):
    assert _names(gather([_scan(tmp_path / "a_0000.nii.gz")], ("flair",))) == {"a": ["a_0000.nii.gz"]}


def test_several_files_for_a_model_of_one_channel_are_several_cases(tmp_path):
    files = [_scan(tmp_path / f"{n}.nii") for n in "ab"]
    assert list(_names(gather(files, ("flair",)))) == ["a", "b"]


def test_the_number_0000_of_pictures_that_hold_all_channels(tmp_path):
    files = [_scan(tmp_path / f"{n}_0000.png", (3, 6, 5)) for n in "ab"]
    assert _names(gather([tmp_path], tuple("RGB"))) == {"a": ["a_0000.png"] * 3, "b": ["b_0000.png"] * 3}
    with pytest.raises(ModelError, match=r"case a: 1 channel \(_0000\); the model needs 2"):
        gather(files[:1], TWO)


def test_nnunet_numbers_in_any_order(tmp_path):
    files = [_scan(tmp_path / n) for n in ("b_0001.nii.gz", "a_0000.nii.gz", "b_0000.nii.gz", "a_0001.nii.gz")]
    found = _names(gather(files, TWO))
    assert found == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b": ["b_0000.nii.gz", "b_0001.nii.gz"]}
    assert _names(gather([tmp_path], TWO)) == found


def test_files_named_by_channel_in_any_order(tmp_path):
    files = [_scan(tmp_path / "sub-1_T1c.nii.gz"), _scan(tmp_path / "sub-1_FLAIR.nii.gz")]
    assert _names(gather(files, TWO)) == {"sub-1": ["sub-1_FLAIR.nii.gz", "sub-1_T1c.nii.gz"]}


def test_files_named_by_nothing_else_take_the_folder_as_case(tmp_path):
    files = [_scan(tmp_path / "anna" / "t1c.nii.gz"), _scan(tmp_path / "anna" / "flair.nii.gz")]
    assert _names(gather(files, TWO)) == {"anna": ["flair.nii.gz", "t1c.nii.gz"]}


def test_channel_files_of_one_case_in_order(tmp_path):
    files = [_scan(tmp_path / "scan_b.nii.gz"), _scan(tmp_path / "scan_a.nii.gz")]
    assert _names(gather(files, TWO)) == {"scan": ["scan_b.nii.gz", "scan_a.nii.gz"]}


def test_a_file_that_holds_all_channels(tmp_path):
    case = gather([_scan(tmp_path / "both.nii.gz", shape=(2, 6, 5, 4))], TWO)[0]
    assert list(case.channels) == ["flair", "t1c"] and len(set(case.channels.values())) == 1
    assert check_headers(case, 3)[1] == 2
    picture = gather([_scan(tmp_path / "rgb.png", shape=(3, 8, 9))], ("red", "green", "blue"))[0]
    assert check_headers(picture, 2)[0].shape == (8, 9)


def test_a_folder_of_bare_images(tmp_path):
    for name in ("b.png", "a.png"):
        _scan(tmp_path / "pictures" / name, shape=(1, 8, 9))
    assert list(_names(gather([tmp_path / "pictures"], ("image",)))) == ["a", "b"]


def test_a_dead_link_in_a_folder_of_bare_images_is_told_not_left_out(tmp_path):
    _scan(tmp_path / "scans" / "a.nii.gz")
    (tmp_path / "scans" / "b.nii.gz").symlink_to(tmp_path / "moved.nii.gz")
    with pytest.raises(LayoutError, match=r"b\.nii\.gz: .*It is a link to .*moved\.nii\.gz, which is missing"):
        gather([tmp_path / "scans"], ("flair",))


def test_a_cohort_folder_and_a_csv(tmp_path):
    root = tmp_path / "Dataset001_x"
    for case in "ab":
        for n in range(2):
            _scan(root / "imagesTr" / f"{case}_{n:04d}.nii.gz")
        _scan(root / "labelsTr" / f"{case}.nii.gz")
    facts = {"channel_names": {"0": "T1c", "1": "FLAIR"}, "labels": {"background": 0, "x": 1}, "numTraining": 2}
    facts["file_ending"] = ".nii.gz"
    (root / "dataset.json").write_text(json.dumps(facts))
    found = gather([root], TWO)
    assert _names(found)["a"] == ["a_0001.nii.gz", "a_0000.nii.gz"]  # by name, not by number
    assert found[0].label is not None
    table = tmp_path / "cohort.csv"
    table.write_text("subject,flair,t1c\nS1,Dataset001_x/imagesTr/a_0001.nii.gz,Dataset001_x/imagesTr/a_0000.nii.gz\n")
    assert _names(gather([table], TWO)) == {"S1": ["a_0001.nii.gz", "a_0000.nii.gz"]}


def test_channels_of_a_case():
    files = {"t1c": Path("t1c.nii"), "flair": Path("flair.nii"), "t2": Path("t2.nii")}
    assert list(match(Case("a", "a", files), TWO).channels.values()) == [Path("flair.nii"), Path("t1c.nii")]
    plain = {"channel0": Path("x.nii"), "channel1": Path("y.nii")}
    assert match(Case("a", "a", plain), TWO).channels == {"flair": Path("x.nii"), "t1c": Path("y.nii")}
    with pytest.raises(
        ModelError, match="case a: channels t1c, t2w; the model was trained on flair, t1c, so flair is missing"
    ):
        match(Case("a", "a", {"t1c": Path("x"), "t2w": Path("y")}), TWO)


@pytest.mark.parametrize(
    ("files", "error", "match"),
    [
        (["a_0000.nii.gz"], ModelError, r"case a: 1 channel (_0000); the model needs 2: _0000 (flair), _0001 (t1c)"),
        (["a_0000.nii.gz", "a_0002.nii.gz"], ModelError, "case a: 2 channels (_0000, _0002)"),
        (["a_flair.nii.gz"], ModelError, "case a: channels flair; the model needs flair, t1c too"),
        (["x.nii.gz"], ModelError, "1 file that does not say which channel it is; the model needs 2 channels"),
        (["x.nii.gz", "y.nii.gz", "z.nii.gz"], ModelError, "3 files that do not say which channel they are"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, files, error, match):
    with pytest.raises(error, match=re.escape(match)):
        gather([_scan(tmp_path / name) for name in files], TWO)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(UsageError, match="no INPUT was given"):
        gather([], TWO)
    with pytest.raises(DataError, match="there is no such file or folder"):
        gather([tmp_path / "nothing.nii.gz"], TWO)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="an empty folder"):
        gather([tmp_path / "empty"], TWO)
    (tmp_path / "a.nii.gz").write_text("text")
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        check_headers(gather([tmp_path / "a.nii.gz"], ("flair",))[0], 3)


def test_two_cases_of_one_name(tmp_path):
    files = [_scan(tmp_path / "one" / "a.nii.gz"), _scan(tmp_path / "two" / "a.nii.gz")]
    with pytest.raises(DataError, match=r"case a: it is given twice \(.*one/a\.nii\.gz, .*two/a\.nii\.gz\); each"):
        gather(files, ("flair",))


def test_headers_tell_of_axes_channels_and_grids(tmp_path):
    flat = Case("a", "a", {"flair": _scan(tmp_path / "a.png", shape=(1, 8, 9))})
    with pytest.raises(
        GeometryError, match=r"case a: a\.png is 2D, shape \(8, 9\); the model was trained on 3D images"
    ):
        check_headers(flat, 3)
    colour = Case("c", "c", {"image": _scan(tmp_path / "c.png", shape=(3, 8, 9))})
    with pytest.raises(ModelError, match=r"case c: c\.png holds 3 channels; the model takes 1 from it \(image\)"):
        check_headers(colour, 2)
    other = _scan(tmp_path / "t.nii.gz", affine=np.diag([2.0, 1, 1, 1]))
    apart = Case("b", "b", {"flair": _scan(tmp_path / "f.nii.gz"), "t1c": other})
    with pytest.raises(GeometryError, match=r"case b: t\.nii\.gz has shape .* spacing 2 × 1 × 1 mm"):
        check_headers(apart, 3)


def test_all_cases_that_do_not_fit_are_told_at_once(tmp_path):
    for name in ("a", "b", "c"):
        _scan(tmp_path / f"{name}.nii.gz")
    cases = gather([tmp_path], ("flair",))
    assert list(check_all_headers(cases, 3, [tmp_path])) == ["a", "b", "c"]
    for name in ("a", "c"):
        (tmp_path / f"{name}.nii.gz").write_text("text")
    with pytest.raises(DataError) as caught:
        check_all_headers(cases, 3, [tmp_path])
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of 3 cases cannot be predicted, so nothing was:"
    assert "a.nii.gz" in lines[1] and "c.nii.gz" in lines[2]
    assert lines[3] == f"  striate check {tmp_path} shows every problem of files."
    table = tmp_path / "cohort.csv"
    with pytest.raises(DataError, match=r"^2 of 3 cases cannot be audited, so nothing was:") as audited:
        check_all_headers(cases, 3, [table], done="audited")
    assert str(audited.value).endswith(f"\n  striate check {table} shows every problem of files.")
    with pytest.raises(DataError) as single:
        check_all_headers(cases[:2], 3, [tmp_path])
    assert "\n" not in str(single.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"{case}_0000.nii.gz" for case in "abc"] + ["b_0001.nii.gz"], ["case a: 1 channel (_0000)", "case c: 1 channel"]),
        (["a_flair.nii.gz", "b_t1c.nii.gz", "c_flair.nii.gz", "c_t1c.nii.gz"], ["case a: channels flair", "case b: channels t1"]),
    ],
)  # fmt: skip
def test_all_cases_without_the_channels_of_the_model_are_told_at_once(tmp_path, names, told):
    with pytest.raises(ModelError) as caught:
        gather([_scan(tmp_path / name) for name in names], TWO)
    first, *lines = str(caught.value).splitlines()
    assert first == "2 of 3 inputs do not fit:" and len(lines) == 2
    assert all(line.strip().startswith(text) for line, text in zip(lines, told, strict=True))


def test_all_paths_that_lead_nowhere_are_told_at_once(tmp_path):
    paths = [tmp_path / f"{index}.nii.gz" for index in range(13)]
    with pytest.raises(DataError) as caught:
        gather([_scan(tmp_path / "there.nii.gz"), *paths], ("flair",))
    lines = str(caught.value).splitlines()
    assert lines[0] == "13 of 14 inputs do not fit:" and lines[-1] == "  and 3 more" and len(lines) == 12
    assert lines[1].strip().startswith(f"{paths[0]}: there is no such file or folder")


def test_a_channel_whose_name_ends_like_another_is_not_taken_for_it(tmp_path):
    files = [tmp_path / f"P1_{name}.nii.gz" for name in ("t1w", "ce-gadolinium_t1w")]
    for file in files:
        file.touch()
    (case,) = group(files[::-1], ("ce-gadolinium_t1w", "t1w"))
    assert case.name == "P1"
    assert [p.name for p in case.channels.values()] == ["P1_ce-gadolinium_t1w.nii.gz", "P1_t1w.nii.gz"]
    (case,) = group(files, ("t1w", "ce-gadolinium_t1w"))
    assert [p.name for p in case.channels.values()] == ["P1_t1w.nii.gz", "P1_ce-gadolinium_t1w.nii.gz"]
