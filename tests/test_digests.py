"""Digests: prose and layout change nothing, code and values change just the runs that rest on them."""

import ast
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from flowerlib import digests, recipes, schedules, schema
from flowerlib.errors import FlowerlibError
from flowerlib.models import classifiers

PACKAGE = Path(digests.__file__).resolve().parent
ROOT = PACKAGE.parent
MODULES = sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py"))
MANIFEST = "of the data"
TREE_TEXT = digests.tree_text


def recipe(name: str) -> schema.Recipe:
    return recipes.load(name, "smoke")


def parts(name: str) -> dict[str, Any]:
    """What a recipe's training rests on."""
    return digests.training_parts(recipe(name), MANIFEST)


def results(name: str, code: str | None = None) -> dict[str, Any]:
    """What a recipe's results rest on."""
    notebook = ROOT / "notebooks" / f"{recipe(name).notebook}.ipynb"
    code = digests.notebook_code(notebook) if code is None else code
    return digests.results_parts(recipe(name), MANIFEST, code, {})


@cache
def remembered_text(source: str) -> str:
    return TREE_TEXT(source)


@pytest.fixture(autouse=True)
def reading_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text makes the same tree: two hundred readings of one module take their time."""
    monkeypatch.setattr(digests, "tree_text", remembered_text)


Edit = Callable[[str, Callable[[str], str]], None]


def forget() -> None:
    """What the digests remember of the sources."""
    for function in list(vars(digests).values()):
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Change a module of flowerlib as the digests see it, on no disk."""
    texts: dict[str, str] = {}
    read = digests._source

    def change(module: str, how: Callable[[str], str]) -> None:
        texts[module] = how(texts.get(module) or read(module))
        forget()

    monkeypatch.setattr(digests, "_source", lambda module: texts.get(module) or read(module))
    forget()
    yield change
    forget()


def in_function(name: str) -> Callable[[str], str]:
    """An edit that puts one more statement into a function."""

    def change(source: str) -> str:
        tree = ast.parse(source)
        node = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
        node.body.append(ast.parse("print('one more')").body[0])
        return ast.unparse(ast.fix_missing_locations(tree))

    return change


def added(text: str) -> Callable[[str], str]:
    """An edit that adds something at the end."""
    return lambda source: f"{source}\n\n{text}\n"


CODE_ADDED = added("def one_more(x):\n    return x + 1")


def with_prose(source: str) -> str:
    """The same module in other words and another layout: docstrings and comments changed, lines broken anew."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            if ast.get_docstring(node) is not None:
                node.body.pop(0)
            node.body.insert(0, ast.Expr(ast.Constant("Said in other words.")))
    return "# A comment\n" + ast.unparse(ast.fix_missing_locations(tree)).replace("\n\n", "\n\n# Another\n\n")


# What is the same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "# why\nx = 1  # because\n"),
        ("x = 1\ny = 2", "x = 1\n\n\ny = 2\n"),
        ("x = 1\ny = 2", "x = 1; y = 2"),
        ("x = f(a, b)", "x = f(\n    a,\n    b,\n)"),
        ("x = [1, 2]", "x = [\n    1,  # one\n    2,\n]"),
        ("x = a + b", "x = (a + b)"),
        ("x = a + b", "x = a \\\n    + b"),
        ("x = 'a'", 'x = "a"'),
        ("x = 'ab'", "x = 'a' 'b'"),
        ("x = 1000", "x = 1_000"),
        ("def f():\n    return 1", 'def f():\n    """Say it."""\n    return 1'),
        (
            'def f():\n    """Say it."""\n    return 1',
            'def f():\n    """Say it\n\n    at length.\n    """\n    return 1',
        ),
        ("class A:\n    x = 1", 'class A:\n    """A thing."""\n\n    x = 1\n    """What x is."""'),
        ("x = 1", '"""A module."""\n\nx = 1'),
        ("async def f():\n    return 1", 'async def f():\n    """Say it."""\n    return 1'),
        ("if a:\n    b()", "if (a):\n        b()  # noqa"),
        ("for x in a, b: pass", "for x in (a, b):\n    pass"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(one: str, other: str) -> None:
    assert digests.tree_text(one) == digests.tree_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 1", "x = '1'"),
        ("x = 'a'", "x = b'a'"),
        ("x = ''", "x = None"),
        ("x = 0.0", "x = -0.0"),
        ("x = 1", "y = 1"),
        ("x = 1", "x: int = 1"),
        ("x = a + b", "x = a - b"),
        ("x = a - b", "x = b - a"),
        ("x = a + b * c", "x = (a + b) * c"),
        ("f(a)", "f(x=a)"),
        ("f(a)", "f(*a)"),
        ("f(None)", "f()"),
        ("x = [None]", "x = []"),
        ("x = a[:]", "x = a[None:]"),
        ("x = {**a}", "x = {None: a}"),
        ("def f(a, b): pass", "def f(a, *, b): pass"),
        ("def f(a, b): pass", "def f(a, b, /): pass"),
        ("def f(a=1): pass", "def f(a=2): pass"),
        ("def f(): pass", "@g\ndef f(): pass"),
        ("def f(): return 1", "def f(): yield 1"),
        ("x = 'a'\ny = 1", "y = 1"),
        ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
        ("if a:\n    b()", "while a:\n    b()"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a:.2f}'", "x = f'{a:.3f}'"),
        ("import a", "import a as b"),
        ("from a import b", "from .a import b"),
    ],
)
def test_what_python_would_do_otherwise_counts(one: str, other: str) -> None:
    assert digests.tree_text(one) != digests.tree_text(other)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_said_and_laid_out_anew_has_the_same_digest(module: str) -> None:
    source = (PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    assert with_prose(source) != source
    assert digests.tree_text(with_prose(source)) == digests.tree_text(source)


def interpreters() -> dict[str, str]:
    """The supported Pythons that run here: version -> program; looked for on PATH and beside the one that runs."""
    supported = SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    )
    names = [f"python3.{minor}" for minor in range(9, 20) if supported.contains(f"3.{minor}.5")]
    beside = Path(sys.base_prefix).resolve().parent
    candidates = [found for name in names if (found := shutil.which(name))]
    candidates += [str(path) for name in names for path in sorted(beside.glob(f"*/bin/{name}"))]
    found = {f"3.{sys.version_info.minor}": sys.executable}
    for candidate in candidates:
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('3.%d' % sys.version_info[1])"], capture_output=True, text=True
        )
        if asked.returncode == 0:
            found.setdefault(asked.stdout.strip(), candidate)
    return found


def standing_alone() -> str:
    """The part of digests.py that makes texts of trees, without its imports: another Python has no pydantic."""
    wanted = ("tree_text", "_node_text", "_is_string")
    tree = ast.parse((PACKAGE / "digests.py").read_text(encoding="utf-8"))
    taken = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    assert [node.name for node in taken] == list(wanted)
    asked = (
        "import hashlib, json, pathlib, sys\n"
        "paths = [pathlib.Path(path) for path in sys.argv[1:]]\n"
        "texts = [tree_text(path.read_text(encoding='utf-8')) for path in paths]\n"
        "print(json.dumps([hashlib.sha256(text.encode()).hexdigest() for text in texts]))\n"
    )
    return "\n\n".join(["import ast\nfrom typing import Any", *map(ast.unparse, taken), asked])


def test_every_supported_python_makes_the_same_digests(tmp_path: Path) -> None:
    found = interpreters()
    if len(found) == 1:
        pytest.skip(f"only Python {next(iter(found))} is here: nothing to compare with")
    (tmp_path / "alone.py").write_text(standing_alone(), encoding="utf-8")
    paths = [str(PACKAGE / (module.replace(".", "/") + ".py")) for module in MODULES]
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (tmp_path / f"{notebook.stem}.py").write_text(digests.notebook_code(notebook), encoding="utf-8")
        paths.append(str(tmp_path / f"{notebook.stem}.py"))
    answers = {
        version: subprocess.run(
            [program, str(tmp_path / "alone.py"), *paths], capture_output=True, text=True, check=True
        ).stdout
        for version, program in found.items()
    }
    here = [digests.tree_text(Path(path).read_text(encoding="utf-8")) for path in paths]
    expected = [hashlib.sha256(text.encode()).hexdigest() for text in here]
    assert {version: json.loads(answer) == expected for version, answer in answers.items()} == dict.fromkeys(
        found, True
    )


# The digest of a training


def test_the_digest_of_a_training_is_short_and_repeats() -> None:
    digest = digests.training_digest(recipe("shen-coarse"), MANIFEST)
    assert digest == digests.training_digest(recipe("shen-coarse"), MANIFEST)
    assert len(digest) == 16 and int(digest, 16) >= 0


def test_other_data_is_another_training() -> None:
    digest = digests.training_digest(recipe("shen-coarse"), MANIFEST)
    assert digests.training_digest(recipe("shen-coarse"), "of other data") != digest


@pytest.mark.parametrize("change", ["seed=2", "training.epochs=7", "model.dropout=0.5", "augment.zoom=0.2"])
def test_one_recipe_value_changes_the_training_of_that_run(change: str) -> None:
    assert parts(f"shen-coarse@{change}") != parts("shen-coarse")


def test_what_a_recipe_tells_changes_its_results_and_not_its_training() -> None:
    assert parts("shen-coarse@title=Another") == parts("shen-coarse")
    assert results("shen-coarse@title=Another") != results("shen-coarse")


def test_what_a_profile_cut_belongs_to_the_results() -> None:
    """A recipe's own epochs stand in the captions ("6 of 50"), although the profile trains six all the same."""
    now = recipe("shen-coarse")
    then = now.model_copy(update={"reduced": (*now.reduced[:-1], "epochs 6 of 60")})
    assert digests.training_parts(then, MANIFEST) == digests.training_parts(now, MANIFEST)
    one, two = (digests.results_parts(each, MANIFEST, "x = 1", {}) for each in (now, then))
    assert one != two


def test_minutes_to_expect_change_nothing() -> None:
    now = recipe("shen-coarse")
    later = now.model_copy(update={"expect": schema.Expectation(minutes=99)})
    assert digests.results_parts(now, MANIFEST, "", {}) == digests.results_parts(later, MANIFEST, "", {})


@pytest.mark.parametrize(
    ("module", "function", "hughes", "shen"),
    [
        ("models.classifiers", "hughes_cnn", True, False),
        ("models.classifiers", "shen_cnn", False, True),
        ("models.classifiers", "norm", False, True),
        ("models.classifiers", "_pictures", True, True),
        ("schedules", "two_drops", True, False),
        ("schedules", "constant", False, True),
        ("training", "fit_or_load", True, True),
        ("augment", "batches", True, True),
        ("splits", "make", True, True),
        ("data", "load", True, True),
        ("models.summary", "layer_table", False, False),
        ("figures", "confusion", False, False),
        ("metrics", "accuracy", False, False),
        ("results", "table", False, False),
        ("summary", "read", False, False),
        ("latex", "tabular", False, False),
        ("tracing", "merge", False, False),
    ],
)
def test_an_edit_changes_the_trainings_that_rest_on_it(
    edit: Edit, module: str, function: str, hughes: bool, shen: bool
) -> None:
    before = {name: parts(name) for name in ("hughes-coarse", "shen-coarse", "dataset")}
    edit(module, in_function(function))
    changed = {name: parts(name) != known for name, known in before.items()}
    assert changed == {"hughes-coarse": hughes, "shen-coarse": shen, "dataset": False}


def test_one_more_function_in_every_module_changes_nothing(edit: Edit) -> None:
    names = ("hughes-coarse", "shen-coarse", "dataset", "summary")
    before = [(parts(name), results(name)) for name in names]
    for module in MODULES:
        edit(module, CODE_ADDED)
    assert [(parts(name), results(name)) for name in names] == before


def test_the_tables_of_builders_and_schedules_take_in_the_chosen_entry_alone() -> None:
    entries = {f"models.classifiers.{name}" for name in classifiers.BUILDERS}
    entries |= {f"schedules.{name}" for name in schedules.SCHEDULES}
    chosen = {name: set(parts(name)["functions"]) & entries for name in ("hughes-coarse", "shen-coarse", "ours-fine")}
    assert chosen == {
        "hughes-coarse": {"models.classifiers.hughes_cnn", "schedules.two_drops"},
        "shen-coarse": {"models.classifiers.shen_cnn", "schedules.constant"},
        "ours-fine": {"models.classifiers.residual_cnn", "schedules.one_cycle"},
    }
    for table in ("models.classifiers.BUILDERS", "schedules.SCHEDULES"):
        assert table not in parts("ours-fine")["functions"]


def test_one_more_entry_in_the_tables_changes_nothing(edit: Edit) -> None:
    names = ("hughes-coarse", "shen-coarse", "dataset", "summary")
    before = [(parts(name), results(name)) for name in names]
    for module, entry in (("models.classifiers", '"hughes_cnn": hughes_cnn,'), ("schedules", '"constant": constant,')):
        assert entry in digests._source(module)
        edit(module, CODE_ADDED)
        edit(module, lambda source, entry=entry: source.replace(entry, f'{entry} "one_more": one_more,'))
    assert [(parts(name), results(name)) for name in names] == before


@pytest.mark.parametrize("module", ["models.classifiers", "schedules", "training", "figures", "results", "splits"])
def test_prose_in_a_module_changes_nothing(edit: Edit, module: str) -> None:
    before = [(parts(name), results(name)) for name in ("hughes-coarse", "shen-coarse", "dataset")]
    edit(module, with_prose)
    assert [(parts(name), results(name)) for name in ("hughes-coarse", "shen-coarse", "dataset")] == before


def test_a_constant_that_a_builder_names_belongs_to_it(edit: Edit) -> None:
    edit(
        "models.classifiers",
        lambda source: source.replace("Rescaling(1 / 255", "Rescaling(SCALE") + "\nSCALE = 1 / 255\n",
    )
    before = parts("shen-coarse")
    edit("models.classifiers", lambda source: source.replace("\nSCALE = 1 / 255", "\nSCALE = 1 / 127"))
    assert set(parts("shen-coarse")["functions"]) == set(before["functions"])
    assert parts("shen-coarse") != before


def test_a_function_of_another_catalogue_belongs_to_its_caller(edit: Edit) -> None:
    edit("models.summary", added("def half(x):\n    return x / 2\n\ndef third(x):\n    return x / 3"))
    edit(
        "models.classifiers",
        lambda source: source.replace(
            "import keras\n",
            "import keras\n\nfrom flowerlib.models import summary\nfrom flowerlib.models.summary import third\n",
            1,
        ).replace("layers.Rescaling(1 / 255", "layers.Rescaling(summary.half(third(6)) / 255"),
    )
    before = parts("shen-coarse")
    assert {"models.summary.half", "models.summary.third"} <= set(before["functions"])
    edit("models.summary", lambda source: source.replace("x / 3", "x / 4"))
    assert parts("shen-coarse") != before


# The digest of results


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("figures", "confusion"),
        ("metrics", "accuracy"),
        ("results", "table"),
        ("latex", "tabular"),
        ("models.summary", "layer_table"),
        ("models.summary", "parameters"),
        ("duplicates", "pairs"),
        ("training", "logits"),
    ],
)
def test_an_edit_of_what_a_notebook_reaches_changes_its_results(edit: Edit, module: str, function: str) -> None:
    before = results("shen-coarse")
    edit(module, in_function(function))
    assert results("shen-coarse") != before


def test_an_edit_of_what_no_cell_reaches_changes_no_results(edit: Edit) -> None:
    before = results("shen-coarse"), results("dataset")
    for module, function in (("summary", "slips"), ("tracing", "merge"), ("report", "make")):
        edit(module, in_function(function))
    assert (results("shen-coarse"), results("dataset")) == before


def test_a_network_changes_no_results_of_the_data(edit: Edit) -> None:
    before = results("dataset")
    edit("models.classifiers", in_function("shen_cnn"))
    assert results("dataset") == before


def test_the_digests_of_used_runs_belong_to_the_results() -> None:
    one, two = (digests.results_parts(recipe("summary"), "", "x = 1", {"shen-coarse": each}) for each in "ab")
    assert digests.digest(one) != digests.digest(two)


def test_two_profiles_with_the_same_values_have_two_digests() -> None:
    one, two = (digests.results_parts(recipes.load("dataset", each), MANIFEST, "", {}) for each in ("laptop", "full"))
    assert one != two


# Notebooks


@pytest.fixture
def cells(tmp_path: Path) -> Callable[..., str]:
    """The code of 01_classification with some of its cells edited."""

    def edited(kind: str = "", how: Callable[[str], str] | None = None, tag: str = "") -> str:
        notebook = json.loads((ROOT / "notebooks" / "01_classification.ipynb").read_text(encoding="utf-8"))
        chosen = [
            cell
            for cell in notebook["cells"]
            if cell["cell_type"] == kind
            and (tag in cell["metadata"].get("tags", []) if tag else "tags" not in cell["metadata"])
        ]
        for cell in chosen if how else []:
            cell["source"] = how("".join(cell["source"])).splitlines(keepends=True)
        assert chosen or not kind
        path = tmp_path / "edited.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return digests.notebook_code(path)

    return edited


@pytest.mark.parametrize(
    ("kind", "how", "tag"),
    [
        ("markdown", lambda text: f"{text}\n\nSaid at greater length.", ""),
        ("code", lambda text: f"# why\n{text}  # because\n\n", ""),
        ("code", lambda text: f"%matplotlib inline\n{text}", ""),
        ("code", lambda text: text.replace('"smoke"', '"laptop"'), "parameters"),
    ],
)
def test_prose_magics_and_parameters_of_a_notebook_do_not_count(
    cells: Callable[..., str], kind: str, how: Callable[[str], str], tag: str
) -> None:
    assert results("shen-coarse", cells(kind, how, tag)) == results("shen-coarse")


def test_outputs_and_identifiers_of_a_notebook_do_not_count(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "notebooks" / "01_classification.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"other-{number}"
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = (
                number,
                [{"output_type": "stream", "name": "stdout", "text": "!"}],
            )
    notebook["metadata"]["papermill"] = {"duration": 3}
    (tmp_path / "executed.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    assert results("shen-coarse", digests.notebook_code(tmp_path / "executed.ipynb")) == results("shen-coarse")


def test_a_code_cell_changes_the_results_and_not_the_training(cells: Callable[..., str]) -> None:
    before, after = results("shen-coarse"), results("shen-coarse", cells("code", lambda text: f"{text}\nprint(1)"))
    assert {key for key in before if before[key] != after[key]} == {"cells"}
    assert parts("shen-coarse")["values"] == after["values"]


@pytest.mark.parametrize(
    "code",
    [
        "from flowerlib import metrics\nmetrics.accuracy(a, b)",
        "from flowerlib import metrics as scores\nscores.accuracy(a, b)",
        "from flowerlib.metrics import accuracy\naccuracy(a, b)",
        "from flowerlib.metrics import accuracy as share\nlist(map(share, a, b))",
        "import flowerlib.metrics\nflowerlib.metrics.accuracy(a, b)",
    ],
)
def test_a_function_that_a_cell_names_belongs_to_the_results_with_what_it_calls(code: str) -> None:
    functions = results("shen-coarse", code)["functions"]
    assert set(functions) > set(parts("shen-coarse")["functions"])
    assert {"metrics.accuracy", "metrics.wilson", "metrics.Score"} <= set(functions)
    assert "metrics.macro_f1" not in functions


def test_a_module_of_which_no_cell_names_a_function_does_not_count() -> None:
    for code in ("from flowerlib import metrics", "import numpy\nnumpy.accuracy(a, b)"):
        assert results("shen-coarse", code)["functions"] == parts("shen-coarse")["functions"]


def test_plots_that_no_cell_names_change_no_results(edit: Edit) -> None:
    names = ("hughes-coarse", "shen-coarse", "dataset", "summary")
    before = {name: results(name) for name in names}
    named = {function for found in before.values() for function in found["functions"]}
    edited = 0
    for module in ("figures", "curves", "pictures"):
        definitions, _ = digests._definitions(module)
        for function, node in definitions.items():
            if isinstance(node, ast.FunctionDef) and f"{module}.{function}" not in named:
                edit(module, in_function(function))
                edited += 1
    assert edited
    assert {name: results(name) for name in names} == before


# Sweeps


def of_seeds(name: str, *seeds: int) -> list[schema.Recipe]:
    return [recipe(f"{name}@seed={seed}") for seed in seeds]


def swept(**rows: list[schema.Recipe]) -> dict[str, Any]:
    return digests.results_parts(recipe("shen-coarse"), MANIFEST, "x = 1", {}, rows=rows)


@pytest.mark.parametrize("changed", ["shen-coarse@model.dropout=0.4", "shen-coarse@training.epochs=7", "hughes-coarse"])
def test_the_values_of_a_row_belong_to_the_results_and_the_row_is_named(changed: str) -> None:
    dropout = "shen-coarse@model.dropout=0.5"
    before = swept(plain=of_seeds("shen-coarse", 1, 2), dropout=of_seeds(dropout, 1, 2))
    after = swept(plain=of_seeds("shen-coarse", 1, 2), dropout=of_seeds(changed, 1, 2))
    assert set(before["rows"]) == {"plain", "dropout"}
    assert {row for row in before["rows"] if before["rows"][row] != after["rows"][row]} == {"dropout"}
    assert digests.differences(before, after).endswith("dropout")


def test_seeds_and_one_more_row_belong_to_the_results_and_titles_of_rows_do_not() -> None:
    before = swept(plain=of_seeds("shen-coarse", 1, 2))
    assert swept(plain=of_seeds("shen-coarse", 1, 3))["rows"] != before["rows"]
    assert swept(plain=of_seeds("shen-coarse", 1, 2), other=of_seeds("shen-coarse", 1))["rows"] != before["rows"]
    assert swept(plain=of_seeds("shen-coarse@title=Another", 1, 2)) == before


def test_what_a_rows_training_rests_on_belongs_to_the_results() -> None:
    functions = swept(plain=of_seeds("shen-coarse", 1), other=of_seeds("hughes-coarse", 1))["functions"]
    assert {"models.classifiers.shen_cnn", "models.classifiers.hughes_cnn", "schedules.two_drops"} <= set(functions)
    assert "models.classifiers.hughes_cnn" not in swept(plain=of_seeds("shen-coarse", 1))["functions"]


# Builders, as the recipes ask for them


def test_a_builders_options_are_read_from_its_source() -> None:
    assert "norm_momentum" in digests.builder_parameters("hughes_cnn")
    assert "weight_decay" in digests.builder_parameters("shen_cnn")
    with pytest.raises(FlowerlibError, match="unknown builder 'nonsense'"):
        digests.builder_parameters("nonsense")


def test_a_claim_about_another_run_leaves_a_table_as_it_is(tmp_path, monkeypatch):
    """data/reported.csv grows with every report that is rebuilt; a table rests on the claims about its own rows."""
    source = (digests.PACKAGE.parent / "data" / "reported.csv").read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    runs = {name: recipes.load(name, "laptop") for name in ("shen-augmentation", "shen-regularization", "summary")}
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "flowerlib")

    def claims(text, name):
        (tmp_path / "data" / "reported.csv").write_text(text, encoding="utf-8")
        return digests._claims(["summary.claims"], runs[name])

    key = "shen/table5/plain/test_accuracy"
    [line] = [line for line in source.splitlines() if line.startswith(f"{key},")]
    changed = source.replace(line, line.replace(",0.66,", ",0.67,"))
    assert changed != source
    assert claims(changed, "shen-augmentation") == claims(source, "shen-augmentation")
    assert claims(changed, "shen-regularization") != claims(source, "shen-regularization")
    assert claims(changed, "summary") != claims(source, "summary")
