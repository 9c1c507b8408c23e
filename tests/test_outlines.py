"""Where the flower is: the official segmentations, of files made for the test in the official form."""

import numpy as np
import pytest
from PIL import Image

from flowerlib import outlines
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Data

CENTRE = Data(name="oxford102", split="official", labels="fine", size_px=40)


def segmentation(folder, number, box, size=(120, 80)):
    """A grey flower in a box (left, top, right, bottom) before the official blue, a JPEG of width x height."""
    picture = Image.new("RGB", size, (0, 0, 254))
    picture.paste((150, 140, 90), box)
    picture.save(folder / f"segmim_{number:05d}.jpg", quality=90)


def test_masks_take_the_same_centre_square_as_the_photographs(tmp_path, monkeypatch):
    segmentation(tmp_path, 1, (20, 0, 60, 80))  # the left half of the centre square
    segmentation(tmp_path, 8, (0, 20, 120, 60))
    monkeypatch.setenv("FLOWERLIB_SEGMENTATIONS", str(tmp_path))
    left, middle = outlines.official(np.array([0, 7]), CENTRE)
    assert left.shape == (40, 40) and left.dtype == bool
    assert left[:, :19].all() and not left[:, 21:].any()
    assert middle[11:29].all() and not middle[:9].any() and not middle[31:].any()


def test_masks_of_squashed_photographs_are_squashed(tmp_path, monkeypatch):
    segmentation(tmp_path, 1, (0, 0, 30, 80))  # a quarter of the width
    monkeypatch.setenv("FLOWERLIB_SEGMENTATIONS", str(tmp_path))
    [mask] = outlines.official(np.array([0]), CENTRE.model_copy(update={"resize": "squashed"}))
    assert mask[:, :9].all() and not mask[:, 11:].any()


def test_drawn_flowers_have_none(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_SEGMENTATIONS", str(tmp_path))
    assert outlines.official(np.array([0]), CENTRE.model_copy(update={"name": "drawn"})) is None


def test_without_a_folder_there_are_no_masks(monkeypatch):
    monkeypatch.delenv("FLOWERLIB_SEGMENTATIONS", raising=False)
    assert outlines.official(np.array([0]), CENTRE) is None


def test_a_folder_that_does_not_fit_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_SEGMENTATIONS", str(tmp_path / "segmin"))
    with pytest.raises(FlowerlibError, match=r"FLOWERLIB_SEGMENTATIONS=.*segmin is not a folder: unpack 102segm"):
        outlines.official(np.array([0]), CENTRE)
    monkeypatch.setenv("FLOWERLIB_SEGMENTATIONS", str(tmp_path))
    segmentation(tmp_path, 1, (20, 0, 60, 80))
    with pytest.raises(FlowerlibError, match=r"segmim_00002.jpg is missing"):
        outlines.official(np.array([0, 1]), CENTRE)
    (tmp_path / "segmim_00002.jpg").write_bytes(b"no picture")
    with pytest.raises(FlowerlibError, match=r"segmim_00002.jpg is not a readable picture: unpack 102segm"):
        outlines.official(np.array([1]), CENTRE)
    segmentation(tmp_path, 3, (0, 0, 120, 80))  # a photograph, not a segmentation
    with pytest.raises(FlowerlibError, match="shows no flower before a blue background"):
        outlines.official(np.array([2]), CENTRE)
