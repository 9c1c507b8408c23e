"""What a file for a phone is worth: its size, its answers on a whole part, its speed and its memory."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from flowerlib import lite
from flowerlib.digests import digest, function_digests
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.kept import Plan, keep

MEGA = 1e6  # bytes
AT_ONCE = 100  # photographs between two times of keeping
UNCOUNTED = 10  # runs before the clock starts
# What a process prints of its own peak. On Linux not ru_maxrss, in which a child begins with its parent's.
_PEAK = {
    "win32": "import psutil; print(psutil.Process().memory_info().peak_wset)",
    "linux": "print(*(int(line.split()[1]) * 1024 for line in open('/proc/self/status') if line[:5] == 'VmHWM'))",
}.get(sys.platform, "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")


def answers(path: Path, images: np.ndarray, threads: int = 2) -> np.ndarray:
    """Logits float64 (n, classes) of a file for pictures, kept under the file's and the pictures' checksums.

    Args:
        path: of the file.
        images: uint8 (n, side, side, 3).
        threads: that the file may use; they do not change its answers.
    """
    model = lite.load(path, threads)
    seen = hashlib.sha256(path.read_bytes())
    for some in np.array_split(images, max(1, len(images) // AT_ONCE)):
        seen.update(np.ascontiguousarray(some).tobytes())
    parts = {"file and pictures": seen.hexdigest(), "functions": function_digests([("lite", "LiteModel")])}

    def blocks(first: int) -> Iterator[np.ndarray]:
        for start in range(first, len(images), AT_ONCE):
            yield np.stack([model.logits(picture) for picture in images[start : start + AT_ONCE]])

    plan = Plan(f"answers of {path.name}", (len(images), len(model.names)), len(images), "float64", blocks)
    return keep(cache_folder() / "answers" / f"{path.stem}-{digest(parts)}.npy", json.loads(json.dumps(parts)), plan)


def latency_ms(path: Path, picture: np.ndarray, threads: int, runs: int = 100) -> tuple[float, float]:
    """Median and 95th percentile of milliseconds for one picture.

    Args:
        path: of the file.
        picture: uint8 (side, side, 3).
        threads: that the file may use.
        runs: that count.
    """
    model, spent = lite.load(path, threads), []
    for _ in range(UNCOUNTED + runs):
        started = time.perf_counter()
        model.logits(picture)
        spent.append(1000 * (time.perf_counter() - started))
    return float(np.median(spent[UNCOUNTED:])), float(np.quantile(spent[UNCOUNTED:], 0.95))


def memory_mb(path: Path) -> float:
    """The most 10^6 bytes that a fresh process holds to answer once, Python and its libraries included.

    Args:
        path: of the file.

    Raises:
        FlowerlibError: the process failed.
    """
    program = (
        "import numpy as np; from pathlib import Path; from flowerlib import lite\n"
        f"model = lite.load(Path({str(path)!r}))\n"
        "side = model.about['size_px']\n"
        f"model.logits(np.zeros((side, side, 3), np.uint8))\n{_PEAK}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode:
        raise FlowerlibError(f"{path}: its memory could not be measured: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout) / MEGA


def cold_seconds(path: Path, picture: np.ndarray, runs: int = 3) -> float:
    """The least seconds in which a fresh process names the flower on a JPEG, Python's own start included.

    Args:
        path: of the file.
        picture: uint8 (side, side, 3), written as a JPEG first.
        runs: of which the fastest counts.

    Raises:
        FlowerlibError: the process failed.
    """
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "photograph.jpg"
        Image.fromarray(picture).save(photograph, quality=95)
        command = [sys.executable, "-m", "flowerlib", "predict", str(photograph), "--model", str(path)]
        for _ in range(runs):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            spent.append(time.perf_counter() - started)
            if done.returncode:
                raise FlowerlibError(f"{path}: predict failed: {done.stderr.strip().splitlines()[-1]}")
    return min(spent)


def sizes_mb(model: keras.Model) -> dict[str, float]:
    """What a classifier takes on disk: its weights alone, and the .keras file, without and with an optimizer's state.

    Args:
        model: the layers that learn get a momentum each, as in Cicalla et al. 2024, section 3.3.

    Returns:
        "weights", four bytes a number; "keras file"; "keras file with momentum"; 10^6 bytes.
    """
    plain = keras.Model(model.inputs, model.outputs)
    found = {"weights": 4 * model.count_params() / MEGA}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        plain.save(path)
        found["keras file"] = path.stat().st_size / MEGA
        plain.compile(keras.optimizers.SGD(momentum=0.9))
        plain.optimizer.build(plain.trainable_variables)
        plain.save(path)
        found["keras file with momentum"] = path.stat().st_size / MEGA
    return found
