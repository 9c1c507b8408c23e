"""Pictures on a sheet and in files, and what `sample` says where it cannot make any."""

import numpy as np
import pytest
from PIL import Image
from test_generated import setting

from flowerlib import generated, reconstructed, sampling, sheets
from flowerlib.errors import FlowerlibError

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def test_every_picture_stands_on_the_sheet_in_its_order():
    whole = sheets.sheet(PICTURES)
    assert whole.shape == (22, 32, 3)
    np.testing.assert_array_equal(whole[2:10, 12:20], PICTURES[1])
    np.testing.assert_array_equal(whole[12:20, 2:10], PICTURES[3])
    assert (whole[12:20, 22:30] == 255).all()


def test_files_are_written_for_the_kind_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path / "cache"))
    for module in (generated, reconstructed):
        monkeypatch.setattr(module, "manifest", lambda _: "few")
    recipe, dataset, split = setting("ours-diffusion", 32, **{"data.size_px": 32, "model.widths": "[16, 32]"})
    generator = generated.build(recipe, dataset, split)
    monkeypatch.setattr(generated, "load", lambda *_: generator)
    sheet = sheets.write("ours-diffusion", "smoke", "B", 3, 7, tmp_path / "made")
    assert sheet.name == "ours_diffusion-b-seed7-sheet.png"
    assert len(list((tmp_path / "made").glob("*.png"))) == 4
    expected = sampling.sample(generator, 3, seed=7, labels=np.full(3, 1))
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "made" / "ours_diffusion-b-seed7-002.png")), expected[1]
    )
    with pytest.raises(FlowerlibError, match="'bb' is not one of the 4 kinds; did you mean b"):
        sheets.write("ours-diffusion", "smoke", "bb", 3, 7, tmp_path / "made")


def test_without_weights_the_recipe_its_minutes_and_the_command_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path))
    with pytest.raises(FlowerlibError, match="the weights of keras-diffusion are not here.*flowerlib run"):
        generated.load("keras-diffusion", "smoke")
    with pytest.raises(FlowerlibError, match="shen-coarse makes no pictures"):
        generated.load("shen-coarse", "smoke")


def test_a_name_is_found_whatever_its_capitals_and_the_closest_suggested():
    names = ("sunflower", "bird of paradise", "lotus")
    assert sampling.label(names, "Bird of Paradise") == 1
    with pytest.raises(FlowerlibError, match="'sunflwer' is not one of the 3 kinds; did you mean sunflower"):
        sampling.label(names, "sunflwer")
