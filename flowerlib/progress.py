"""The progress line of a training: in place where somebody watches, one line an epoch where nobody does."""

import os
import platform
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import keras

HEADLESS = "FLOWERLIB_HEADLESS"
DEVICES = "FLOWERLIB_DEVICES"  # that a training is shared out among (``replicas``)


class EpochLine:
    """One line that says epoch, loss, validation score and the time left.

    Args:
        epochs: of the whole run.
        minutes: that earlier sessions of the run took.
        done: epochs that they did.
    """

    def __init__(self, epochs: int, minutes: float, done: int) -> None:
        self.epochs, self.done, self.spent = epochs, done, minutes * 60
        self.started = time.monotonic()

    def batches(self, steps: int) -> "keras.callbacks.Callback":
        """A callback that refreshes the line once a second inside an epoch; silent when headless."""
        from keras.callbacks import Callback, LambdaCallback

        if os.environ.get(HEADLESS):
            return Callback()
        begun = shown = time.monotonic()

        def refresh(batch: int, logs: dict[str, float]) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= 1:
                shown = now
                left = duration((now - begun) / (batch + 1) * (steps - batch - 1))
                text = f"epoch {self.done + 1} of {self.epochs}  {batch + 1}/{steps}  loss {logs['loss']:.3f}  {left}"
                print(f"\r{text}".ljust(79), end="", flush=True)

        return LambdaCallback(on_train_batch_end=refresh)

    def epoch(self, row: dict[str, float]) -> None:
        """Print the line of a finished epoch; end here when the process that runs the notebook was killed."""
        self.done += 1
        seconds = self.spent + time.monotonic() - self.started
        left = duration(seconds / self.done * (self.epochs - self.done))
        scores = [
            f"{name.replace('val_', 'validation ')} {row[name]:.3f}" for name in ("loss", "val_accuracy") if name in row
        ]
        start = "" if os.environ.get(HEADLESS) else "\r"
        print(f"{start}epoch {self.done}/{self.epochs}  {'  '.join(scores)}  {left} left".ljust(79), flush=True)
        _end_if_orphaned()


class BudgetLine:
    """One line that says share, steps, loss and the time left of a training that has a budget instead of epochs."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()
        self.first: float | None = None  # share that was spent when this session began

    def step(self, step: int, loss: float, share: float) -> None:
        """Refresh the line, once a second at most; silent when headless."""
        share = min(share, 1.0)  # the least number of steps may take longer than the budget
        self.first = share if self.first is None else self.first
        now = time.monotonic()
        if now - self.shown >= 1 and not os.environ.get(HEADLESS):
            self.shown = now
            print(
                f"\r{share:4.0%}  step {step:,}  loss {loss:.4f}  {self._left(share)}".ljust(79),
                end="",
                flush=True,
            )

    def row(self, history: dict[str, list[float]], share: float) -> None:
        """Print the line of a part of the budget; end here when the process that runs the notebook was killed."""
        start = "" if os.environ.get(HEADLESS) else "\r"
        said = f"step {history['steps'][-1]:,.0f}  loss {history['loss'][-1]:.4f}"
        print(f"{start}{share:4.0%}  {said}  {self._left(share)}".ljust(79), flush=True)
        _end_if_orphaned()

    def _left(self, share: float) -> str:
        spent = share - (self.first or 0.0)
        if spent <= 0:  # the first step: nothing to reckon from
            return ""
        return f"{duration((time.monotonic() - self.started) / spent * max(0.0, 1 - share))} left"


def _end_if_orphaned() -> None:
    """A kernel outlives a killed papermill and would hold the cores; its last epoch is safe, so it may end."""
    parent = os.environ.get(HEADLESS)
    if parent and not psutil.pid_exists(int(parent)):
        os._exit(1)


def duration(seconds: float) -> str:
    """A duration for people: "45 s", "3 min", "2 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def machine() -> str:
    """Processor, cores and devices (``replicas``) that a run has, for its record."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    devices = os.environ.get(DEVICES, "1")
    return f"{name}, {os.cpu_count()} cores" + (f", {devices} devices" if devices != "1" else "")
