"""All executed notebooks as pages of HTML with an index of thumbnails: no network, no server, readable on a phone.

Each page holds all that it shows; the folder can be copied anywhere.
"""

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader, select_autoescape
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from PIL import Image
from pygments.formatters import HtmlFormatter

from flowerlib import pipeline, recipes
from flowerlib.errors import FlowerlibError
from flowerlib.exporter import MIME

HERE = Path(__file__).resolve().parent
THUMBNAIL_PX = 320
WIDEST_PX = 1100  # of a figure on a page

# An exercise's answer is folded away, as in JupyterLab.
TEMPLATE = """{% extends 'basic/index.html.j2' %}
{% block codecell %}
{% if 'answer' in cell.metadata.get('tags', []) %}<details><summary>An answer</summary>{{ super() }}</details>
{% else %}{{ super() }}{% endif %}
{% endblock codecell %}
"""


def write(profile: str) -> Path:
    """Write the gallery of a profile's executed notebooks, beside its report.

    Args:
        profile: of the runs.

    Returns:
        The index page.

    Raises:
        FlowerlibError: no notebook of the profile was executed here.
    """
    runs = [run for run in recipes.runs(profile) if pipeline.executed_notebook(run, profile).exists()]
    if not runs:
        raise FlowerlibError(f"no notebook of profile {profile} was run here: make report PROFILE={profile}")
    folder = pipeline.build_folder(profile) / "gallery"
    fresh = folder.with_name(".gallery.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=select_autoescape(default=True))
    cards = []
    for run in runs:
        notebook = nbformat.read(pipeline.executed_notebook(run, profile), as_version=4)
        recipe = recipes.load(run, profile)
        card = {
            "run": run,
            "title": recipe.title,
            "notebook": recipe.notebook,
            "page": f"{run.replace('@', '--')}.html",
        }
        card |= {"thumbnail": _thumbnail(notebook), "alt": _first(notebook).get("alt", "")}
        body, _ = _exporter().from_notebook_node(_lean(notebook))
        page = environment.get_template("gallery_page.html.j2")
        text = page.render(card=card, profile=profile, style=_code_style(), body=body)
        (fresh / card["page"]).write_text(text, encoding="utf-8")
        cards.append(card)
    classes = _by_class(runs, profile)
    index = environment.get_template("gallery_index.html.j2")
    text = index.render(cards=cards, profile=profile, title=recipes.title(profile), classes=json.dumps(classes))
    (fresh / "index.html").write_text(text, encoding="utf-8")
    pipeline.swap(fresh, folder)
    return folder / "index.html"


def _exporter() -> HTMLExporter:
    exporter = HTMLExporter(raw_template=TEMPLATE, mathjax_url="", require_js_url="", jquery_url="")
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    return exporter


def _code_style() -> str:
    style: str = HtmlFormatter(style="default").get_style_defs(".highlight")
    return style


def _lean(notebook: NotebookNode) -> NotebookNode:
    """The notebook with one picture a figure, in fewer bytes, with its alt text, and without a library's notices."""
    for cell in notebook.cells:
        cell.get("outputs", [])[:] = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            content = shown.pop(MIME, {})
            shown.pop("application/pdf", None)
            if "image/png" in shown:
                shown["image/png"] = _smaller(shown["image/png"], WIDEST_PX)
                output.setdefault("metadata", {})["image/png"] = {"alt": content.get("alt", "a figure")}
    return notebook


def _smaller(png: str, width: int) -> str:
    """A picture at most so wide, with 128 colours, in base64."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.thumbnail((width, 10 * width))
        file = io.BytesIO()
        image.convert("RGB").quantize(128).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _first(notebook: NotebookNode) -> dict[str, Any]:
    """The first figure of a notebook: its content, and its picture under "png"; empty without any."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if shown.get(MIME, {}).get("kind") == "figure":
                return {**shown[MIME], "png": shown["image/png"]}
    return {}


def _thumbnail(notebook: NotebookNode) -> str:
    found = _first(notebook)
    return _smaller(found["png"], THUMBNAIL_PX) if found else ""


def _by_class(runs: list[str], profile: str) -> dict[str, dict[str, float]]:
    """Class -> run -> its F1 on the test part, for the search."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        record = pipeline.record(recipes.load(run, profile))
        for key, value in (record or {"results": {}})["results"].items():
            part, *rest = key.split("/")
            if part == "test" and len(rest) == 2 and rest[1] == "f1":
                found.setdefault(rest[0].replace("_", " "), {})[run] = round(value["value"], 3)
    return dict(sorted(found.items()))
