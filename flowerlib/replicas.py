"""Several processors as one: the pictures of every step are shared out among them (``tf.distribute.MirroredStrategy``).

``FLOWERLIB_DEVICES=2 python -m flowerlib run ...`` does it for a headless run, ``%load_ext flowerlib.replicas`` at the
top of a notebook for one that is stepped through. Batch norms then see each processor's share of a batch alone.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowerlib.errors import FlowerlibError
from flowerlib.progress import DEVICES, HEADLESS


def begin(count: int) -> tf.distribute.Strategy:
    """Share out the trainings that follow among so many GPUs, or parts of the processor where there is no GPU.

    Args:
        count: of devices, from 2; parts of a processor are no faster than the whole and are there to try it out.

    Raises:
        FlowerlibError: fewer GPUs; a process in which TensorFlow has begun with an undivided processor.
    """
    check(count)
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        _divide(count)
    devices = [device.name for device in tf.config.list_logical_devices(kind)[:count]]
    strategy = tf.distribute.MirroredStrategy(devices)
    tf.distribute.experimental_set_strategy(strategy)
    # Keras hands a batch to every device whole and appends their answers.
    keras.Model.predict_on_batch = _once(keras.Model.predict_on_batch)
    # A mirrored variable lacks what a plain one has: it is no number and no array.
    mirrored: Any = type(keras.Variable(0.0).value)
    mirrored.__float__ = lambda self: float(self.numpy())
    mirrored.__array__ = lambda self, dtype=None, copy=None: np.array(self.numpy(), dtype=dtype)
    return strategy


def check(count: int) -> None:
    """Refuse a number of devices that there are not, or that nothing can be shared out among."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if count < 2 or (gpus and count > gpus):
        raise FlowerlibError(f"{count} devices: from 2 to the number of GPUs, which is {gpus} here")


def load_ipython_extension(_: object) -> None:
    """Begin with as many devices as FLOWERLIB_DEVICES says, or all there are.

    Where nobody watches a failure ends the kernel: IPython would go on with one device, and the record would say more.
    """
    try:
        begin(wanted() or len(tf.config.list_physical_devices("GPU")))
    except Exception as error:
        if not os.environ.get(HEADLESS):
            raise
        print(f"{DEVICES}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def wanted() -> int | None:
    """How many devices FLOWERLIB_DEVICES asks for; None where it says nothing or 1.

    Raises:
        FlowerlibError: what is not a whole number from 1.
    """
    said = os.environ.get(DEVICES, "1")
    if not said.isdecimal() or int(said) < 1:
        raise FlowerlibError(f"{DEVICES}={said}: a whole number of devices, from 1")
    return int(said) if int(said) > 1 else None


def _divide(count: int) -> None:
    [processor] = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    try:
        tf.config.set_logical_device_configuration(processor, parts)
    except RuntimeError:  # TensorFlow has begun already
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise FlowerlibError(
                f"{count} devices: TensorFlow runs already; ask for them before anything else"
            ) from None


def _once(predict_on_batch: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """The same, with the answers of the first device alone."""

    def predict(self: keras.Model, x: Any) -> np.ndarray:
        first = x[0] if isinstance(x, list | tuple) else x
        found: np.ndarray = np.asarray(predict_on_batch(self, x))[: len(first)]
        return found

    return predict
