"""Run a notebook headless with papermill. One that failed is kept for reading, under another name."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from flowerlib.errors import FlowerlibError
from flowerlib.progress import DEVICES, HEADLESS


def execute(source: Path, target: Path, parameters: dict[str, str], metadata: dict[str, Any]) -> None:
    """Execute a notebook beside its place and rename it when it is whole.

    Args:
        source: the notebook in ``notebooks/``.
        target: the executed notebook; ``<name>.failed.ipynb`` beside it when a cell failed.
        parameters: for its cell tagged "parameters".
        metadata: what the exporter is to know of the run, stored in the executed notebook.

    Raises:
        FlowerlibError: an unknown parameter, a cell that failed, a kernel that was killed or did not start.
    """
    part, failed = target.with_suffix(".part.ipynb"), target.with_suffix(".failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    _check_parameters(source, parameters)
    _print_kernel_output()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up notices drown the progress
    os.environ[HEADLESS] = str(os.getpid())
    settings: dict[str, Any] = {"cwd": source.parent, "kernel_name": "python3"}
    settings |= {"progress_bar": False, "log_output": True, "extra_arguments": _extensions()}
    try:
        papermill.execute_notebook(source, part, parameters, **settings)
    except PapermillExecutionError as error:
        part.replace(failed)
        said = " ".join((error.evalue if error.ename == "FlowerlibError" else f"{error.ename}: {error.evalue}").split())
        raise FlowerlibError(f"{said} (the notebook as far as it came: {_short(failed)})") from None
    except DeadKernelError:
        part.replace(failed)
        raise FlowerlibError(
            f"{target.stem}: the kernel was killed, most likely because memory ran out;"
            f" a training goes on at its last epoch when run again (see {_short(failed)})"
        ) from None
    except RuntimeError as error:  # jupyter_client's, of a kernel that died before it answered
        if part.exists():
            part.replace(failed)
        raise FlowerlibError(
            f"{target.stem}: the kernel did not start ({error}): is memory free, and does `python -m ipykernel` start?"
        ) from None
    finally:
        os.environ.pop(HEADLESS)
    notebook = nbformat.read(part, as_version=4)
    notebook.metadata["flowerlib"] = metadata
    nbformat.write(notebook, part)
    part.replace(target)


def _extensions() -> list[str]:
    """What the kernel loads before the first cell."""
    if os.environ.get(DEVICES, "1") == "1":  # TensorFlow need not be imported to know
        return []
    from flowerlib import replicas

    if (count := replicas.wanted()) is None:
        return []
    replicas.check(count)  # here, where it can be said in one line
    return ["--IPKernelApp.extra_extensions=flowerlib.replicas"]


def _check_parameters(source: Path, parameters: dict[str, str]) -> None:
    """papermill only warns about a parameter that a notebook does not have and runs on without it."""
    cells = nbformat.read(source, as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    names = {line.split("=")[0].strip() for source_text in tagged for line in source_text.splitlines() if "=" in line}
    for name in parameters:
        if name not in names:
            raise FlowerlibError(f"{source.name} has no parameter '{name}' in its cell tagged 'parameters'")


def _print_kernel_output() -> None:
    """Let the one line an epoch through to the terminal."""
    logger = logging.getLogger("papermill")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.handlers[0].setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[0].addFilter(_is_progress)


def _is_progress(record: logging.LogRecord) -> bool:
    """Whether a line of the kernel's output is for the terminal; papermill's own are not."""
    record.msg = record.getMessage().strip()
    record.args = None
    return record.msg.startswith(("epoch ", "going on", "another training", "row "))


def _short(path: Path) -> Path:
    return Path(*path.parts[-3:])
