"""PNG, JPEG and TIFF: axes, depth, alpha, palettes, nothing lost in silence."""

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as Pillow

from striate.core.case import Case
from striate.core.errors import FormatError, LabelError, UsageError
from striate.core.image import Image, LabelMap
from striate.data.checks.gather import gather as find_facts
from striate.inference.inputs import check_headers, gather
from striate.io.read import read_channels, read_header, read_image, read_label
from striate.io.write import write_image, write_label

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (5, 8), dtype=np.uint8)  # 5 rows, 8 columns
RGB = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)


def columns_first(rows):
    return rows.T[None] if rows.ndim == 2 else rows.transpose(2, 1, 0)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.PNG"])
@pytest.mark.parametrize("rows", [GREY, RGB], ids=["grey", "rgb"])
def test_columns_come_first(tmp_path, name, rows):
    Pillow.fromarray(rows).save(tmp_path / name)
    image, header = read_image(tmp_path / name), read_header(tmp_path / name)
    assert np.array_equal(image.array, columns_first(rows)) and np.array_equal(image.affine, np.eye(4))
    assert header.grid.shape == (8, 5) and header.channels == image.channels and header.dtype == "uint8"


@pytest.mark.parametrize("rows", [GREY, RGB], ids=["grey", "rgb"])
def test_jpeg_is_read_as_pillow_decodes_it(tmp_path, rows):
    Pillow.fromarray(rows).save(tmp_path / "a.jpg")
    assert np.array_equal(
        read_image(tmp_path / "a.jpg").array, columns_first(np.asarray(Pillow.open(tmp_path / "a.jpg")))
    )


def test_16_bit_grey_png(tmp_path):
    rows = RNG.integers(0, 65536, (5, 8), dtype=np.uint16)
    Pillow.fromarray(rows).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.array.dtype == np.uint16 and np.array_equal(image.array, columns_first(rows))
    assert read_header(tmp_path / "a.png").dtype == "uint16"


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_png_with_several_channels_is_not_cut_to_8_bits(tmp_path, channels):
    rows = RNG.integers(0, 65536, (37, 53, channels), dtype=np.uint16)
    if channels in (2, 4):
        rows[..., -1] = 65535
    sitk.WriteImage(sitk.GetImageFromArray(rows, isVector=True), str(tmp_path / "a.png"))
    image = read_image(tmp_path / "a.png")
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array, columns_first(rows if channels == 3 else rows[..., :-1]))
    assert read_header(tmp_path / "a.png").channels == image.channels


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_constant_alpha_is_left_out_with_a_note(tmp_path, mode, name):
    Pillow.fromarray(RGB).convert(mode).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.channels == {"LA": 1, "RGBA": 3}[mode] == read_header(tmp_path / name).channels
    assert any("alpha channel, 255 everywhere" in n for n in image.meta["notes"])


def test_varying_alpha_is_explained(tmp_path):
    rows = np.dstack([RGB, GREY])
    Pillow.fromarray(rows).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"transparency varies .*alpha \d+ to \d+.*flatten it"):
        read_image(tmp_path / "a.png")


def test_palette_gives_colours_to_images_and_indices_to_labels(tmp_path):
    picture = Pillow.fromarray((GREY % 3).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").channels == 3 == read_header(tmp_path / "a.png").channels
    label = read_label(tmp_path / "a.png")
    assert np.array_equal(label.array, (GREY % 3).T) and "indices" in label.meta["notes"][0]


@pytest.mark.parametrize("name", ["a.png", "deep.png", "a.tif"])
def test_four_channels_that_are_asked_for_are_colours_and_alpha(tmp_path, name):
    """As nnU-Net's NaturalImage2DIO gives them, whether transparency varies or not."""
    for alpha in (GREY, np.full_like(GREY, 255)):
        rows = np.dstack([RGB, alpha])
        if name == "deep.png":
            rows = rows.astype(np.uint16) * 256 + 7
            sitk.WriteImage(sitk.GetImageFromArray(rows, isVector=True), str(tmp_path / name))
        else:
            Pillow.fromarray(rows).save(tmp_path / name)
        assert read_header(tmp_path / name, stack=4).channels == 4
        assert np.array_equal(read_image(tmp_path / name, stack=4).array, columns_first(rows))
        case = Case(
            name.split(".")[0], name.split(".")[0], dict.fromkeys(["red", "green", "blue", "alpha"], tmp_path / name)
        )
        assert gather([tmp_path / name], tuple(case.channels)) == [case] and check_headers(case, 2)[1] == 4
        found = read_channels(case)
        assert np.array_equal(found["alpha"].array, columns_first(rows[..., 3]))
        assert find_facts(case).channels["alpha"].maximum == rows[..., 3].max()
    assert read_image(tmp_path / name, stack=3).channels == 3 == read_header(tmp_path / name, stack=3).channels


def test_a_palette_of_greys_is_three_colours_where_three_are_asked_for(tmp_path):
    picture = Pillow.fromarray((GREY % 4).astype(np.uint8)).convert("P")
    picture.putpalette([v for k in range(4) for v in (k * 60,) * 3])
    picture.save(tmp_path / "a_0000.png")
    (case,) = gather([tmp_path], ("red", "green", "blue"))
    assert check_headers(case, 2)[1] == 3
    found = read_channels(case)
    assert all(np.array_equal(found[name].array, columns_first(GREY % 4 * 60)) for name in ("red", "green", "blue"))


def test_palette_of_greys_is_one_channel(tmp_path):
    picture = Pillow.fromarray((GREY % 4).astype(np.uint8)).convert("P")
    picture.putpalette([v for k in range(4) for v in (k * 60,) * 3])
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.channels == 1 == read_header(tmp_path / "a.png").channels and image.array.max() == 180


def test_one_bit_png_is_a_mask(tmp_path):
    Pillow.fromarray(GREY > 128).save(tmp_path / "a.png")
    assert np.array_equal(read_label(tmp_path / "a.png").array, (GREY > 128).T)


def test_lossy_label_maps_are_refused(tmp_path):
    Pillow.fromarray(GREY).save(tmp_path / "a.jpg")
    with pytest.raises(LabelError, match=r"a label map as JPEG; a format without loss"):
        read_label(tmp_path / "a.jpg")
    with pytest.raises(LabelError, match=r"a label map as JPEG; a format without loss"):
        write_label(tmp_path / "b.jpg", LabelMap(GREY.T, np.eye(4)))
    assert not (tmp_path / "b.jpg").exists()


def test_colours_are_not_labels_but_equal_channels_are(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(LabelError, match=r"a label map in \d+ colours; one whole number per pixel"):
        read_label(tmp_path / "a.png")
    Pillow.fromarray((GREY % 2) * 255).convert("RGB").save(tmp_path / "b.png")
    label = read_label(tmp_path / "b.png")
    assert label.values() == (1,) and len(label.meta["notes"]) == 2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npz"])
@pytest.mark.parametrize("top", [1, 255, 256, 60000])
def test_labels_come_back(tmp_path, name, top):
    array = np.zeros((8, 5), np.int64)
    array[2, 3] = top
    array[4, 4] = max(top - 1, 1)
    write_label(tmp_path / name, LabelMap(array, np.diag([0.5, 0.25, 1, 1])))
    label = read_label(tmp_path / name)
    assert np.array_equal(label.array, array) and np.array_equal(label.affine, np.diag([0.5, 0.25, 1, 1]))
    assert label.array.dtype == (np.uint8 if top < 256 else np.uint16)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i2", "i4", "f4", "f8"])
def test_tiff_keeps_numbers_and_affine(tmp_path, kind):
    array = RNG.normal(100, 20, (1, 8, 5)).astype(kind)
    affine = np.diag([0.1, 0.3, 1, 1])
    write_image(tmp_path / "a.tif", Image(array, affine))
    image = read_image(tmp_path / "a.tif")
    assert image.array.dtype == np.dtype(kind) and np.array_equal(image.array, array)
    assert np.array_equal(image.affine, affine) and np.array_equal(read_header(tmp_path / "a.tif").grid.affine, affine)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), array[0].T)


def test_16_bit_rgb_tiff_planar_too(tmp_path):
    rows = RNG.integers(0, 65536, (5, 8, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", rows, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", rows.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    for name in ("a.tif", "b.tif"):
        assert np.array_equal(read_image(tmp_path / name).array, columns_first(rows))
        assert read_header(tmp_path / name).channels == 3


def test_tiff_in_a_compression_of_pillow(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif").array, columns_first(RGB))


def test_several_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 8), np.uint8), photometric="minisblack")
    with pytest.raises(FormatError, match=r"4 pages in one file; one picture is needed"):
        read_image(tmp_path / "a.tif")


def test_what_a_picture_cannot_hold_is_refused(tmp_path):
    for name, array in (("a.png", np.zeros((1, 4, 5, 6), np.uint8)), ("a.png", np.zeros((1, 4, 5), np.float32) + 0.5)):
        with pytest.raises(UsageError, match=r"is not a picture of this format"):
            write_image(tmp_path / name, Image(array, np.eye(4)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"JPEG cannot keep an affine"):
        write_image(tmp_path / "a.jpg", Image(np.zeros((1, 4, 5), np.uint8), np.diag([2.0, 2, 1, 1])))
