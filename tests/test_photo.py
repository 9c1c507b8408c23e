"""A user's own photograph: every kind of file gives the right picture or one line."""

import io

import numpy as np
import pytest
from PIL import Image

from flowerlib import data, photo
from flowerlib.errors import FlowerlibError

RAMP = np.linspace(0, 255, 60 * 90).reshape(60, 90, 1).repeat(3, axis=2).astype(np.uint8)
RAMP[:, :, 0] = np.linspace(255, 0, 90)


def saved(tmp_path, image, name="photo.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("resize", ["antialiased", "squashed", "nearest"])
def test_a_plain_photograph_is_what_the_data_sets_make_of_it(tmp_path, resize):
    path = saved(tmp_path, Image.fromarray(RAMP), "photo.jpg", quality=95)
    expected = data.decode(io.BytesIO(path.read_bytes()), "photo", 32, resize)
    np.testing.assert_array_equal(photo.read(path, 32, resize), expected)


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 3), (8, 1)])
def test_exif_turns_it_upright(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RAMP), "photo.jpg", quality=100, subsampling=0, exif=exif)
    upright = saved(tmp_path, Image.fromarray(np.rot90(RAMP, turned)), "upright.png")
    difference = photo.read(path, 24).astype(int) - photo.read(upright, 24).astype(int)
    assert np.abs(difference).max() <= 4


def test_grey_and_cmyk_become_rgb_and_what_is_transparent_lies_on_white(tmp_path):
    grey = photo.read(saved(tmp_path, Image.fromarray(RAMP[:, :, 1]), "grey.png"), 16)
    assert grey.shape == (16, 16, 3) and (grey[..., 0] == grey[..., 2]).all()
    cmyk = photo.read(saved(tmp_path, Image.fromarray(RAMP).convert("CMYK"), "cmyk.jpg", quality=100), 16)
    assert np.abs(cmyk.astype(int) - photo.read(saved(tmp_path, Image.fromarray(RAMP)), 16)).mean() < 4
    clear = np.dstack([RAMP, np.zeros(RAMP.shape[:2], np.uint8)])
    assert (photo.read(saved(tmp_path, Image.fromarray(clear, "RGBA"), "clear.png"), 16) == 255).all()
    palette = Image.fromarray(RAMP[:, :, 1] // 128, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    shown = photo.read(saved(tmp_path, palette, "palette.png", transparency=0), 16)
    assert shown[0, 0].tolist() == [255, 255, 255] and shown[-1, -1].tolist() == [0, 255, 0]


def test_grey_of_16_bits_is_brought_to_8(tmp_path):
    deep = Image.fromarray(RAMP[:, :, 1].astype(np.uint16) * 257)
    found = photo.read(saved(tmp_path, deep, "deep.png"), 16)
    plain = photo.read(saved(tmp_path, Image.fromarray(RAMP[:, :, 1]), "plain.png"), 16)
    assert np.abs(found.astype(int) - plain).max() <= 1


def test_the_first_picture_of_a_phones_file_of_several_is_read(tmp_path):
    first, second = Image.fromarray(RAMP), Image.fromarray(255 - RAMP)
    path = saved(tmp_path, first, "several.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert np.abs(photo.read(path, 16).astype(int) - photo.read(saved(tmp_path, first), 16)).mean() < 4


def test_a_second_resize_keeps_a_picture_that_fits_and_averages_areas():
    square = RAMP[:, :60]
    assert photo.fit(square, 60) is square
    np.testing.assert_allclose(photo.fit(square, 30), square.reshape(30, 2, 30, 2, 3).mean(axis=(1, 3)), atol=1)


def test_a_huge_jpeg_is_read_small_and_a_huge_png_refused(tmp_path):
    huge = saved(tmp_path, Image.new("RGB", (20_000, 20_000), (200, 30, 60)), "huge.jpg", quality=30)
    assert np.abs(photo.read(huge, 32).astype(int) - [200, 30, 60]).max() <= 3
    huge = saved(tmp_path, Image.new("L", (20_000, 20_000)), "huge.png")
    with pytest.raises(FlowerlibError, match=r"huge\.png cannot be read \(20000 x 20000 pixels are too many"):
        photo.read(huge, 32)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "is empty"), (b"plain text", "no picture"), ("truncated", "cannot be read")],
)
def test_what_is_no_photograph_is_said_in_one_line(tmp_path, content, said):
    path = tmp_path / "photo.jpg"
    if content == "truncated":
        whole = saved(tmp_path, Image.fromarray(RAMP), "whole.jpg").read_bytes()
        content = whole[: len(whole) // 2]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FlowerlibError, match=said) as caught:
        photo.read(path, 32)
    assert "\n" not in str(caught.value) and "photo.jpg" in str(caught.value)
