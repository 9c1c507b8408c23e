"""The front door: set-up, the make targets, and the places that must agree with pyproject.toml."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import flowerlib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PYTHONS = ["3.11", "3.12", "3.13"]
MACHINES = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "linux-arm": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "aarch64"},
    "mac": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}
DOCUMENTED = (
    "report test data lab status verify diff exercises gallery publish setup latex lint format lock gpu clean help"
).split()

# Stands in for a Python whose version is $FAKE_VERSION: makes environments of itself, notes its calls, and
# fails in `pip install` when $FAKE_BREAK is set.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$FAKE_LOG"
case "$*" in
    *version_info*) echo "$FAKE_VERSION" ;;
    *"import ensurepip"*) [ -z "$FAKE_NO_VENV" ] ;;
    "-m venv --clear "*) mkdir -p "$4/bin" && touch "$4/pyvenv.cfg" && cp "$0" "$4/bin/python" ;;
    "-m pip install"*) [ -z "$FAKE_BREAK" ] ;;
esac
"""


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    """Call make in a folder, free of what an outer make put into the environment."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for name in ("PYTHON", "PROFILE", "VENV"):
        inherited.pop(name, None)
    program = shutil.which("make") or pytest.skip("make is not installed")
    return subprocess.run(
        [program, *words], cwd=folder, env=inherited | variables, capture_output=True, text=True, timeout=60
    )


def script(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def front(tmp_path: Path) -> Path:
    """A folder that holds what set-up reads, and no environment."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def python(tmp_path: Path) -> dict[str, str]:
    """The variables that make `make` use a stand-in for Python 3.12."""
    return {
        "PYTHON": str(script(tmp_path / "fake" / "python", FAKE_PYTHON)),
        "FAKE_VERSION": "3.12",
        "FAKE_LOG": str(tmp_path / "calls.log"),
    }


def requirements(*extras: str) -> list[Requirement]:
    """The direct dependencies of pyproject.toml with those of some extras."""
    optional = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in PROJECT["dependencies"] + [r for e in extras for r in optional[e]]]


def locked(lock: str, machine: dict[str, str], python: str) -> dict[str, list[Version]]:
    """What a lock installs on one kind of machine: package -> versions (one, unless the lock is wrong)."""
    where = machine | {"python_version": python, "python_full_version": f"{python}.9"}
    pins: dict[str, list[Version]] = {}
    for line in lock.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        pin = Requirement(text)
        if pin.marker is None or pin.marker.evaluate(where):
            (spec,) = pin.specifier
            pins.setdefault(canonicalize_name(pin.name), []).append(Version(spec.version))
    return pins


def uncovered(lock: str, wanted: list[Requirement], machine: dict[str, str], python: str) -> list[str]:
    """The direct dependencies that a lock does not pin exactly once and within their range."""
    where = machine | {"python_version": python, "python_full_version": f"{python}.9"}
    pins = locked(lock, machine, python)
    needed = [need for need in wanted if need.marker is None or need.marker.evaluate(where)]
    return [
        str(need)
        for need in needed
        if [need.specifier.contains(v) for v in pins.get(canonicalize_name(need.name), [])] != [True]
    ]


def disagreements(environment: dict, project: dict) -> list[str]:
    """Where an environment.yml departs from a pyproject.toml's [project]."""
    lines = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = [line for entry in environment["dependencies"] if isinstance(entry, dict) for line in entry["pip"]]
    conda = {re.split(r"[ <>=!]", line, maxsplit=1)[0]: line for line in lines}
    pythons = SpecifierSet(conda["python"].removeprefix("python").strip())
    named = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    found = []
    if pythons != SpecifierSet(project["requires-python"]):
        found.append(f"python: {pythons} and {project['requires-python']}")
    if environment["name"] != project["name"]:
        found.append(f"name: {environment['name']} and {project['name']}")
    if pip != ["-r requirements.lock", "-e .[dev]"]:
        found.append(f"pip: {pip} is not this pyproject.toml with its lock")
    found += [f"{name}: named in both" for name in sorted(named & conda.keys())]
    return found


def imported(code: str) -> set[str]:
    """The top-level modules that a piece of Python imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(code)))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level and node.module}
    return {name.partition(".")[0] for name in whole | parts}


def all_imports() -> set[str]:
    """What the package, the notebooks, the tests and the benchmarks import that is neither Python's nor ours."""
    rooms = [ROOT / room for room in ("flowerlib", "tests", "benchmarks")]
    files = [path for room in rooms for path in room.rglob("*.py")]
    codes = [path.read_text(encoding="utf-8") for path in files]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        codes += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    ours = {"flowerlib", *(room.name for room in rooms), *(path.stem for path in files)}
    return set().union(*map(imported, codes)) - ours - set(sys.stdlib_module_names)


def tracked_text() -> dict[str, str]:
    """Path -> text of each text file that git holds or would take up."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {}
    for name in filter(None, names):
        try:
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or deleted and not yet committed
    return texts


def lines_matching(pattern: str, texts: dict[str, str]) -> list[str]:
    """`path:line: text` of each line in which a pattern is found."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


# ---- what must agree with pyproject.toml


def test_environment_yml_installs_the_same_pyproject_on_the_same_pythons():
    assert disagreements(ENVIRONMENT, PROJECT) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"requires-python": ">=3.11,<3.13"}, "python"),
        ({"name": "petals"}, "name"),
        ({"dependencies": [*PROJECT["dependencies"], "poppler"]}, "poppler"),
    ],
)
def test_a_pyproject_that_departs_from_environment_yml_is_named(change: dict, named: str):
    (found,) = disagreements(ENVIRONMENT, PROJECT | change)
    assert found.startswith(f"{named}:")


def test_an_environment_yml_that_installs_something_else_is_named():
    other = ENVIRONMENT | {"dependencies": ["python >=3.11,<3.14", {"pip": ["-r requirements.lock"]}]}
    (found,) = disagreements(other, PROJECT)
    assert found.startswith("pip:")


def test_every_line_of_environment_yml_says_who_needs_it():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8").partition("dependencies:")[2]
    lines = [line for line in text.splitlines() if line.strip() and line.strip() != "- pip:"]
    assert [line for line in lines if not re.search(r"#\s*(everyone|who)\b", line)] == []


def test_makefile_takes_the_pythons_of_requires_python():
    (listed,) = re.findall(r"^PYTHONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = SpecifierSet(PROJECT["requires-python"])
    allowed = [f"3.{minor}" for minor in range(20, 5, -1) if wanted.contains(f"3.{minor}")]
    assert listed.split() == allowed == PYTHONS[::-1]


@pytest.mark.parametrize("python_version", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_lock_pins_each_direct_dependency_once_and_within_its_range(machine: str, python_version: str):
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert uncovered(lock, requirements("dev"), MACHINES[machine], python_version) == []


@pytest.mark.parametrize("lock", ["", "numpy==1.26.0", "numpy==2.4.0\nnumpy==2.4.1", "numpy==2.4.0; os_name == 'nt'"])
def test_a_missing_outdated_or_double_pin_is_named(lock: str):
    assert uncovered(lock, [Requirement("numpy>=2.4")], MACHINES["linux"], "3.12") == ["numpy>=2.4"]


@pytest.mark.parametrize("python_version", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_each_machine_gets_one_tensorflow(machine: str, python_version: str):
    pins = locked((ROOT / "requirements.lock").read_text(), MACHINES[machine], python_version)
    small = machine in ("linux", "windows")
    assert ("tensorflow-cpu" in pins, "tensorflow" in pins) == (small, not small)


def test_the_gpu_extra_asks_for_the_tensorflow_that_the_lock_has():
    (need,) = [Requirement(line) for line in PROJECT["optional-dependencies"]["gpu"]]
    (version,) = locked((ROOT / "requirements.lock").read_text(), MACHINES["linux"], "3.11")["tensorflow-cpu"]
    assert need.extras == {"and-cuda"}
    assert need.specifier.contains(version)


def test_everything_imported_is_a_declared_dependency():
    declared = {canonicalize_name(need.name) for need in requirements("dev")}
    installed_by = packages_distributions()
    undeclared = {
        name
        for name in all_imports()
        if not declared & {canonicalize_name(package) for package in installed_by.get(name, [])}
    }
    assert undeclared == set()


def test_the_version_of_flowerlib_is_written_once():
    number = re.escape(flowerlib.__version__)
    texts = {
        name: text
        for name, text in tracked_text().items()
        if name not in ("requirements.lock", "CHANGELOG.md") and not name.startswith("figures/")
    }
    places = lines_matching(rf"(?<![\d.]){number}(?![\d.])", texts)
    assert [place.partition(":")[0] for place in places] == ["flowerlib/__init__.py"]


# ---- what no file may carry


def test_no_tracked_file_names_a_registry_host():
    hosts = r"pypi\.\w+/|pythonhosted|artifactory|--(extra-)?index-url|--find-links"
    texts = tracked_text()
    del texts["tests/test_front_door.py"]
    assert lines_matching(hosts, texts) == []


def test_no_tracked_file_names_a_folder_of_one_machine():
    folders = r"(?<![\w./~{}$-])/(root|home|Users|work|tmp|opt)/\w"
    assert lines_matching(folders, tracked_text()) == []


# ---- make


def test_make_help_lists_every_documented_target():
    listed = [line.split()[1] for line in make(ROOT, "help").stdout.splitlines()]
    assert listed == DOCUMENTED
    assert make(ROOT).stdout == make(ROOT, "help").stdout


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_make_command_in_the_documents_exists(document: str):
    path = ROOT / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    shown = re.findall(r"`make .*?`", text) + re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"(?:^|`|&& )(?:[A-Z_]+=\S+ )*make ([a-z]+)", "\n".join(shown), re.MULTILINE)
    assert sorted(set(commands) - set(DOCUMENTED)) == []


def test_make_report_runs_the_smoke_profile_unless_told_otherwise(front: Path):
    assert "-m flowerlib report --profile smoke" in make(front, "-n", "report").stdout
    assert "-m flowerlib report --profile laptop" in make(front, "-n", "report", "PROFILE=laptop").stdout


def test_make_status_leaves_the_profile_to_flowerlib_unless_told_otherwise(front: Path):
    plain, smoke = make(front, "-n", "status"), make(front, "-n", "status", "PROFILE=smoke")
    assert re.search(r"-m flowerlib status\s*$", plain.stdout)
    assert re.search(r"-m flowerlib status --profile smoke\s*$", smoke.stdout)


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.10", "3.14", ""])
@pytest.mark.parametrize("target", ["report", "test"])
def test_an_unsupported_python_gets_one_line_and_nothing_is_written(
    front: Path, python: dict[str, str], target: str, version: str
):
    before = sorted(front.iterdir())
    run = make(front, target, **python | {"FAKE_VERSION": version})
    said = [line for line in (run.stdout + run.stderr).splitlines() if not line.startswith("make: ***")]
    found = f"needs Python 3.11 to 3.13, found {version or 'none'}"
    assert (run.returncode, said) == (2, [f"{found}: install it or call make PYTHON=/path/to/python"])
    assert sorted(front.iterdir()) == before


def test_without_a_word_make_takes_the_newest_supported_python(front: Path, python: dict[str, str], tmp_path: Path):
    for name, version in {"python3.13": "", "python3.12": "3.12", "python3": "3.9"}.items():
        script(tmp_path / "bin" / name, FAKE_PYTHON.replace('"$FAKE_VERSION"', version))
    search = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    del python["PYTHON"]
    assert make(front, "setup", PATH=search, **python).returncode == 0
    assert "echo 3.12" in (front / ".venv" / "bin" / "python").read_text()


def test_set_up_installs_the_lock_once_and_again_when_it_changes(front: Path, python: dict[str, str]):
    log = Path(python["FAKE_LOG"])

    def installs() -> list[str]:
        run = make(front, "setup", **python)
        assert run.returncode == 0, run.stderr
        calls = log.read_text().splitlines()
        log.unlink()
        return [call.split()[-1] for call in calls if "pip install" in call]

    assert installs() == ["wheel", "requirements.lock", "."]
    assert installs() == []
    later = (front / ".venv" / ".set-up").stat().st_mtime + 1
    os.utime(front / "requirements.lock", (later, later))
    assert installs() == ["wheel", "requirements.lock", "."]


def test_an_interrupted_set_up_is_not_taken_for_a_finished_one(front: Path, python: dict[str, str]):
    stamp = front / ".venv" / ".set-up"
    assert make(front, "setup", **python | {"FAKE_BREAK": "yes"}).returncode == 2
    assert not stamp.exists()
    assert make(front, "setup", **python).returncode == 0
    assert stamp.exists()
    later = stamp.stat().st_mtime + 1
    os.utime(front / "pyproject.toml", (later, later))
    assert make(front, "setup", **python | {"FAKE_BREAK": "yes"}).returncode == 2
    assert not stamp.exists()


def test_a_python_without_venv_is_told_what_to_install(front: Path, python: dict[str, str]):
    run = make(front, "setup", **python | {"FAKE_NO_VENV": "yes"})
    assert run.returncode == 2
    assert "apt-get install python3.12-venv, then call make again" in run.stderr.splitlines()[0]
    assert not (front / ".venv").exists()


def test_set_up_never_clears_a_folder_it_did_not_make(front: Path, python: dict[str, str]):
    (front / "precious").mkdir()
    (front / "precious" / "thesis.txt").write_text("years of work")
    run = make(front, "setup", "VENV=precious", **python)
    assert run.returncode == 2
    assert run.stderr.startswith("precious is no environment with Python 3.11 to 3.13")
    assert (front / "precious" / "thesis.txt").read_text() == "years of work"


def tools(folder: Path, user: int, **programs: str) -> dict[str, str]:
    """A PATH that holds sh, a user's id, and programs given as shell text: no LaTeX unless given."""
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    for name, text in ({"id": f"echo {user}"} | programs).items():
        script(folder / name, f"#!/bin/sh\n{text}\n")
    return {"PATH": str(folder)}


def test_without_latex_and_root_one_line_says_what_to_install(front: Path, tmp_path: Path):
    path = tools(tmp_path / "bin", 1000, **{"apt-get": "exit 1"})
    run = make(front, "latex", **path)
    line = run.stderr.splitlines()[0]
    assert run.returncode == 2
    assert "the notebooks run all the same" in line
    assert re.search(r"Install: sudo apt-get install latexmk .*texlive-science.*poppler-utils$", line)


def test_root_on_debian_has_latex_installed(front: Path, tmp_path: Path):
    path = tools(tmp_path / "bin", 0, **{"apt-get": 'echo "$@" >> calls.log'})
    make(front, "latex", **path)
    update, install = (front / "calls.log").read_text().splitlines()
    assert update.endswith("update")
    assert "install --yes" in install
    assert {"latexmk", "texlive-latex-extra", "cm-super-minimal"} <= set(install.split())


def test_make_latex_looks_for_every_package_the_report_uses():
    sources = [(ROOT / name).read_text(encoding="utf-8") for name in ("report.tex", "flowerlib/report.sty")]
    lists = re.findall(r"\\(?:usepackage|RequirePackage)(?:\[[^]]*\])?\{([^}]*)\}", "\n".join(sources))
    used = {f"{name.strip()}.sty" for line in lists for name in line.split(",")} - {"report.sty"}
    looked_for = re.findall(r"[\w-]+\.sty", (ROOT / "Makefile").read_text())
    assert used
    assert used - set(looked_for) == set()


def test_clean_keeps_every_long_result(front: Path):
    kept = [
        "build/laptop/report.pdf",
        "runs/smoke/a.ipynb",
        "runs/laptop/a.ipynb",
        "weights/a.h5",
        "figures/a.png",
    ]
    gone = ["build/smoke/report.pdf", "flowerlib/__pycache__/a.pyc", ".ruff_cache/a"]
    for name in kept + gone:
        (front / name).parent.mkdir(parents=True, exist_ok=True)
        (front / name).touch()
    for room in ("benchmarks", "notebooks", "tests"):
        (front / room).mkdir()
    run = make(front, "clean")
    assert run.returncode == 0, run.stderr
    assert [name for name in kept + gone if (front / name).exists()] == kept
    assert run.stdout.startswith("Kept: ")


def test_continuous_integration_calls_make_test():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert path.read_text().rstrip().endswith("make test")
