"""The notebooks stay thin, say what to expect, and answer their own exercises."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from flowerlib import recipes

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_a_notebook_is_valid_and_carries_no_output(notebook):
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code(notebook))


def test_a_notebook_defines_nothing_and_stays_short(notebook):
    lines = "\n".join(cell.source for cell in code(notebook)).splitlines()
    assert not [line for line in lines if re.match(r"\s*(def|class|async def)\s", line)]
    assert len(lines) <= 160


def test_a_notebook_names_no_path_and_writes_no_file(notebook):
    for cell in code(notebook):
        assert not re.search(r"open\(|savefig|to_csv|Path\(|rcParams|\.write", cell.source), cell.source


def test_the_parameters_cell_holds_run_and_profile_each_with_a_comment(notebook):
    [cell] = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    assert [line.split(" = ")[0] for line in lines] == ["run", "profile"]
    assert all("  # " in line for line in lines)


def test_the_default_run_is_a_recipe_of_this_notebook(notebook, request):
    [cell] = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    values = dict(re.findall(r'^(\w+) = "([^"]+)"', cell.source, flags=re.M))
    recipe = recipes.load(values["run"], values["profile"])
    assert recipe.notebook == request.node.callspec.params["notebook"].stem
    known = {profile: [*recipes.runs(profile), *recipes.aside(profile)] for profile in ("smoke", "laptop")}
    assert values["run"] in known["smoke"], "a newcomer's first run needs no photographs"
    assert values["run"] in known["laptop"]
    assert recipes.load(values["run"], "laptop").expect.minutes <= 5, "a first look is not a lesson long"


def test_every_exercise_has_an_answer_that_is_folded_away(notebook):
    exercises = len(re.findall(r"^\d+\. ", text(notebook).partition("## Exercises")[2], flags=re.M))
    answers = [cell for cell in code(notebook) if "answer" in cell.metadata.get("tags", [])]
    assert len(answers) == exercises
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in answers)


def test_a_notebook_opens_with_its_question_and_closes_with_what_to_notice(notebook):
    assert re.match(r"# .*\?", notebook.cells[0].source)
    assert "## What to notice" in text(notebook)


def test_every_named_output_is_named_once(notebook):
    calls = [node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    shown = [call for call in calls if ast.unparse(call.func) in ("results.figure", "results.table")]
    names = [ast.unparse(call.args[1]) for call in shown]
    assert names and len(names) == len(set(names))


def test_the_recipes_name_notebooks_that_are_there():
    assert {recipes.load(name, "laptop").notebook for name in recipes.names()} <= {path.stem for path in NOTEBOOKS}
