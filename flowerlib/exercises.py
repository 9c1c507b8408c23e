"""Copies of the notebooks without the answers of their exercises, for a class."""

import shutil
from pathlib import Path

import nbformat

from flowerlib import pipeline

ASK = "# your answer\n"


def write(folder: Path) -> list[Path]:
    """Write every numbered notebook without the answers; the folder is made anew.

    Args:
        folder: where the copies go.

    Returns:
        The copies, in the notebooks' order.
    """
    fresh = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    names = []
    for source in sorted((pipeline.ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(source, as_version=4)
        for cell in notebook.cells:
            if "answer" in cell.metadata.get("tags", []):
                cell.source, cell.metadata = ASK, nbformat.from_dict({"tags": ["exercise"]})
        nbformat.write(notebook, fresh / source.name)
        names.append(source.name)
    pipeline.swap(fresh, folder)
    return [folder / name for name in names]
