"""Arrays out of a file that PyTorch wrote with ``torch.save`` before its version 1.6, without PyTorch.

Such a file is four pickles (a magic number, a version, the machine's byte order, the arrays' names and places), a
fifth with the keys of the storages, then the storages' bytes (``_legacy_save`` in ``torch/serialization.py``). A
pickle can call anything; here it may name what arrays need and nothing else.
"""

import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from flowerlib.errors import FlowerlibError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    """Where an array lies in a storage, in elements; its values follow later in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a PyTorch file in the format before version 1.6.

    Args:
        path: such as ``efficientnet-lite0-57934424.pth``.

    Returns:
        Name -> array, contiguous, in PyTorch's layout: (out, in, height, width) for a convolution.

    Raises:
        FlowerlibError: no such file, another format, cut short, or it names a class that arrays do not need.
    """
    try:
        with open(path, "rb") as file:
            _check_header(file)
            tensors = _Unpickler(file).load()
            _check_tensors(tensors)
            values = _storages(file, {tensor.storage.key: tensor.storage for tensor in tensors.values()})
            return {name: _array(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}
    except FileNotFoundError:
        raise FlowerlibError(f"{path} does not exist: install or fetch it again") from None
    except Exception as error:  # what a damaged pickle raises is not documented: nearly anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise FlowerlibError(
            f"{path} is no whole PyTorch file in the format before 1.6 ({reason}): install or fetch it again"
        ) from error


class _Unpickler(pickle.Unpickler):
    """Knows dicts of arrays and refuses every other class and function before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle means by a name; a dtype is a string here, which no pickle can call."""
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")

    def persistent_load(self, saved: Any) -> _Storage:
        """A storage by its key; ``saved`` ends in its device, size and, never used here, a part of it."""
        kind, dtype, key, _, size, part = saved
        if kind != "storage" or dtype not in DTYPES.values() or part is not None:
            raise pickle.UnpicklingError(f"unknown kind of storage {saved!r}")
        return _Storage(key, dtype, size)


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _check_header(file: BinaryIO) -> None:
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != VERSION:
        raise ValueError("another magic number or version")
    if _Unpickler(file).load()["little_endian"] is not True:
        raise ValueError("its bytes are in big-endian order")


def _check_tensors(tensors: Any) -> None:
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("it holds something else than named arrays")


def _storages(file: BinaryIO, known: dict[str, _Storage]) -> dict[str, np.ndarray]:
    """Key -> flat array, in the order of the file's own list of keys."""
    values = {}
    for key in _Unpickler(file).load():
        size, dtype = int.from_bytes(file.read(8), "little", signed=True), np.dtype(known[key].dtype)
        if size != known[key].size:
            raise ValueError(f"storage {key} has {size} elements instead of {known[key].size}")
        data = file.read(size * dtype.itemsize)
        if len(data) < size * dtype.itemsize:
            raise EOFError(f"storage {key} ends after {len(data)} of {size * dtype.itemsize} bytes")
        values[key] = np.frombuffer(data, dtype)
    return values


def _array(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    if math.prod(tensor.shape) > values.size:  # strides of zero would make much of little
        raise ValueError(f"an array of shape {tensor.shape} in a storage of {values.size} elements")
    step = values.itemsize  # numpy refuses an offset or strides that lead out of the storage
    strides = [stride * step for stride in tensor.strides]
    return np.ndarray(tensor.shape, values.dtype, values.data, tensor.offset * step, strides).copy(order="C")
