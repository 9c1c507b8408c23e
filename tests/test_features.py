"""The features of a frozen network: the network's own predictions, computed once, whole or not there."""

import errno
import io
import itertools
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from flowerlib import augment, data, features, kept
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Augment

ROOT = Path(__file__).resolve().parents[1]
SIDE, BATCH = 32, 8
IDENTITY = {"backbone": "tiny", "weights": "abc", "cut": "map", "pooled": False}
CICALLA = Augment(rotation_deg=20, brightness=0.3, zoom=0.2, flip=True)
INDICES = np.array([5, 900, 17, 2000, 3, 44, 45, 46, 801, 12, 1300, 99, 1, 0, 77, 650, 8, 9, 10])  # two batches and 3


@keras.saving.register_keras_serializable("flowerlib_tests")
class Counting(keras.layers.Layer):
    """Hands on what it gets, and counts how often it was run and how often it was traced."""

    def __init__(self):
        super().__init__()
        self.runs, self.traces = tf.Variable(0, trainable=False), 0

    def call(self, inputs):
        self.traces += 1
        self.runs.assign_add(1)
        return tf.identity(inputs)


def tiny(seed=1, pooled=False, scale=1.0):
    """A network of one convolution, with a batch norm and a dropout that must stay still."""
    keras.utils.set_random_seed(seed)
    pictures = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    counting = Counting()
    x = keras.layers.Rescaling(scale / 127.5, -scale)(counting(keras.layers.Rescaling(1.0)(pictures)))
    x = keras.layers.Conv2D(4, 5, strides=8, activation="relu")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x) if pooled else x
    model = keras.Model(pictures, x)
    model.counting = counting
    return model


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(tmp_path_factory.mktemp("drawn")))
        return data.load("drawn", SIDE, quiet=True)


def extract(base, drawn, indices=INDICES, identity=IDENTITY, **options):
    return features.extract(base, identity, drawn, indices, **{"batch_size": BATCH, "quiet": True, **options})


def files(cache, *, kinds=(".npy",)):
    return sorted(path.name for path in (cache / "features").glob("*") if path.suffix in kinds)


def refusal(*arguments, **options):
    with pytest.raises(FlowerlibError) as caught:
        extract(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(array):
    return Path(array.filename).read_bytes()


def kill_after(base, batches):
    """Let a network look at so many batches, then raise as Ctrl-C does."""
    real, left = base.predict_on_batch, itertools.count(batches, -1)

    def predict(pictures):
        if not next(left):
            raise KeyboardInterrupt
        return real(pictures)

    base.predict_on_batch = predict


def killed(drawn, batches=2, **options):
    """A pass that was killed after so many batches; what would go on with it."""
    base = tiny()
    kill_after(base, batches)
    with pytest.raises(KeyboardInterrupt):
        extract(base, drawn, **options)
    return tiny()


# What is kept


@pytest.mark.parametrize("pooled", [False, True])
def test_each_row_is_the_networks_own_prediction(drawn, cache, pooled):
    base = tiny(pooled=pooled)
    seen = extract(base, drawn)
    assert seen.shape == (len(INDICES), 1, *base.output_shape[1:]) and seen.dtype == np.float32
    own = base.predict(np.asarray(drawn.images[INDICES]), verbose=0)
    for row, prediction in zip(seen[:, 0], own, strict=True):
        np.testing.assert_allclose(row, prediction, atol=1e-5)


def test_the_last_smaller_batch_is_what_it_would_be_in_a_full_one(drawn, cache):
    more = np.concatenate([INDICES, np.arange(100, 105)])  # three full batches
    np.testing.assert_array_equal(extract(tiny(), drawn), extract(tiny(), drawn, more)[: len(INDICES)])


def test_a_view_is_the_prediction_for_the_picture_as_it_is_augmented(drawn, cache):
    base = tiny()
    seen = extract(base, drawn, views=3, augment=CICALLA, seed=7)
    assert seen.shape[:2] == (len(INDICES), 3)
    pictures = np.asarray(drawn.images[INDICES])
    for view in range(3):
        random = features.draws(7, np.full(len(INDICES), view), INDICES)
        own = base.predict(augment.apply(pictures, random, CICALLA), verbose=0)
        np.testing.assert_allclose(seen[:, view], own, atol=1e-5)


def test_views_differ_from_each_other_and_from_the_picture_as_it_is(drawn, cache):
    views, plain = extract(tiny(), drawn, views=2, augment=CICALLA), extract(tiny(), drawn)[:, 0]
    for one, other in itertools.combinations([views[:, 0], views[:, 1], plain], 2):
        assert (np.abs(one - other).max(axis=(1, 2, 3)) > 1e-3).all()


def test_an_augmentation_that_changes_nothing_is_none_and_shares_its_file(drawn, cache):
    np.testing.assert_array_equal(extract(tiny(), drawn, augment=Augment()), extract(tiny(), drawn))
    assert len(files(cache)) == 1


def test_a_pictures_view_is_the_same_whatever_else_is_asked_for(drawn, cache):
    all_of_them = extract(tiny(), drawn, views=2, augment=CICALLA)
    some = extract(tiny(), drawn, INDICES[[11, 4]], views=5, augment=CICALLA)
    np.testing.assert_allclose(some[:, :2], all_of_them[[11, 4]], atol=1e-6)


def test_draws_are_uniform_and_a_function_of_seed_view_and_picture():
    pictures, views = np.arange(3000), np.arange(3000) % 4
    random = features.draws(1, views, pictures)
    assert random.shape == (3000, len(augment.DRAWS)) and random.dtype == np.float32
    np.testing.assert_array_equal(features.draws(1, views[::-7], pictures[::-7]), random[::-7])
    assert random.min() >= 0 and random.max() < 1 and np.abs(random.mean(axis=0) - 0.5).max() < 0.03
    for other in (features.draws(2, views, pictures), features.draws(1, views + 1, pictures)):
        assert (other != random).any(axis=1).all()


def test_a_views_draws_are_no_row_of_an_epoch():
    """numpy takes [seed, view, 0] for [seed, view], which is what an epoch is planned with."""
    epoch = np.random.default_rng([1, 3]).random(len(augment.DRAWS), dtype=np.float32)
    assert (features.draws(1, np.array([3]), np.array([0])) != epoch).all()


def test_float16_halves_the_array_and_keeps_three_digits(drawn, cache):
    whole, half = extract(tiny(), drawn), extract(tiny(), drawn, dtype="float16")
    assert half.dtype == np.float16 and half.nbytes * 2 == whole.nbytes
    np.testing.assert_allclose(half, whole, rtol=1e-3, atol=1e-6)


def test_the_array_is_a_read_only_memory_map(drawn, cache):
    seen = extract(tiny(), drawn)
    assert isinstance(seen, np.memmap) and Path(seen.filename).parent == cache / "features"
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1


def test_how_it_was_made_stands_beside_it_in_clear(drawn, cache):
    how = features.made(extract(tiny(), drawn, views=2, augment=CICALLA, seed=3))
    assert how["parts"]["network"] == IDENTITY and how["parts"]["data"]["manifest"] == data.manifest("drawn")
    assert how["parts"]["augment"] == {"seed": 3, **CICALLA.model_dump(exclude_defaults=True)}
    assert {"augment.apply", "features.draws"} <= set(how["parts"]["functions"])
    assert 0 < how["minutes"] < 5 and how["machine"] and how["date"]


# Computed once


def test_a_second_call_reads_and_does_not_run_the_network(drawn, cache):
    first, again = tiny(), tiny()
    seen = extract(first, drawn)
    assert int(first.counting.runs) == 3
    np.testing.assert_array_equal(extract(again, drawn), seen)
    assert int(again.counting.runs) == 0


def test_all_batches_are_of_one_shape_for_which_one_graph_is_built(drawn, cache):
    base = tiny()
    before = base.counting.traces
    extract(base, drawn, views=2, augment=CICALLA)
    assert base.counting.traces <= before + 2 and int(base.counting.runs) == 5


def test_two_that_ask_at_once_compute_once(drawn, cache, capsys):
    bases, results = [tiny(), tiny()], []
    real = bases[0].predict_on_batch
    begun, go_on = threading.Event(), threading.Event()

    def slow(pictures):
        begun.set()
        go_on.wait(60)
        return real(pictures)

    bases[0].predict_on_batch = slow
    both = [threading.Thread(target=lambda base=base: results.append(extract(base, drawn))) for base in bases]
    both[0].start()
    assert begun.wait(60)
    both[1].start()
    both[1].join(2)  # it waits a second before it says that it waits
    go_on.set()
    for thread in both:
        thread.join(60)
    assert len(results) == 2 and int(bases[1].counting.runs) == 0
    assert "another process makes " in capsys.readouterr().err


CHANGES = {
    "checksum": {"identity": {**IDENTITY, "weights": "abd"}},
    "weights": {"base": 2},
    "indices": {"indices": INDICES[::-1]},
    "views": {"views": 2},
    "seed": {"seed": 2},
    "augment": {"augment": CICALLA.model_copy(update={"zoom": 0.1})},
    "dtype": {"dtype": "float16"},
    "code": {"roots": [("schedules", "constant")]},
    "pixels": {"darker": True},  # as another resizing of the same files has them
    "manifest": {"manifest": "another"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_pictures_views_or_code_have_a_file_of_their_own(drawn, cache, monkeypatch, change):
    def ask(base=1, darker=False, manifest="one", **options):
        monkeypatch.setattr(features, "manifest", lambda name: manifest)
        dataset = replace(drawn, images=np.asarray(drawn.images) // 2) if darker else drawn
        return extract(tiny(base), dataset, **{"augment": CICALLA, **options})

    assert ask().filename == ask().filename != ask(**CHANGES[change]).filename


def test_the_seed_of_the_views_is_nothing_to_pictures_as_they_are(drawn, cache):
    extract(tiny(), drawn, seed=1)
    extract(tiny(), drawn, seed=2)
    assert len(files(cache)) == 1


# Killed, damaged, full


@pytest.mark.parametrize("options", [{}, {"views": 3, "augment": CICALLA}])
def test_a_killed_pass_goes_on_after_its_last_batch_and_ends_with_the_same_bytes(drawn, cache, options, monkeypatch):
    base = killed(drawn, **options)
    assert [name for name in files(cache) if ".part" not in name] == []
    seen = extract(base, drawn, **options)
    total = -(-len(INDICES) * options.get("views", 1) // BATCH)
    assert int(base.counting.runs) == total - 2
    assert files(cache, kinds=(".npy", ".json")) == [f"{Path(seen.filename).stem}{kind}" for kind in (".json", ".npy")]
    monkeypatch.setenv("FLOWERLIB_CACHE", str(cache.with_name("another")))
    assert content(extract(tiny(), drawn, **options)) == content(seen)


def test_a_batch_that_was_half_written_when_the_process_was_killed_does_not_count(drawn, cache, monkeypatch):
    base = killed(drawn)
    with open(next((cache / "features").glob("*.part.npy")), "ab") as file:
        file.write(b"torn" * 1000)
    seen = extract(base, drawn)
    monkeypatch.setenv("FLOWERLIB_CACHE", str(cache.with_name("another")))
    assert int(base.counting.runs) == 1 and content(extract(tiny(), drawn)) == content(seen)


@pytest.mark.parametrize("what", ["rows are lost", "rows are zeros", "progress is lost", "progress is torn"])
def test_what_a_killed_pass_left_counts_only_if_its_checksum_holds(drawn, cache, monkeypatch, what):
    base = killed(drawn)
    part, progress = (next((cache / "features").glob(f"*.part.{kind}")) for kind in ("npy", "json"))
    if "rows" in what:
        kept = part.read_bytes()
        part.write_bytes(kept[: len(kept) // 2] + bytes(len(kept) // 2 if "zeros" in what else 0))
    elif what == "progress is lost":
        progress.unlink()
    else:
        progress.write_text(progress.read_text()[:20])
    seen = extract(base, drawn)
    monkeypatch.setenv("FLOWERLIB_CACHE", str(cache.with_name("another")))
    assert int(base.counting.runs) == 3 and content(extract(tiny(), drawn)) == content(seen)


def test_a_pass_killed_before_its_end_was_noted_computes_nothing_again(drawn, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(kept, "machine", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract(tiny(), drawn)
    base = tiny()
    np.testing.assert_allclose(extract(base, drawn)[:, 0], tiny().predict(drawn.images[INDICES], verbose=0), atol=1e-5)
    assert int(base.counting.runs) == 0


def flip_a_byte(array, note):
    with open(array, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


DAMAGES = {
    "a flipped bit": flip_a_byte,
    "cut short": lambda array, note: array.write_bytes(array.read_bytes()[:-100]),
    "empty": lambda array, note: array.write_bytes(b""),
    "no note": lambda array, note: note.unlink(),
    "a torn note": lambda array, note: note.write_text(note.read_text()[:50]),
    "a note of other weights": lambda array, note: note.write_text(note.read_text().replace('"abc"', '"abd"')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_made_again_and_this_is_said(drawn, cache, capsys, damage):
    seen = extract(tiny(), drawn)
    path, whole = Path(seen.filename), content(seen)
    del seen
    DAMAGES[damage](path, path.with_suffix(".json"))
    capsys.readouterr()
    base = tiny()
    assert content(extract(base, drawn)) == whole and int(base.counting.runs) == 3
    said = capsys.readouterr().out
    assert str(path) in said and "damaged" in said and said.count("\n") == 1


def test_features_copied_from_elsewhere_are_read(drawn, cache):
    path = Path(extract(tiny(), drawn).filename)
    os.utime(path, (1, 1))
    base = tiny()
    extract(base, drawn)
    assert int(base.counting.runs) == 0


class Filling(io.BufferedRandom):
    """A file on a disk that has space for two writes and a little."""

    def __init__(self, path, mode):
        super().__init__(io.FileIO(path, mode))
        self.writes = 0

    def write(self, content):
        self.writes += 1
        if self.writes > 2:
            super().write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


def test_a_disk_that_fills_up_is_told_and_the_pass_goes_on_when_there_is_space(drawn, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(kept, "open", Filling, raising=False)
        message = refusal(tiny(), drawn)
    assert "No space left on device" in message and " MB" in message and str(cache / "features") in message
    assert [name for name in files(cache) if ".part" not in name] == []
    base = tiny()
    seen = extract(base, drawn)
    assert int(base.counting.runs) == 2  # the first batch had been kept
    np.testing.assert_allclose(seen[:, 0], base.predict(drawn.images[INDICES], verbose=0), atol=1e-5)


def test_a_disk_too_small_is_told_before_anything_is_computed(drawn, cache, monkeypatch):
    monkeypatch.setattr(kept, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=100)))
    base = tiny()
    assert "No space left on device" in refusal(base, drawn)
    assert int(base.counting.runs) == 0


# What is refused


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"views": 0}, "views 0"),
        ({"views": 2}, "views 2: without augmentation"),
        ({"views": 2, "augment": Augment()}, "views 2: without augmentation"),
        ({"augment": CICALLA.model_copy(update={"mixup": 0.5})}, "mixup"),
        ({"augment": CICALLA.model_copy(update={"balance": True})}, "balance"),
        ({"indices": np.array([0, -1])}, "no picture -1"),
        ({"indices": np.array([0, 10**6])}, "no picture 1000000"),
        ({"indices": np.array([], dtype=int)}, "name one picture"),
        ({"indices": np.array([True, False])}, "whole numbers"),
        ({"identity": {}}, "identity is empty"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_in_one_line(drawn, cache, options, reason):
    assert reason in refusal(tiny(), drawn, **options)
    assert files(cache) == []


def test_pictures_of_another_side_are_refused(drawn, cache):
    small = replace(drawn, images=drawn.images[:, :16, :16])
    assert "takes pictures of 32 px, not of 16: load them at 32" in refusal(tiny(), small)


def test_features_that_are_not_finite_are_refused(drawn, cache):
    assert "not finite in float16" in refusal(tiny(scale=1e7), drawn, dtype="float16")
    assert extract(tiny(scale=1e7), drawn).dtype == np.float32


def test_an_identity_of_no_json_values_is_refused(drawn, cache):
    with pytest.raises(TypeError, match="not JSON serializable"):
        extract(tiny(), drawn, identity={"weights": object()})


# What a head trains on


def test_an_epoch_shows_features_in_the_order_in_which_augment_shows_pictures(drawn, cache):
    seen, labels = extract(tiny(), drawn), drawn.fine[INDICES]
    for epoch in range(2):
        order = augment.plan(INDICES, labels, Augment(), 5, epoch)
        pictures = augment.batches(drawn.images, drawn.fine, order, Augment(), BATCH)
        pairs = zip(pictures, features.batches(seen, labels, 5, epoch, BATCH), strict=True)
        for (shown, kinds), (features_of_them, labels_of_them) in pairs:
            np.testing.assert_array_equal(kinds, labels_of_them)
            np.testing.assert_allclose(tiny().predict_on_batch(shown.numpy()), features_of_them, atol=1e-5)


def test_epochs_show_one_view_after_the_other(drawn, cache):
    seen = extract(tiny(), drawn, views=2, augment=CICALLA, dtype="float16")
    for epoch in range(3):
        shown = next(iter(features.batches(seen, np.zeros(len(seen), dtype=int), 1, epoch, len(seen))))[0].numpy()
        order = augment.plan(np.arange(len(seen)), np.zeros(len(seen), dtype=int), Augment(), 1, epoch).indices
        assert shown.dtype == np.float32
        np.testing.assert_array_equal(shown, seen[order, epoch % 2].astype(np.float32))


# The benchmark


@pytest.mark.slow
def test_the_benchmark_runs_on_drawn_flowers_and_both_sides_end_with_the_same_loss(cache):
    command = [sys.executable, str(ROOT / "benchmarks/feature_cache.py"), "--data", "drawn", "--images", "32"]
    command += ["--size-px", "96", "--epochs", "3", "--part", "maps", "views"]
    command += ["--backbone", "efficientnet_lite0", "--weights", "imagenet"]  # random ones hardly tell pictures apart
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    differences = [float(line.split()[-1]) for line in run.stdout.splitlines() if "difference" in line]
    assert len(differences) == 2 and max(differences) < 1e-3
    assert "EXTRAPOLATED to 3 epochs" in run.stdout
    assert files(cache) == []
