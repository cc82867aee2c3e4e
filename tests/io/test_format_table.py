"""The contract of every file format, run over the table."""

import contextlib

import numpy as np
import pytest

from striate.core.errors import FormatError, GeometryError, StriateError, UsageError
from striate.core.image import Image, LabelMap
from striate.io.formats import EXTENSIONS, FORMATS, by_extension
from striate.io.formats.nifti import Nifti
from striate.io.read import extension, is_image, read_header, read_image, read_label, stem
from striate.io.write import write_image, write_label

ENDINGS = sorted(EXTENSIONS)
WRITTEN = [e for e in ENDINGS if e not in (".mhd", ".nhdr", ".dcm", ".ima")]
LOSSLESS = [e for e in WRITTEN if not EXTENSIONS[e].lossy]


def sample(ending):
    """Return an image that the format holds."""
    flat = EXTENSIONS[ending].name in ("png", "jpeg", "tiff")
    array = np.random.default_rng(0).integers(0, 250, (1, 7, 5) if flat else (1, 7, 5, 4)).astype(np.uint8)
    return Image(array, np.eye(4))


def test_two_formats_cannot_claim_one_ending():
    with pytest.raises(UsageError, match=r"ending \.nii: claimed by the formats nifti and nifti"):
        by_extension([Nifti(), Nifti()])


@pytest.mark.parametrize("each", FORMATS, ids=lambda f: f.name)
def test_endings_are_lower_case_with_a_dot(each):
    assert each.extensions and all(e == e.lower() and e.startswith(".") for e in each.extensions)


@pytest.mark.parametrize("ending", WRITTEN)
def test_written_images_are_read_back(tmp_path, ending):
    path = tmp_path / f"a file ü{ending}"
    write_image(path, sample(ending))
    image, header = read_image(path), read_header(path)
    assert image.grid.matches(sample(ending).grid) and header.grid.matches(image.grid)
    assert (header.channels, header.dtype, header.format) == (
        image.channels,
        image.array.dtype.name,
        EXTENSIONS[ending].name,
    )
    assert header.file_bytes == path.stat().st_size and image.meta["format"] == header.format
    assert EXTENSIONS[ending].lossy or np.array_equal(image.array, sample(ending).array)


@pytest.mark.parametrize("ending", LOSSLESS)
def test_labels_above_255_survive(tmp_path, ending):
    array = sample(ending).array[0].astype(np.int32)
    array[0, 0] = 40000
    write_label(tmp_path / f"a{ending}", LabelMap(array, np.eye(4)))
    assert np.array_equal(read_label(tmp_path / f"a{ending}").array, array)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "data",
    [b"", b"hello, this is no image at all\n" * 40, b"\x1f\x8b\x08\0", bytes(2000)],
    ids=["empty", "text", "gzip", "zeros"],
)
def test_other_content_is_refused_with_the_path(tmp_path, ending, data):
    path = tmp_path / f"a{ending}"
    path.write_bytes(data)
    for read in (read_image, read_header):
        with pytest.raises(FormatError, match=f"{path}: .+ needed") as caught:
            read(path)
        assert caught.value.path == str(path) and caught.value.exit_code == 3


@pytest.mark.parametrize("ending", WRITTEN)
def test_every_truncation_is_a_sentence(tmp_path, ending):
    write_image(tmp_path / f"whole{ending}", sample(ending))
    data = (tmp_path / f"whole{ending}").read_bytes()
    path = tmp_path / f"cut{ending}"
    for share in (0.05, 0.3, 0.5, 0.8, 0.97):
        path.write_bytes(data[: int(len(data) * share)])
        image = said = None
        try:
            image = read_image(path)
        except StriateError as error:
            said = str(error)
        if image is None:
            assert str(path) in said
        else:
            lossy_tail = EXTENSIONS[ending].lossy or EXTENSIONS[ending].name in ("itk", "png", "tiff")
            assert lossy_tail and image.grid.matches(sample(ending).grid), f"{share} of the file was read as a whole"


@pytest.mark.parametrize("ending", WRITTEN)
def test_damaged_bytes_never_give_another_exception(tmp_path, ending):
    write_image(tmp_path / f"whole{ending}", sample(ending))
    data = (tmp_path / f"whole{ending}").read_bytes()
    path = tmp_path / f"hurt{ending}"
    rng = np.random.default_rng(5)
    for _ in range(40):
        hurt = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            hurt[at] = rng.integers(0, 256)
        path.write_bytes(hurt)
        with contextlib.suppress(FormatError, GeometryError):
            read_image(path)


@pytest.mark.parametrize(
    ("name", "ending", "bare"),
    [
        ("a.nii.gz", ".nii.gz", "a"),
        ("P1.v2.NII.GZ", ".nii.gz", "P1.v2"),
        ("a.Nii", ".nii", "a"),
        ("a.JPG", ".jpg", "a"),
    ],
)
def test_names(name, ending, bare):
    assert extension(name) == ending and stem(name) == bare and is_image(name)


def test_names_that_are_no_images():
    assert not any(is_image(n) for n in ("a.txt", "a.gz", ".nii.gz", "._a.nii.gz", "a", "dataset.json", "a" * 5000))
    assert stem("a.b.txt") == "a.b"
