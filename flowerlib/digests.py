"""Two digests decide what is stale: of a training and of its results. Code is hashed as Python reads it.

Comments, docstrings and layout are gone in the syntax tree, so prose re-runs nothing. Code counts by function, with
everything of flowerlib that the function names, so that a new plot or a new score leaves every older run done.
``schema`` and ``recipes`` are not hashed as code: the values they yield are. Library versions are recorded.
"""

import ast
import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flowerlib import recipes, weights
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Recipe

PACKAGE = Path(__file__).resolve().parent
# They carry values that are hashed themselves, or only look.
UNHASHED = (
    *("digests", "errors", "execution", "exporter", "fetch", "contents", "pipeline", "progress", "recipes", "schema"),
    *("report", "tracing", "weights", "kept", "__main__"),
)
NAMED = 6  # changes that are named; beyond them their number is enough
# A recipe's value picks one entry: that entry is hashed, the choice is not.
CHOICES = ("BUILDERS", "SCHEDULES")
TRAINING_ROOTS = (("training", "build"), ("training", "fit_or_load"), ("data", "load"), ("splits", "make"))
RECONSTRUCTION_ROOTS = (
    ("reconstructed", "build"),
    ("reconstructed", "fit_or_load"),
    ("data", "load"),
    ("splits", "make"),
)
GENERATION_ROOTS = (("generated", "build"), ("generated", "fit_or_load"), ("data", "load"), ("splits", "make"))
FINE_TUNING_ROOTS = (("finetuning", "build"), ("finetuning", "fit_or_load"), ("data", "load"), ("splits", "make"))


def training_digest(recipe: Recipe, manifest: str) -> str:
    """The digest under which trained weights are kept.

    Args:
        recipe: with its values in a profile.
        manifest: checksum of the data.
    """
    return digest(training_parts(recipe, manifest))


def training_parts(recipe: Recipe, manifest: str, needs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a training rests on: values, data, label files, weights, builder, schedule and training with what they call.

    Args:
        recipe: with its values in a profile.
        manifest: checksum of the data.
        needs: of ``needed``, where the weights are not at hand; they are asked for their checksums by default.
    """
    parts: dict[str, Any] = {"values": recipe.shaping(), "data": manifest, "functions": {}, "labels": {}}
    if recipe.data is not None:
        parts["labels"] = {name: file_digest(name) for name in _label_files(recipe)}
    if recipe.model is not None and (recipe.training or recipe.finetuning):
        chosen = [_find("models", recipe.model.builder)]
        chosen += [("schedules", recipe.training.schedule)] if recipe.training else []
        chosen += [("groups", "kinds")] if recipe.data and recipe.data.learned == "kinds" else []
        parts["functions"] = function_digests([*(FINE_TUNING_ROOTS if recipe.finetuning else TRAINING_ROOTS), *chosen])
    if recipe.model is not None and recipe.budget:
        chosen = [_find("models", recipe.model.builder), ("schedules", recipe.budget.schedule)]
        roots = GENERATION_ROOTS if recipe.generation else RECONSTRUCTION_ROOTS
        parts["functions"] = function_digests([*roots, *chosen])
    if recipe.generation and recipe.generation.latent:
        parts["latent"] = training_digest(recipes.load(recipe.uses[0], recipe.profile), manifest)
    if recipe.needs:
        parts["weights"] = dict(needs) if needs is not None else needed(recipe)
    return parts


def needed(recipe: Recipe) -> dict[str, str]:
    """Checksums of the pretrained weights that a recipe needs: need -> sha256."""
    return {need: weights.checksum(need.removeprefix("weights/")) for need in recipe.needs}


def results_parts(
    recipe: Recipe,
    manifest: str,
    code: str,
    used: dict[str, str],
    rows: dict[str, list[Recipe]] | None = None,
    needs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a run's results rest on; the hash of it is the digest that stands in the run's record.

    Args:
        recipe: with its values in a profile.
        manifest: checksum of the data.
        code: the notebook's code cells, joined.
        used: run name -> results digest of the runs that it uses.
        rows: of a sweep: row -> the recipes of its trainings.
        needs: as in ``training_parts``.
    """
    rows = rows or {}
    training = training_parts(recipe, manifest, needs)
    functions = training["functions"] | function_digests(_named_functions(code))
    for each in (each for row in rows.values() for each in row):
        functions |= training_parts(each, manifest, needs)["functions"]
    return training | {
        "functions": functions,
        "rows": {row: digest([each.shaping() for each in recipes]) for row, recipes in rows.items()},
        "profile": recipe.profile,
        "told": [recipe.title, recipe.report, recipe.may_diverge, *recipe.departures, *recipe.reduced],
        "cells": digest(tree_text(code)),
        "claims": _claims(functions, recipe),
        "used": used,
    }


def _label_files(recipe: Recipe) -> list[str]:
    """The committed files that say which picture is where and what it is called."""
    assert recipe.data is not None
    files = ["class_names.csv", "coarse_groups.yml"]
    files += ["kaggle_split.csv"] if recipe.data.split == "kaggle" else []
    return files + (["flower_photos_subset.csv"] if recipe.data.name == "flowers5" else [])


def _claims(functions: Iterable[str], recipe: Recipe) -> dict[str, str]:
    """The reports' claims are values as much as a recipe's, for whoever compares with them.

    A run that compares its own rows rests on the claims about it; one that compares runs, on all of them.
    """
    files = {"summary.claims": "reported.csv", "summary.table5": "reported_hughes_table5.csv"}
    files |= {"verdicts.pairs": "comparisons.csv", "advice.flowerless": "flower_photos_without_flowers.csv"}
    found = {name: file_digest(name) for function, name in files.items() if function in functions}
    if "reported.csv" in found and recipe.uses != ("*",):
        with open(PACKAGE.parent / "data" / "reported.csv", encoding="utf-8", newline="") as file:
            found["reported.csv"] = digest([row for row in csv.DictReader(file) if row["run"] == recipe.name])
    return found


def file_digest(name: str) -> str:
    """Digest of a committed text file in ``data/``."""
    return digest((PACKAGE.parent / "data" / name).read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """16 hex digits of the sha256 of some text or of some values."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: dict[str, Any], parts: dict[str, Any]) -> str:
    """What changed between two ``results_parts``, in words."""
    said = []
    for name in ("values", "data", "cells"):
        if before.get(name) != parts.get(name):
            said.append({"values": _changed_values(before, parts), "data": "data", "cells": "notebook cells"}[name])
    for name in ("labels", "weights", "functions", "rows", "claims", "used"):
        then = before.get(name, {})  # a record of an older form may lack it
        now = parts.get(name, {})
        said += [key for key in {**then, **now} if then.get(key) != now.get(key)]
    said = list(dict.fromkeys(said)) or ["profile or departures"]
    more = f" and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return f"changed since: {', '.join(said[:NAMED])}{more}"


def _changed_values(before: dict[str, Any], parts: dict[str, Any]) -> str:
    old, new = _flat(before["values"]), _flat(parts["values"])
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(f"{key} {old.get(key, 'default')} -> {new.get(key, 'default')}" for key in keys)


def _flat(values: dict[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{start}{key}.") if isinstance(value, dict) else {f"{start}{key}": value}
    return flat


def tree_text(source: str) -> str:
    """Source as its syntax tree, without comments, docstrings and layout; the same on every supported Python.

    ``ast.dump`` itself changed with Python 3.13 (empty lists are left out), so fields that are empty or None are left
    out here.
    """
    return _node_text(ast.parse(source))


def _node_text(node: Any) -> str:
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list):
                value = [inner for inner in value if not _is_string(inner)]  # docstrings and other bare strings
            if value is None or value == [] or name in ("kind", "type_comment", "ctx"):
                continue
            fields.append(f"{name}={_node_text(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_node_text(inner) for inner in node)}]"
    return repr(node)


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def module_digest(module: str) -> str:
    """Digest of a whole module of flowerlib, "models.classifiers" or "splits"."""
    return digest(tree_text(_source(module)))


def function_digests(roots: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Digests of functions, classes and constants, with everything of flowerlib that they name.

    Args:
        roots: (module, name) pairs to start from.
    """
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        module, name = waiting.pop()
        key = f"{module}.{name}"
        if key in found or module.split(".")[0] in UNHASHED or name in CHOICES:
            continue
        definitions, imported = _definitions(module)
        if name not in definitions:
            if name in imported and imported[name][1]:  # a name that the module only hands on
                waiting.append(imported[name])
            continue
        found[key], named = _definition(module, name)
        waiting += named
    return found


@cache
def _definition(module: str, name: str) -> tuple[str, list[tuple[str, str]]]:
    """Digest of one definition by itself, and the (module, name) pairs that it may name."""
    definitions, imported = _definitions(module)
    node, named = definitions[name], []
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            named.append(imported.get(inner.id, (module, inner.id)))
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            named += [(imported_from, inner.attr) for imported_from in _aliases(imported, inner.value.id)]
    return digest(_node_text(node)), list(dict.fromkeys(named))


def _named_in(node: ast.stmt | None) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} if node else set()


def builder_parameters(builder: str) -> list[str]:
    """Names of a builder's parameters, read from its source, so that no TensorFlow is imported."""
    module, name = _find("models", builder)
    node = _definitions(module)[0][name]
    assert isinstance(node, ast.FunctionDef)
    return [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]


def notebook_code(path: Path) -> str:
    """The code cells of a notebook, joined, without IPython's magics and without the parameters' cell.

    The parameters say which run it is; what they select is hashed as the recipe's values.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code"
        and not {"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", []))
    ]
    return "\n".join(line for line in "\n".join(sources).splitlines() if not line.lstrip().startswith(("%", "!")))


def _named_functions(code: str) -> list[tuple[str, str]]:
    """Functions of flowerlib that some code names: ``metrics.accuracy`` -> ("metrics", "accuracy")."""
    tree = ast.parse(code)
    imported = _imported_names(tree)
    named = [
        (imported[node.value.id][0], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported
    ]
    named += [imported[node.id] for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in imported]
    dotted = [ast.unparse(node).split(".") for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    named += [(".".join(words[1:-1]), words[-1]) for words in dotted if words[0] == "flowerlib" and words[2:]]
    return [(module, name) for module, name in named if name]


def _find(package: str, function: str) -> tuple[str, str]:
    """The module of a package in which a function stands."""
    for path in sorted((PACKAGE / package).glob("*.py")):
        module = f"{package}.{path.stem}"
        definitions = _definitions(module)[0]
        if isinstance(definitions.get(function), ast.FunctionDef) and function in _named_in(
            definitions.get("BUILDERS")
        ):
            return module, function
    raise FlowerlibError(f"unknown builder '{function}': no BUILDERS of flowerlib/{package} names it")


@cache
def _definitions(module: str) -> tuple[dict[str, ast.stmt], dict[str, tuple[str, str]]]:
    """Top-level functions, classes and constants of a module, and what it imports from flowerlib.

    The second maps a local name to (module, name), name being "" where a whole module was imported.
    """
    defined: dict[str, ast.stmt] = {}
    tree = ast.parse(_source(module))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {
                inner.id: node for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)
            }
    return defined, _imported_names(tree)


def _imported_names(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Local name -> (module of flowerlib, name in it), name being "" where a whole module was imported."""
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):  # also what a function imports when it is called
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flowerlib":
            inside = (node.module or "").removeprefix("flowerlib").lstrip(".")
            for alias in node.names:
                whole = ".".join(filter(None, (inside, alias.name)))
                is_module = _path(whole).exists()
                imported[alias.asname or alias.name] = (whole, "") if is_module else (inside, alias.name)
    return imported


def _aliases(imported: dict[str, tuple[str, str]], name: str) -> list[str]:
    return [imported[name][0]] if name in imported and imported[name][1] == "" else []


def _path(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _source(module: str) -> str:
    return _path(module).read_text(encoding="utf-8")
