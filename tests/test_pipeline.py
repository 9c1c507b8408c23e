"""From a recipe to a record: what is stale and why, what a run leaves behind, and the one line when it cannot."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests

from flowerlib import __main__ as command_line
from flowerlib import batch, digests, execution, fetch, graph, pipeline, recipes, report, summary, tracing
from flowerlib.errors import FlowerlibError
from flowerlib.exporter import MIME

RECIPES = """
alone: {notebook: small, title: Stands alone, report: ours}
other: {notebook: small, title: Another, report: ours, data: {name: drawn, split: official, labels: fine, size_px: 16}}
using: {notebook: small, title: Reads alone's record, report: ours, uses: [alone]}
photographs:
  {notebook: small, title: Real, report: ours, data: {name: oxford102, split: official, labels: fine}}
compare: {notebook: small, title: All of them, report: ours, uses: ["*"]}
"""
PROFILES = """
smoke:
  title: drawn flowers
  runs: {alone: {minutes: 1}, using: {minutes: 2}, other: {minutes: 4}, compare: {minutes: 8}}
laptop:
  title: photographs
  runs: {photographs: {minutes: 16}, alone: {minutes: 1}, compare: {minutes: 8}}
full: {title: all, runs: {photographs: {minutes: 99}}}
"""
PARAMETERS = 'run = "alone"  # which\nprofile = "smoke"'
FACTS = {
    "seed": 7,
    "notebook": "small",
    "data": "of-the-data",
    "commit": "c0ffee",
    "machine": "a machine",
    "libraries": {"keras": "3"},
}
ENTRY = {"value": 1 / 3, "low": 0.25, "high": 0.5, "n": 12, "interval": "Wilson", "unit": "share"}
# Shown as flowerlib.results shows it, without the seconds that its import takes.
SHOW = f"""
from IPython.display import display
display({{"{MIME}": {{"kind": "facts", "name": "run", "facts": {FACTS}}}}}, raw=True)
display({{"{MIME}": {{"kind": "numbers", "name": "numbers", "values": {{"test/accuracy": {ENTRY}}}}}}}, raw=True)
"""


class House:
    """A small bundle of its own: recipes and a notebook, nothing run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "recipes").mkdir(parents=True)
        (root / "notebooks").mkdir()
        self.write_recipes(RECIPES, PROFILES)
        self.write_notebook(SHOW)

    def write_recipes(self, text: str, profiles: str = PROFILES) -> None:
        (self.root / "recipes" / "small.yml").write_text(text)
        (self.root / "recipes" / "profiles.yml").write_text(profiles)
        recipes._all.cache_clear()
        recipes._profile.cache_clear()

    def write_notebook(self, *codes: str, prose: str = "Prose.", parameters: str = PARAMETERS) -> None:
        cells = [nbformat.v4.new_markdown_cell(prose), nbformat.v4.new_code_cell(parameters)]
        cells[1].metadata["tags"] = ["parameters"]
        cells += [nbformat.v4.new_code_cell(code, id=f"cell-{number}") for number, code in enumerate(codes)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), self.root / "notebooks" / "small.ipynb")

    def record(self, run: str, profile: str = "smoke", published: bool = False, **changed: Any) -> dict[str, Any]:
        """Write the record of a run as if it had just been made; ``changed`` says which parts were others then."""
        recipe = recipes.load(run, profile)
        manifest = changed.pop("manifest", None) or pipeline._manifest(recipe)
        parts = pipeline.current_parts(recipe, manifest) | changed
        record = {
            "run": run,
            "profile": profile,
            "digest": digests.digest(parts),
            "parts": parts,
            "facts": FACTS,
            "results": {"test/accuracy": {**ENTRY, "cell": "cell-0"}},
            "figures": {},
            "tables": {},
        }
        folder = pipeline.PUBLISHED / run if published else pipeline.record_folder(run, profile)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(json.dumps(record))
        return record

    def files(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def house(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    root = tmp_path / "house"
    monkeypatch.setattr(pipeline, "ROOT", root)
    monkeypatch.setattr(pipeline, "PUBLISHED", root / "figures")
    monkeypatch.setattr(recipes, "RECIPES", root / "recipes")
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    yield House(root)
    recipes._all.cache_clear()
    recipes._profile.cache_clear()


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_execute", lambda *arguments: pytest.fail("a notebook was run"))


def state(run: str, profile: str = "smoke") -> pipeline.State:
    return pipeline.state(recipes.load(run, profile))


def refusal(run: str, profile: str = "smoke") -> str:
    """The one line with which a run ends."""
    with pytest.raises(FlowerlibError) as caught:
        pipeline.run(run, profile)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is stale, and why


def test_a_run_without_a_record_is_to_do(house: House) -> None:
    assert state("alone") == pipeline.State("alone", False, "not run yet", 1)


def test_a_run_with_todays_record_is_done(house: House) -> None:
    house.record("alone")
    assert state("alone") == pipeline.State("alone", True, "", 0)


def test_prose_and_layout_leave_a_run_done(house: House) -> None:
    house.record("alone")
    house.write_notebook(f"# why\n{SHOW}\n\n", prose="At greater length.")
    assert state("alone").done


def test_a_changed_cell_is_named(house: House) -> None:
    house.record("alone")
    house.write_notebook(SHOW, "print(1)")
    assert state("alone").reason == "changed since: notebook cells"


def test_a_changed_value_is_named_with_before_and_after(house: House) -> None:
    house.record("alone")
    house.write_recipes(RECIPES.replace("report: ours}", "report: ours, seed: 5}", 1))
    assert state("alone").reason == "changed since: seed 1 -> 5"
    assert not state("alone").done


def test_a_changed_function_is_named(house: House) -> None:
    house.write_notebook(SHOW, "from flowerlib import figures, metrics", "figures.confusion, metrics.accuracy")
    recipe = recipes.load("alone", "smoke")
    functions = pipeline.current_parts(recipe, "")["functions"]
    assert {"figures.confusion", "metrics.accuracy"} <= set(functions)
    house.record("alone", functions={**functions, "figures.confusion": "another"})
    assert state("alone").reason == "changed since: figures.confusion"


def test_changed_data_are_named(house: House) -> None:
    house.record("other", manifest="of other flowers")
    assert state("other").reason == "changed since: data"


def test_a_changed_title_is_a_reason(house: House) -> None:
    house.record("alone")
    house.write_recipes(RECIPES.replace("Stands alone", "Stands by itself"))
    assert not state("alone").done
    assert state("alone").reason


def test_a_run_whose_used_run_was_made_anew_is_to_do_and_names_it(house: House) -> None:
    house.record("alone")
    house.record("using")
    assert state("using").done
    house.record("alone", cells="other cells")
    assert state("using").reason == "changed since: alone"


def test_a_run_whose_used_run_would_run_is_to_do_as_well(house: House) -> None:
    """`make status` says what would run: the summary follows every run that is made anew."""
    for run in ("alone", "using", "other", "compare"):
        house.record(run)
    assert [now.run for now in pipeline.states("smoke") if not now.done] == []
    house.write_recipes(RECIPES.replace("Stands alone", "Stands by itself"))
    assert [now.run for now in pipeline.states("smoke") if not now.done] == ["alone", "using", "compare"]


def test_a_record_of_another_profile_does_not_count(house: House) -> None:
    record = house.record("alone", "laptop", published=True)
    assert record["profile"] == "laptop"
    assert state("alone", "laptop").published
    assert not state("alone", "smoke").done


def test_star_stands_for_every_other_run_of_the_profile(house: House) -> None:
    assert pipeline.used_runs(recipes.load("compare", "smoke")) == ["alone", "using", "other"]
    assert pipeline.used_runs(recipes.load("compare", "laptop")) == ["photographs", "alone"]
    assert pipeline.used_runs(recipes.load("using", "smoke")) == ["alone"]
    assert pipeline.used_runs(recipes.load("alone", "smoke")) == []


def test_a_recipe_that_names_no_notebook_is_refused(house: House) -> None:
    house.write_recipes(RECIPES.replace("notebook: small", "notebook: lost", 1))
    assert "lost.ipynb" in refusal("alone")


# Photographs that are not there


def no_network(*arguments: Any, **options: Any) -> None:
    raise requests.ConnectionError


@pytest.fixture(params=["empty folder", "no folder", "nothing fetched"])
def without_photographs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(fetch.requests, "get", no_network)
    mirror = {"empty folder": tmp_path / "empty", "no folder": tmp_path / "nowhere"}.get(request.param)
    if mirror:
        monkeypatch.setenv("FLOWERLIB_MIRROR", str(mirror))
    return str(mirror or "make data")


def test_without_photographs_a_run_is_left_out_with_the_reason(house: House, without_photographs: str) -> None:
    now = state("photographs", "laptop")
    assert now.blocked and not now.done
    assert without_photographs in now.reason


def test_without_photographs_a_run_is_refused_and_nothing_is_drawn(
    house: House, cache: Path, without_photographs: str, no_kernel: None
) -> None:
    before = house.files()
    message = refusal("photographs", "laptop")
    assert message.startswith("photographs: the photographs are not here")
    assert without_photographs in message
    assert house.files() == before
    assert not list(cache.rglob("*.npy"))


def test_without_photographs_the_committed_record_is_taken_at_its_word(
    house: House, without_photographs: str, no_kernel: None
) -> None:
    house.record("photographs", "laptop", published=True, manifest="of the photographs")
    assert state("photographs", "laptop") == pipeline.State("photographs", True, "", 0, published=True)
    house.write_notebook(SHOW, "print(1)")
    assert state("photographs", "laptop").blocked


def test_without_photographs_a_report_on_them_is_refused(
    house: House, without_photographs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PDF of reasons is not what was asked for."""
    (house.root / "report.tex").write_text("\\begin{document}\n\\end{document}\n")
    monkeypatch.setattr(batch, "snakemake", lambda profile: None)
    monkeypatch.setattr(report, "_typeset", lambda build: Path("report.pdf"))
    with pytest.raises(FlowerlibError, match="photographs|flowers/102|mirror") as caught:
        report.make("laptop")
    assert "\n" not in str(caught.value)


# What a run does


def test_a_run_leaves_notebook_record_and_digest_and_is_not_run_again(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headless = f"import os\nassert os.environ['FLOWERLIB_HEADLESS'] == '{os.getpid()}'\nprint('epoch 1/2  loss 1.0')"
    house.write_notebook(headless, SHOW, "print('noise')")
    old = pipeline.record_folder("alone", "smoke")
    old.mkdir(parents=True)
    (old / "of-an-older-export.pdf").write_bytes(b"old")

    folder = pipeline.run("alone", "smoke")

    assert folder == old and {path.name for path in folder.iterdir()} == {"record.json"}
    record = json.loads((folder / "record.json").read_text())
    assert (record["run"], record["profile"]) == ("alone", "smoke")
    assert record["results"] == {"test/accuracy": {**ENTRY, "cell": "cell-1"}}
    assert record["digest"] == digests.digest(record["parts"])
    executed = nbformat.read(pipeline.executed_notebook("alone", "smoke"), as_version=4)
    assert executed.metadata["flowerlib"]["digest"] == record["digest"]
    assert {path.name for path in (house.root / "runs" / "smoke").iterdir()} == {"alone.ipynb"}
    assert "FLOWERLIB_HEADLESS" not in os.environ
    said = capsys.readouterr().err
    assert "epoch 1/2  loss 1.0" in said and "noise" not in said

    assert state("alone").done
    monkeypatch.setattr(pipeline, "_execute", lambda *arguments: pytest.fail("a notebook was run"))
    assert pipeline.run("alone", "smoke") == folder
    assert json.loads((folder / "record.json").read_text()) == record
    with pytest.raises(pytest.fail.Exception):
        pipeline.run("alone", "smoke", force=True)


def test_a_done_run_tells_the_graph_that_it_was_looked_at(house: House, no_kernel: None) -> None:
    house.record("alone")
    path = pipeline.record_folder("alone", "smoke") / "record.json"
    os.utime(path, (0, 0))
    before = path.read_bytes()
    pipeline.run("alone", "smoke")
    assert path.stat().st_mtime > 1e9
    assert path.read_bytes() == before


def test_a_committed_run_is_taken_over_with_its_files(house: House, no_kernel: None) -> None:
    house.record("alone", "laptop", published=True)
    (pipeline.PUBLISHED / "alone" / "curves.pdf").write_bytes(b"%PDF")
    folder = pipeline.run("alone", "laptop")
    assert folder == pipeline.record_folder("alone", "laptop")
    assert {path.name for path in folder.iterdir()} == {"record.json", "curves.pdf"}
    assert not list(folder.parent.glob(".*"))
    assert state("alone", "laptop").done and not state("alone", "laptop").published
    assert (pipeline.PUBLISHED / "alone" / "curves.pdf").exists()


def test_a_failed_notebook_is_kept_for_reading_and_its_error_said_in_one_line(house: House) -> None:
    house.record("alone", cells="other cells")
    before = (pipeline.record_folder("alone", "smoke") / "record.json").read_bytes()
    house.write_notebook("print('as far as here')", "raise ValueError('first line\\nsecond line')", SHOW)

    message = refusal("alone")

    assert "ValueError: first line" in message
    assert "runs/smoke/alone.failed.ipynb" in message
    assert {path.name for path in (house.root / "runs" / "smoke").iterdir()} == {"alone.failed.ipynb"}
    failed = nbformat.read(house.root / "runs" / "smoke" / "alone.failed.ipynb", as_version=4)
    assert any(
        "as far as here" in output.get("text", "") for cell in failed.cells for output in cell.get("outputs", [])
    )
    assert (pipeline.record_folder("alone", "smoke") / "record.json").read_bytes() == before
    with pytest.raises(FlowerlibError, match="error"):
        pipeline.export(house.root / "runs" / "smoke" / "alone.failed.ipynb", pipeline.record_folder("alone", "smoke"))
    assert (pipeline.record_folder("alone", "smoke") / "record.json").read_bytes() == before

    house.write_notebook(SHOW)
    pipeline.run("alone", "smoke")
    assert {path.name for path in (house.root / "runs" / "smoke").iterdir()} == {"alone.ipynb"}


def test_an_error_of_ours_in_a_cell_is_said_in_its_own_words(house: House) -> None:
    house.write_notebook("from flowerlib.errors import FlowerlibError\nraise FlowerlibError('turn it off and on')")
    assert refusal("alone").startswith("turn it off and on (")


def test_a_kernel_that_does_not_start_is_one_line(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(execution.papermill, "execute_notebook", dies)
    assert "alone: the kernel did not start (Kernel died before replying" in refusal("alone")


def test_a_killed_kernel_is_said_to_have_run_out_of_memory(house: House) -> None:
    house.write_notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", SHOW)
    message = refusal("alone")
    assert "kernel was killed" in message and "memory" in message
    assert message.startswith("alone: ")
    assert {path.name for path in (house.root / "runs" / "smoke").iterdir()} == {"alone.failed.ipynb"}
    assert not pipeline.record_folder("alone", "smoke").exists()


@pytest.mark.parametrize("missing", ["run", "profile"])
def test_a_notebook_without_a_parameter_is_refused_before_it_is_run(house: House, missing: str) -> None:
    lines = [line for line in PARAMETERS.splitlines() if not line.startswith(missing)]
    house.write_notebook(SHOW, parameters="\n".join(lines))
    message = refusal("alone")
    assert "small.ipynb" in message and f"'{missing}'" in message
    assert not list((house.root / "runs").rglob("*.ipynb"))


def test_a_run_whose_used_run_is_not_done_is_refused_with_the_command_to_type(house: House, no_kernel: None) -> None:
    assert "python -m flowerlib run alone --profile smoke" in refusal("using")


def test_an_export_that_is_refused_leaves_the_older_one_alone(house: House) -> None:
    house.record("alone")
    before = house.files()
    with pytest.raises(FlowerlibError):
        pipeline.export(house.root / "notebooks" / "small.ipynb", pipeline.record_folder("alone", "smoke"))
    assert house.files() == before


# The one list of numbers


def test_the_merge_holds_every_number_with_where_it_comes_from(house: House) -> None:
    record = house.record("alone")
    house.record("other")
    house.record("compare")
    house.record("alone@seed=3")
    path = pipeline.build_folder("smoke") / "results.json"
    tracing.merge("smoke", path)
    merged = json.loads(path.read_text())
    assert set(merged["numbers"]) == {"alone/test/accuracy", "other/test/accuracy"}, (
        "only the runs of the profile that are compared"
    )
    assert merged["numbers"]["alone/test/accuracy"] == {**ENTRY, "cell": "cell-0"}
    assert set(merged["runs"]) == {"alone", "other"}
    assert merged["runs"]["alone"] == {
        "profile": "smoke",
        "seed": 7,
        "notebook": "small",
        "data": "of-the-data",
        "digest": record["digest"],
        "commit": "c0ffee",
        "training_minutes": None,
        "training_machine": None,
        "training_date": None,
        "machine": "a machine",
        "libraries": {"keras": "3"},
    }
    joined = {**merged["numbers"]["alone/test/accuracy"], **merged["runs"]["alone"], "run": "alone"}
    assert summary.read("smoke")["alone/test/accuracy"] == joined == tracing.trace("alone/test/accuracy", "smoke")


def test_minutes_and_machine_of_the_training_stand_beside_its_numbers(house: House) -> None:
    record = house.record("alone")
    record["training"] = {"minutes": 12.5, "machine": "another machine", "date": "2026-01-02", "epochs": 3}
    entry = tracing.entries(record)["alone/test/accuracy"]
    assert (entry["training_minutes"], entry["training_machine"], entry["training_date"]) == (
        12.5,
        "another machine",
        "2026-01-02",
    )


def test_a_merge_that_cannot_be_written_leaves_the_older_list_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.record("alone")
    path = pipeline.build_folder("smoke") / "results.json"
    path.write_text("{}")

    def full(self: Path, text: str, **options: Any) -> int:
        with open(self, "w") as file:
            file.write(text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        tracing.merge("smoke", path)
    assert path.read_text() == "{}"


def test_a_number_is_traced_to_its_run(house: House) -> None:
    record = house.record("alone")
    entry = tracing.trace("alone/test/accuracy", "smoke")
    assert entry == tracing.entries(record)["alone/test/accuracy"]
    assert {"notebook", "cell", "seed", "data", "digest", "commit", "machine", "libraries"} <= set(entry)


def test_the_minutes_of_a_training_are_traced_to_the_cell_that_trained(house: House) -> None:
    record = house.record("alone")
    assert "alone/train/minutes" not in str(tracing.entries(record))
    path = pipeline.record_folder("alone", "smoke") / "record.json"
    counted = {"value": 2, "low": None, "high": None, "n": 2, "interval": "counted", "unit": "", "cell": "abc"}
    results = record["results"] | {"train/epochs": counted}
    path.write_text(json.dumps(record | {"results": results, "training": {"minutes": 1.25}}), encoding="utf-8")
    entry = tracing.trace("alone/train/minutes", "smoke")
    assert (entry["value"], entry["cell"], entry["training_minutes"], entry["unit"]) == (1.25, "abc", 1.25, "min")
    assert {"notebook", "cell", "seed", "data", "digest", "commit", "machine", "libraries"} <= set(entry)


def test_an_unknown_number_is_answered_in_one_short_line(house: House) -> None:
    record = house.record("alone")
    path = pipeline.record_folder("alone", "smoke") / "record.json"
    value = next(iter(record["results"].values()))
    many = {f"test/class_{i}/recall": value for i in range(400)}
    path.write_text(json.dumps(record | {"results": record["results"] | many}), encoding="utf-8")
    with pytest.raises(FlowerlibError, match="closest are alone/test/accuracy, ") as caught:
        tracing.trace("alone/test/acuracy", "smoke")
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_a_committed_number_is_traced_as_well(house: House) -> None:
    record = house.record("alone", "laptop", published=True)
    assert tracing.trace("alone/test/accuracy", "laptop")["digest"] == record["digest"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("alone/test/acuracy", "alone/test/accuracy"),
        ("nonsense/test/accuracy", "alone, using, other, compare"),
        ("other/test/accuracy", "python -m flowerlib run other --profile smoke"),
    ],
)
def test_what_cannot_be_traced_is_said_with_what_can(house: House, key: str, said: str) -> None:
    house.record("alone")
    with pytest.raises(FlowerlibError, match=said):
        tracing.trace(key, "smoke")


# The graph


def test_the_graph_looks_at_a_file_that_is_newer_than_the_record_exactly_when_a_run_is_to_do(house: House) -> None:
    house.record("alone")
    house.record("other", manifest="of other flowers")
    assert graph.prepare("smoke") == {
        "alone": [],
        "using": ["alone"],
        "other": [],
        "compare": ["alone", "using", "other"],
    }
    folder = pipeline.build_folder("smoke")
    newer = {
        run: (folder / "digests" / run).stat().st_mtime >= (folder / "figures" / run / "record.json").stat().st_mtime
        for run in ("alone", "other")
    }
    assert newer == {"alone": False, "other": True}


def test_the_graph_leaves_out_what_cannot_be_made_here(house: House, without_photographs: str) -> None:
    assert graph.prepare("laptop") == {"alone": [], "compare": ["alone"]}


def test_the_graph_takes_over_what_was_published(house: House) -> None:
    published = house.record("alone", "laptop", published=True)
    assert "alone" in graph.prepare("laptop")
    folder = pipeline.build_folder("laptop")
    path = folder / "figures" / "alone" / "record.json"
    assert json.loads(path.read_text()) == published
    assert path.stat().st_mtime > (folder / "digests" / "alone").stat().st_mtime


# The command line


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of the command line, called in this process."""
    monkeypatch.setattr(sys, "argv", ["flowerlib", *arguments])
    try:
        command_line.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run nonsense", "unknown recipe 'nonsense'"),
        ("run alone --profile nonsense", "unknown profile 'nonsense'"),
        ("run photographs@data.split=nonsense", "data.split"),
        ("run photographs@data.size_px=9999", "512"),
        ("run alone@nonsense=1", "nonsense is not a key"),
        ("run alone@nonsense", "not key=value"),
        ("run photographs --profile laptop", "the photographs are not here"),
        ("run using", "uses alone"),
        ("run", "recipe"),
        ("run alone --nonsense", "--nonsense"),
        ("run alone other", "other"),
        ("nonsense", "nonsense"),
        ("status --profile nonsense", "unknown profile 'nonsense'"),
        ("report --profile nonsense", "unknown profile 'nonsense'"),
        ("merge --profile nonsense", "unknown profile 'nonsense'"),
        ("publish --profile smoke", "laptop"),
        ("export alone", "was not run"),
        ("export nonsense", "nonsense"),
        ("trace alone/test/accuracy --profile smoke", "was not run"),
        ("trace alone/test/accuracy --profile nonsense", "unknown profile 'nonsense'"),
        ("fetch nonsense", "unknown data set 'nonsense'"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line_and_status_2(
    house: House,
    no_kernel: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    said: str,
) -> None:
    before = house.files()
    assert call(arguments.split(), monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("flowerlib: ") and err.count("\n") == 1
    assert said in err
    assert house.files() == before


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/record.json"),
            2,
            "No space left on device (record.json)",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 2, "Permission denied (b)"),
        (KeyboardInterrupt(), 130, "stopped; a training goes on at its last epoch when run again"),
    ],
)
def test_a_full_disk_and_an_interrupt_end_in_one_line(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    line: str,
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    assert call(["run", "alone"], monkeypatch) == status
    assert capsys.readouterr().err == f"flowerlib: {line}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"]])
def test_help_is_given_without_a_traceback(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    call(arguments, monkeypatch)
    out, err = capsys.readouterr()
    assert "Usage" in out + err and "Traceback" not in out + err


def test_status_says_what_would_run_why_and_the_minutes(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.record("alone")
    house.record("other", manifest="of other flowers")
    assert call(["status", "--profile", "smoke"], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:4]] == [
        ["done", "alone"],
        ["to", "do", "using"],
        ["to", "do", "other"],
        ["to", "do", "compare"],
    ]
    assert "changed since: data" in lines[2] and lines[2].endswith("about 4 min")
    assert lines[-1] == "smoke (drawn flowers): 3 to do, about 14 minutes"


def test_status_says_when_nothing_is_to_do(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in ("alone", "using", "other", "compare"):
        house.record(run)
    call(["status", "--profile", "smoke"], monkeypatch)
    assert capsys.readouterr().out.splitlines()[-1] == "smoke (drawn flowers): nothing to do"


def test_status_says_what_is_left_out_and_why(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(["status", "--profile", "laptop"], monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("left out photographs") and "make data" in lines[0]
    assert lines[-1].endswith("; 1 left out")


def test_trace_prints_a_line_for_each_fact(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = house.record("alone")
    assert call(["trace", "alone/test/accuracy", "--profile", "smoke"], monkeypatch) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    assert said["value"] == repr(1 / 3) and said["digest"] == record["digest"] and said["cell"] == "cell-0"


LOOKING = """
import sys
from flowerlib.__main__ import main
for arguments in (["status", "--profile", "smoke"], ["status", "--profile", "laptop"],
                  ["trace", "shen-coarse/test/nonsense"], ["fetch", "oxford102"], ["publish", "--profile", "smoke"]):
    sys.argv = ["flowerlib", *arguments]
    try:
        main()
    except SystemExit:
        pass
heavy = {"tensorflow", "keras", "torch", "jax"} & {name.split(".")[0] for name in sys.modules}
sys.exit(f"imported: {sorted(heavy)}" if heavy else 0)
"""


def test_commands_that_only_look_import_no_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    environment = os.environ | {"FLOWERLIB_CACHE": str(tmp_path / "cache"), "FLOWERLIB_MIRROR": str(tmp_path / "empty")}
    done = subprocess.run([sys.executable, "-c", LOOKING], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("flowers") >= 1, "status was printed"


def test_the_command_line_ends_a_process_with_one_line_and_status_2(tmp_path: Path) -> None:
    environment = os.environ | {"FLOWERLIB_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "flowerlib", "run", "nonsense", "--profile", "smoke"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flowerlib: unknown recipe 'nonsense'") and done.stderr.count("\n") == 1
