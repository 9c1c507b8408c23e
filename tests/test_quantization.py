"""LiteRT files: each kind against Keras, names inside, representative pictures from the training part alone."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from flowerlib import lite, quantization, synthetic
from flowerlib.errors import FlowerlibError
from flowerlib.models.transfer import transfer
from flowerlib.splits import Part, Split

SIDE, NAMES = 64, ("daisy", "lotus", "rose")
PICTURES = synthetic.draw(np.arange(12) * 8, np.arange(12), SIDE)[0]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return transfer(len(NAMES), SIDE, "efficientnet_lite0")


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    for kind in quantization.KINDS:
        pictures = PICTURES if kind == "int8" else None
        quantization.export(model, kind, folder / f"{kind}.tflite", NAMES, pictures=pictures, run="tiny")
    return folder


def split():
    parts = np.arange(30).reshape(3, 10)
    return Split(*(Part(each, np.zeros(10, int)) for each in parts), names=NAMES)


def test_representative_pictures_come_from_the_training_part_alone():
    found = quantization.representative(split(), 10)
    assert sorted(found.tolist()) == list(range(10))
    assert (quantization.representative(split(), 4) == found[:4]).all()
    with pytest.raises(FlowerlibError, match="11 representative photographs of 10"):
        quantization.representative(split(), 11)


def test_the_float_file_gives_what_keras_gives(model, files):
    expected = model.predict_on_batch(PICTURES)
    found = np.stack([lite.load(files / "float32.tflite").logits(picture) for picture in PICTURES[:4]])
    np.testing.assert_allclose(found, expected[:4], atol=1e-4)


@pytest.mark.parametrize(("kind", "least"), [("float16", 0.999), ("dynamic", 0.97), ("int8", 0.95)])
def test_the_others_are_near_it_and_smaller(model, files, kind, least):
    known = lite.load(files / f"{kind}.tflite")
    found = np.stack([known.logits(picture) for picture in PICTURES])
    assert np.corrcoef(found.ravel(), model.predict_on_batch(PICTURES).ravel())[0, 1] > least
    sizes = {each: (files / f"{each}.tflite").stat().st_size for each in quantization.KINDS}
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.4 * sizes["float32"]


def test_an_integer_file_takes_a_pixel_as_it_is(files):
    taken = lite.load(files / "int8.tflite").interpreter.get_input_details()[0]
    scale, zero = taken["quantization"]
    assert scale == pytest.approx(1 / 128, rel=1e-3) and zero == 127  # (x - 127) / 128


def test_names_and_how_to_cut_a_picture_are_inside(files):
    known = lite.load(files / "int8.tflite")
    assert known.names == NAMES
    assert known.about == {"size_px": SIDE, "resize": "antialiased", "kind": "int8", "run": "tiny"}


def test_an_export_that_fails_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "attach", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quantization.export(model, "float32", tmp_path / "flower.tflite", NAMES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "names", "pictures", "said"),
    [
        ("int4", NAMES, None, "unknown kind 'int4'"),
        ("int8", NAMES, None, "needs representative pictures"),
        ("float32", NAMES, PICTURES, "needs representative pictures"),
        ("float32", NAMES[:2], None, "a name for each"),
    ],
)
def test_what_cannot_be_exported_is_refused(model, tmp_path, kind, names, pictures, said):
    with pytest.raises(FlowerlibError, match=said):
        quantization.export(model, kind, tmp_path / "flower.tflite", names, pictures=pictures)


def test_a_file_that_is_not_ours_is_refused(files, tmp_path):
    path = tmp_path / "other.tflite"
    with pytest.raises(FlowerlibError, match="no such model"):
        lite.load(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(FlowerlibError, match="is no LiteRT model"):
        lite.load(path)
    content = (files / "float32.tflite").read_bytes()
    path.write_bytes(content[: content.index(b"PK\x03\x04")])
    with pytest.raises(FlowerlibError, match="lacks the names"):
        lite.load(path)


def test_predict_names_the_flower_without_tensorflow(files, tmp_path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "photo.png")
    program = (
        "import sys; from flowerlib.__main__ import app\n"
        f"app(['predict', {str(tmp_path / 'photo.png')!r}, '--model', {str(files / 'int8.tflite')!r}],"
        " standalone_mode=False)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    [chances] = lite.load(files / "int8.tflite").probabilities(PICTURES[:1])
    assert [line.split("  ")[-1] for line in lines] == [NAMES[place] for place in chances.argsort()[::-1]]
    assert lines[0].split()[0] == f"{chances.max():.1%}"
