"""The CSV that settles everything, and what may be wrong with one."""

# ruff: noqa: E501  (tables of cases, one to a line)

import pytest

from striate.core.errors import LayoutError
from striate.io.layouts import recognise


@pytest.fixture
def table(make):
    root = make(
        "P1_flair.nii.gz",
        "P1_t1.nii.gz",
        "P1_mask.nii.gz",
        "sub dir/P2 flair.nii.gz",
        "sub dir/P2 t1.nii.gz",
        "sub dir/P2 mask.nii.gz",
    )

    def write(text, name="c.csv", encoding="utf-8"):
        (root / name).write_bytes(text.encode(encoding))
        return root / name

    return write


ROW1, ROW2 = (
    "P1_flair.nii.gz,P1_t1.nii.gz,P1_mask.nii.gz",
    "sub dir/P2 flair.nii.gz,sub dir/P2 t1.nii.gz,sub dir/P2 mask.nii.gz",
)


def test_everything_a_table_can_say(table):
    path = table(f"Subject,FLAIR,T1,Label,Split,Site,age,case\nP1,{ROW1},Train,Zürich,44,one\n\nP2,{ROW2},val,,,two\n")
    (path.parent / "c.labels.json").write_text('{"1": "lesion"}')
    layout = recognise(path)
    one, two = layout.cases
    assert (layout.name, layout.modality, layout.label_names) == ("csv", "mr", {1: "lesion"})
    assert (one.name, one.subject, one.split, dict(one.metadata)) == (
        "one",
        "P1",
        "train",
        {"site": "Zürich", "age": "44"},
    )
    assert (two.name, two.split, dict(two.metadata)) == ("two", "validation", {})
    assert list(two.channels) == ["flair", "t1"] and two.channels["t1"] == path.parent / "sub dir" / "P2 t1.nii.gz"
    assert two.label == path.parent / "sub dir" / "P2 mask.nii.gz"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_separators_and_encodings(table, mark, encoding):
    path = table(f"subject{mark}flair{mark}site\r\nP1{mark}P1_flair.nii.gz{mark}Orléans\r\n", encoding=encoding)
    assert recognise(path).cases[0].metadata["site"] == "Orléans"


def test_a_folder_with_cohort_csv(table):
    path = table("subject,flair\nP1,P1_flair.nii.gz\n", name="cohort.csv")
    assert recognise(path.parent).name == "csv"


def test_numbered_labels_are_further_raters(table):
    text = "subject,flair,label,label_2,label_3\nP1,P1_flair.nii.gz,P1_mask.nii.gz,P1_mask.nii.gz,\n"
    case = recognise(table(text)).cases[0]
    assert case.label is not None and list(case.raters) == ["2"]


def test_visits_raters_synonyms_and_backslashes(table):
    text = (
        "patient,time,flair,mask,rater_anna\nP1,1,P1_flair.nii.gz,P1_mask.nii.gz,P1_mask.nii.gz\n"
        "P1,2,sub dir\\P2 flair.nii.gz,,\n"
    )
    layout = recognise(table(text))
    assert [(c.name, c.subject) for c in layout.cases] == [("P1_1", "P1"), ("P1_2", "P1")]
    assert list(layout.cases[0].raters) == ["anna"] and layout.cases[1].label is None and not layout.cases[1].raters
    assert layout.notes == [
        "column 'patient' was taken as subject",
        "column 'mask' was taken as label",
        "1 of 2 cases has no label",
    ]


def test_channels_that_share_a_file_are_its_last_axis(table, make):
    make("4d.nii.gz", shape=(3, 4, 5, 2))
    from striate.io.read import read_channels

    case = recognise(table("subject,flair,t1\nP1,4d.nii.gz,4d.nii.gz\n")).cases[0]
    assert [i.array.shape for i in read_channels(case).values()] == [(1, 3, 4, 5)] * 2


def test_classes_of_the_whole_image(table):
    text = (
        "subject,flair,label,Class,site\nP1,P1_flair.nii.gz,P1_mask.nii.gz,Benign,a\nP2,P1_t1.nii.gz,, b;10 ;9,\n"
        "P3,P1_t1.nii.gz,,NONE,\nP4,P1_t1.nii.gz,,,\n"
    )
    layout = recognise(table(text))
    assert [c.classes for c in layout.cases] == [("Benign",), ("9", "10", "b"), (), None]
    assert layout.cases[0].label is not None and layout.cases[0].metadata == {"site": "a"}
    assert layout.notes == ["3 of 4 cases have no label", "1 of 4 cases has no class"]
    text = "subject;flair;classes\nP1;P1_flair.nii.gz;'a;b'\n".replace("'", '"')
    assert recognise(table(text)).cases[0].classes == ("a", "b")
    assert recognise(table(text)).notes == ["column 'classes' was taken as class"]


def test_subjects_of_a_table_of_classes_may_have_several_images(table):
    rows = "P1,P1_flair.nii.gz,a\nP1,sub dir/P2 flair.nii.gz,b\nP2,sub dir/P2 t1.nii.gz,a\n"
    layout = recognise(table("subject,image,class\n" + rows))
    assert [(c.name, c.subject) for c in layout.cases] == [
        ("P1_flair", "P1"),
        ("P1_P2 flair", "P1"),
        ("P2", "P2"),
    ]


def test_metadata_may_have_any_name(table):
    text = "subject,flair,slit,sit,cases_seen,Spalte ä,date\nP1,P1_flair.nii.gz,a,b,c,d,2024/01/02\n"
    assert recognise(table(text)).cases[0].metadata == {
        "slit": "a",
        "sit": "b",
        "cases_seen": "c",
        "spalte ä": "d",
        "date": "2024/01/02",
    }


@pytest.mark.parametrize("word", ["", "n/a", "NA", "NaN", "null", "Missing", "-"])
def test_cells_that_say_nothing_are_no_metadata(table, word):
    text = f"subject,flair,label,class,age,artefact,scanner\nP1,P1_flair.nii.gz,,none,{word},none,{word}\n"
    text += f"P2,sub dir/P2 flair.nii.gz,,NA,41,motion,{word}\n"
    layout = recognise(table(text))
    assert [c.metadata for c in layout.cases] == [{"artefact": "none"}, {"age": "41", "artefact": "motion"}]
    assert [c.classes for c in layout.cases] == [(), ("NA",)] and layout.columns == ["age", "artefact", "scanner"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"it is empty; a header and one row per case are needed.*subject,flair,label"),
        ("\n , ,\n", r"it is empty"),
        ("subject,flair\n", r"a header and no rows"),
        ("subject,flair,lable\nP1,P1_flair.nii.gz,P1_mask.nii.gz\n", r"unknown column 'lable'.* Did you mean 'label'\?"),
        ("subject,flair,labels\nP1,P1_flair.nii.gz,P1_mask.nii.gz\n", r"unknown column 'labels'.* Did you mean 'label'\?"),
        ("subjct,flair\nP1,P1_flair.nii.gz\n", r"unknown column 'subjct'.* Did you mean 'subject'\?"),
        ("subject,flair,spilt\nP1,P1_flair.nii.gz,train\n", r"unknown column 'spilt'.* Did you mean 'split'\?"),
        ("flair,label\nP1_flair.nii.gz,P1_mask.nii.gz\n", r"columns flair, label; a column 'subject' is needed"),
        ("subject,flair,flair\nP1,P1_flair.nii.gz,P1_t1.nii.gz\n", r"two columns named 'flair'"),
        ("subject,flair,Mask,label\nP1,P1_flair.nii.gz,P1_mask.nii.gz,P1_mask.nii.gz\n", r"columns 'label' and 'mask' both look like label maps"),
        ("subject,age\nP1,44\n", r"columns subject, age, none of them with image files"),
        ("subject,flair\nP1,P1_flare.nii.gz\n", r"row 2, column 'flair': .*P1_flare\.nii\.gz: there is no such file.*Did you mean 'P1_flair\.nii\.gz'"),
        ("subject,flair,t1\nP1,P1_flair.nii.gz,\n\nP2,P1_flair.nii.gz,P1_t1.nii.gz\n", r"row 2, column 't1': an empty cell; every case needs all"),
        ("subject,flair,t1\nP1,P1_flair.nii.gz,P1_t1.nii.gz\nP2,P1_flair.nii.gz,yes\n", r"row 3, column 't1': .*yes: there is no such file"),
        ("subject,flair\nP1,P1_flair.nii.gz\nP1,P1_t1.nii.gz\n", r"rows 2 and 3 are both 'P1' \(duplicate subject\).*column 'time' or 'case'"),
        ("subject,flair\n,P1_flair.nii.gz\n", r"row 2: no subject"),
        ("subject,flair\na/b,P1_flair.nii.gz\n", r"row 2: the name 'a/b'; a name without slashes"),
        ("subject,flair,split\nP1,P1_flair.nii.gz,holdout\n", r"row 2: split 'holdout'; train, validation, test or nothing"),
        ("subject,flair\nP1,P1_flair.nii.gz,extra\n", r"row 2: 3 cells; 2 are needed.*into quotes"),
        ('subject,flair\nP1,"P1_flair.nii.gz\n', r"not a valid table"),
        ("subject,flair\0\nP1,x\n", r"it holds zero bytes"),
        ("subject,flair,label\nP1,P1_flair.nii.gz,gone.nii.gz\n", r"row 2, column 'label': .*gone\.nii\.gz: there is no such file"),
        ("subject,flair,label\nP1,P1_flair.nii.gz,1\n", r"row 2, column 'label': .*there is no such file"),
        ("subject,flair,label\nP1,P1_flair.nii.gz,benign\n", r"row 2, column 'label': 'benign', .*names of classes of the whole image, call the column 'class'"),
        ("subject,flair,class\nP1,P1_flair.nii.gz,P1_mask.nii.gz\n", r"row 2, column 'class': 'P1_mask\.nii\.gz' is an image file; names of classes .*column 'label'"),
        ("subject,flair,class\nP1,P1_flair.nii.gz,a;;b\n", r"row 2, column 'class': class name ''; .*joined by ';'"),
        ("subject,flair,class\nP1,P1_flair.nii.gz,a;a\n", r"row 2, column 'class': class 'a' twice"),
        ("subject,flair,class\nP1,P1_flair.nii.gz,a;None\n", r"a class named 'None'; .*only 'none' says none of them"),
        ("subject,flair,clas\nP1,P1_flair.nii.gz,a\n", r"unknown column 'clas'.* Did you mean 'class'\?"),
        ("subject,case,flair,class\nP1,x,P1_flair.nii.gz,a\nP1,x,P1_t1.nii.gz,a\n", r"rows 2 and 3 are both 'x'"),
    ],
)  # fmt: skip
def test_what_may_be_wrong(table, text, words):
    path = table(text)
    with pytest.raises(LayoutError, match=words) as caught:
        recognise(path)
    assert caught.value.exit_code == 3 and "c.csv" in str(caught.value)


def test_all_rows_that_cannot_be_used_are_told_at_once(table):
    rows = [f"P{n},{'P1_flair.nii.gz' if n == 3 else f'gone{n}.nii.gz'},train" for n in range(1, 15)]
    rows[5] = "P6,,train"
    rows[7] = "P8,P1_flair.nii.gz,holdout"
    path = table("\n".join(["subject,flair,split", *rows]))
    with pytest.raises(LayoutError) as caught:
        recognise(path)
    first, *lines, last = str(caught.value).splitlines()
    assert first == f"13 of 14 rows of {path} cannot be used:" and last == "  and 3 more" and len(lines) == 10
    for line, row in zip(lines, (2, 3, 5, 6, 7, 8, 9, 10, 11, 12), strict=True):
        assert line.startswith(f"  {path} row {row}")
    assert (
        "gone1.nii.gz: there is no such file" in lines[0]
        and "an empty cell" in lines[4]
        and "split 'holdout'" in lines[6]
    )


def test_a_table_that_cannot_be_read(table, monkeypatch):
    path = table("subject,flair\n")
    monkeypatch.setattr(
        type(path), "read_bytes", lambda self: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(LayoutError, match=r"c\.csv: not readable \(Permission denied\); a CSV is needed"):
        recognise(path)
