"""A training that is shared out among two devices is the training of one."""

import json
import os
import subprocess
import sys

import pytest

from flowerlib import execution, progress, replicas
from flowerlib.errors import FlowerlibError

TRAIN = """
import json, sys
import numpy as np
from pathlib import Path
devices = int(sys.argv[1])
if devices > 1:
    from flowerlib import replicas
    strategy = replicas.begin(devices)
from flowerlib import data, recipes, splits, synthetic, training
from flowerlib.checkpoints import Trained
recipe = recipes.load("qu-baseline-b@data.size_px=32@training.epochs=2@model.dropout=0@training.batch_size=16", "smoke")
fine = np.arange(48) % 4
dataset = data.Dataset("drawn", synthetic.draw(fine * 20, np.arange(48), 32)[0], fine, None)
train, rest = (splits.Part(np.arange(*each), fine[slice(*each)]) for each in ((0, 32), (32, 48)))
split = splits.Split(train, rest, rest, tuple("abcd"))
model = training.build(recipe, split)
folder = Path(sys.argv[2])
training.fit(recipe, model, dataset, split, trained := Trained("few"), folder)
found = training.logits(model, dataset.images, rest.indices, batch_size=7)
shares = strategy.num_replicas_in_sync if devices > 1 else 1
print(json.dumps({"loss": trained.history["loss"], "val": trained.history["val_accuracy"], "logits": found.tolist(),
                  "shares": shares}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    found = {}
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp(f"devices{devices}")
        environment = os.environ | {"FLOWERLIB_CACHE": str(folder / "cache")}
        command = [sys.executable, "-c", TRAIN, str(devices), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found[devices] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_two_devices_learn_what_one_learns(trained):
    assert [trained[devices]["shares"] for devices in (1, 2)] == [1, 2]
    assert trained[2]["loss"] == pytest.approx(trained[1]["loss"], rel=1e-3)
    assert trained[2]["val"] == trained[1]["val"]


def test_every_picture_is_answered_once(trained):
    one, two = (trained[devices]["logits"] for devices in (1, 2))
    assert len(one) == len(two) == 16
    for mine, other in zip(two, one, strict=True):
        assert mine == pytest.approx(other, abs=1e-3)


def test_a_kernel_is_told_of_several_devices_and_a_record_names_them(monkeypatch):
    assert execution._extensions() == [] and "devices" not in progress.machine()
    monkeypatch.setenv("FLOWERLIB_DEVICES", "2")
    assert execution._extensions() == ["--IPKernelApp.extra_extensions=flowerlib.replicas"]
    assert progress.machine().endswith("cores, 2 devices")


@pytest.mark.parametrize("said", ["0", "two", "-1", "1.5"])
def test_what_is_no_number_of_devices_is_refused(monkeypatch, said):
    monkeypatch.setenv("FLOWERLIB_DEVICES", said)
    with pytest.raises(FlowerlibError, match=f"FLOWERLIB_DEVICES={said}: a whole number of devices, from 1"):
        execution._extensions()


def test_more_gpus_than_there_are_and_a_single_device_are_refused(monkeypatch):
    monkeypatch.setattr(replicas.tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    with pytest.raises(FlowerlibError, match="3 devices: from 2 to the number of GPUs, which is 2 here"):
        replicas.check(3)
    with pytest.raises(FlowerlibError, match="1 devices: from 2"):
        replicas.check(1)


def test_an_extension_that_fails_ends_a_kernel_that_nobody_watches(monkeypatch, capsys):
    monkeypatch.setattr(replicas, "begin", lambda count: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replicas.load_ipython_extension(None)
    monkeypatch.setenv(progress.HEADLESS, "1")
    monkeypatch.setattr(replicas.os, "_exit", lambda code: pytest.fail(f"left with {code}"))
    with pytest.raises(pytest.fail.Exception, match="left with 1"):
        replicas.load_ipython_extension(None)
    assert "FLOWERLIB_DEVICES: division by zero" in capsys.readouterr().err
