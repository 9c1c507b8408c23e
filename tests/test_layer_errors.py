"""Errors inside an int8 file, layer by layer."""

import keras
import numpy as np
import pytest

from flowerlib import layer_errors, lite, quantization, synthetic
from flowerlib.models.transfer import transfer

SIDE = 64
PICTURES = synthetic.draw(np.arange(12) * 8, np.arange(12), SIDE)[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = transfer(3, SIDE, "efficientnet_lite0", hidden=(8,))
    folder = tmp_path_factory.mktemp("layers")
    for kind in ("float32", "int8"):
        pictures = PICTURES if kind == "int8" else None
        quantization.export(model, kind, folder / kind, ("a", "b", "c"), pictures=pictures)
    return model, folder


def test_a_file_has_no_error_against_itself(files):
    _, folder = files
    table = layer_errors.compare(folder / "float32", folder / "float32", PICTURES[:2])
    assert len(table) > 50 and (table["error"] == 0).all()


def test_every_layer_bears_its_name_in_the_networks_order(files):
    model, folder = files
    table = layer_errors.compare(folder / "float32", folder / "int8", PICTURES[:4])
    names = [layer.name for layer in model.layers]
    places = [names.index(each) for each in table["layer"]]
    assert places == sorted(places) and len(set(places)) == len(places)
    assert {"stem_relu", "block_2_add", "pooled", "logits"} <= set(table["layer"])


def test_errors_are_small_and_grow_with_depth(files):
    _, folder = files
    errors = layer_errors.compare(folder / "float32", folder / "int8", PICTURES[:4]).set_index("layer")["error"]
    assert 0 < errors["stem_relu"] < 0.05 and (errors < 0.5).all()
    assert errors["stem_relu"] < errors["block_10_add"]


def test_the_error_of_the_logits_is_that_of_the_files_own_answers(files):
    _, folder = files
    both = [np.stack([lite.load(folder / kind).logits(each) for each in PICTURES]) for kind in ("float32", "int8")]
    expected = np.sqrt(np.square(both[1] - both[0]).sum() / np.square(both[0]).sum())
    table = layer_errors.compare(folder / "float32", folder / "int8", PICTURES).set_index("layer")
    # The delegate that answers rounds an integer now and then to the other side.
    assert table.loc["logits", "error"] == pytest.approx(expected, rel=0.2)
