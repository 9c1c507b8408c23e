"""LiteRT files: each kind against Keras, names inside, representative pictures from the training part alone."""

import io
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from flowerlib import data, lite, photo, quantization, synthetic
from flowerlib.errors import FlowerlibError
from flowerlib.models.transfer import transfer
from flowerlib.splits import Part, Split

SIDE, NAMES = 64, ("daisy", "lotus", "rose")
PICTURES = synthetic.draw(np.arange(12) * 8, np.arange(12), SIDE)[0]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return transfer(len(NAMES), SIDE, "efficientnet_lite0", cut="block_8")


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
    expected = {"size_px": SIDE, "stored_px": SIDE, "resize": "antialiased", "kind": "int8", "run": "tiny"}
    assert known.about == expected


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


@pytest.mark.parametrize("scale", [[1 / 255, 1 / 255, 1 / 200], [1 / 255, 1 / 255, -1 / 255]])
def test_an_integer_file_is_refused_where_channels_have_scales_of_their_own(tmp_path, scale):
    pictures = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pictures")
    x = layers.Rescaling(scale, name="preprocessing")(pictures)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(pictures, layers.Dense(len(NAMES))(x), name="odd")
    with pytest.raises(FlowerlibError, match="odd: its preprocessing is not one scale"):
        quantization.export(model, "int8", tmp_path / "flower.tflite", NAMES, pictures=PICTURES)
    quantization.export(model, "dynamic", tmp_path / "flower.tflite", NAMES)
    found = lite.load(tmp_path / "flower.tflite").logits(PICTURES[0])
    np.testing.assert_allclose(found, model.predict_on_batch(PICTURES[:1])[0], atol=0.05)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "mobilenet_v2"])
def test_a_float_file_gives_what_keras_gives_for_64_photographs(photographs, tmp_path, backbone):
    dataset = data.load("flowers5", 96)
    pictures = dataset.images[:: len(dataset.images) // 64][:64]
    model = transfer(102, 96, backbone)
    quantization.export(model, "float32", tmp_path / "flower.tflite", tuple(map(str, range(102))))
    known = lite.load(tmp_path / "flower.tflite", threads=2)
    found = np.stack([known.logits(picture) for picture in pictures])
    # A processor's own order of sums moves logits of size one by about as much: 1e-4 of a logit, and 1e-4 about 0.
    np.testing.assert_allclose(found, model.predict_on_batch(pictures), rtol=1e-4, atol=1e-4)


def test_a_file_that_is_not_ours_is_refused(files, tmp_path):
    path = tmp_path / "other.tflite"
    with pytest.raises(FlowerlibError, match=r"no such model; .* run quantization --profile .* minutes"):
        lite.load(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(FlowerlibError, match="is no LiteRT model"):
        lite.load(path)
    content = (files / "float32.tflite").read_bytes()
    alone = content[: content.index(b"PK\x03\x04")]
    path.write_bytes(alone)
    with pytest.raises(FlowerlibError, match="lacks the names"):
        lite.load(path)
    for about in ([], {"size_px": SIDE}):
        path.write_bytes(alone)
        lite.attach(path, NAMES, about)
        with pytest.raises(FlowerlibError, match="lacks the names"):
            lite.load(path)


@pytest.mark.parametrize(
    ("photograph", "file", "said"),
    [
        (None, "int8.tflite", "photo.jpg: no such file"),
        (b"", "int8.tflite", "photo.jpg is empty"),
        (b"plain text", "int8.tflite", "photo.jpg is no picture"),
        (b"\xff\xd8\xff\xe0 cut", "int8.tflite", "photo.jpg"),
        (b"never read", "none.tflite", "none.tflite: no such model"),
        (b"never read", "text.tflite", "text.tflite is no LiteRT model"),
    ],
)
def test_predict_says_in_one_line_what_is_wrong_and_ends_with_2(files, tmp_path, photograph, file, said):
    if photograph is not None:
        (tmp_path / "photo.jpg").write_bytes(photograph)
    (tmp_path / "text.tflite").write_bytes(b"no model at all")
    path = files / file if (files / file).exists() else tmp_path / file
    command = [sys.executable, "-m", "flowerlib", "predict", str(tmp_path / "photo.jpg"), "--model", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    [line] = [each for each in done.stderr.splitlines() if not each.startswith("INFO: ")]  # of LiteRT itself
    assert line.startswith("flowerlib: ") and said in line


def test_predict_agrees_with_what_the_notebook_asks_of_a_photograph_kept_at_another_side(tmp_path):
    """Kept at 80 px and seen at 64, as a network is that predicts at another side than its data set's."""
    names = tuple(f"flower {number}" for number in range(8))
    keras.utils.set_random_seed(1)
    several = transfer(8, SIDE, "efficientnet_lite0")
    path, shown = tmp_path / "flower.tflite", tmp_path / "photo.jpg"
    quantization.export(several, "int8", path, names, pictures=PICTURES, stored_px=80)
    large = synthetic.draw(np.array([40]), np.array([7]), 300)[0][0]
    Image.fromarray(large).save(shown, quality=90)
    kept = data.decode(io.BytesIO(shown.read_bytes()), "photo", 80, "antialiased")
    [chances] = lite.load(path).probabilities(photo.fit(kept, SIDE)[None])
    command = [sys.executable, "-m", "flowerlib", "predict", str(shown), "--model", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [f"{chances[place]:7.1%}  {names[place]}" for place in chances.argsort()[::-1][:5]]


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
