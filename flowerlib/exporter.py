"""nbconvert: an executed notebook -> its figures, tables and record. The only writer of either.

jupyter nbconvert --to flowerlib runs/smoke/shen-coarse.ipynb
"""

import base64
import json
from typing import Any

from nbconvert.exporters import Exporter
from nbformat import NotebookNode
from traitlets import default

from flowerlib.errors import FlowerlibError

MIME = "application/vnd.flowerlib+json"


class RunExporter(Exporter):
    """The main text is the record; figures and tables go beside it through ``resources["outputs"]``."""

    export_from_notebook = "flower run"

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".json"

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Collect what the notebook showed under a name.

        Raises:
            FlowerlibError: a notebook that failed or was not run, or two outputs under one name.
        """
        nb, resources = super().from_notebook_node(nb, resources, **kwargs)
        _refuse_unfinished(nb)
        record: dict[str, Any] = dict(nb.metadata.get("flowerlib", {}))
        record |= {"results": {}, "figures": {}, "tables": {}}
        files: dict[str, bytes] = {}
        for cell in nb.cells:
            for output in cell.get("outputs", []):
                if MIME in output.get("data", {}):
                    _collect(output["data"], cell.get("id", ""), record, files)
        if "facts" not in record:
            raise FlowerlibError("the notebook did not call results.begin(recipe): there is nothing to export")
        resources["outputs"] = files
        resources["output_extension"] = ".json"
        return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", resources


def _refuse_unfinished(nb: NotebookNode) -> None:
    """papermill leaves a failed notebook at its place, executed up to the error."""
    if nb.metadata.get("papermill", {}).get("exception"):
        raise FlowerlibError("the notebook ended with an error: read it, mend it, run it again")
    for cell in nb.cells:
        if any(output.get("output_type") == "error" for output in cell.get("outputs", [])):
            raise FlowerlibError(f"cell {cell.get('id')} of the notebook ended with an error: run it again")


def _collect(data: NotebookNode, cell: str, record: dict[str, Any], files: dict[str, bytes]) -> None:
    """Put one named output into the record and the files."""
    content = json.loads(json.dumps(data[MIME]))
    kind, name = content.pop("kind"), content.pop("name")
    if kind == "facts":
        record["facts"] = content["facts"]
    elif kind == "figure":
        _add(record["figures"], name, {**content, "cell": cell}, "figure")
        files[f"{name}.pdf"] = base64.b64decode(data["application/pdf"])
        files[f"{name}.png"] = base64.b64decode(data["image/png"])
    elif kind == "table":
        _add(record["tables"], name, {**content, "cell": cell}, "table")
        files[f"{name}.tex"] = data["text/latex"].encode()
    elif kind == "predictions":
        _add(record.setdefault("predictions", {}), name, {**content, "cell": cell}, "list of predictions")
    elif kind == "numbers":
        for key, value in content["values"].items():
            _add(record["results"], key, {**value, "cell": cell}, "result")
        record |= {"training": content["training"]} if "training" in content else {}
    else:
        raise FlowerlibError(f"cell {cell}: output of unknown kind '{kind}'")


def _add(place: dict[str, Any], name: str, content: dict[str, Any], kind: str) -> None:
    if name in place:
        raise FlowerlibError(
            f"two outputs show a {kind} named '{name}' (cells {place[name]['cell']}, {content['cell']})"
        )
    place[name] = content
