"""Many runs of one recipe: which ones, their table and plot, and snakemake itself in a copy of the bundle."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pandas as pd
import pytest
from test_report import Copy

from flowerlib import batch, pipeline
from flowerlib.errors import FlowerlibError


def test_commas_inside_brackets_part_no_values() -> None:
    assert batch.parse(["model.widths=[16,32],[8]"]) == {"model.widths": ["[16,32]", "[8]"]}


def test_every_combination_has_every_seed() -> None:
    settings = batch.parse(["model.dropout=0,0.3", "training.epochs=2"])
    assert settings == {"model.dropout": ["0", "0.3"], "training.epochs": ["2"]}
    assert batch.combinations("shen-coarse", settings, 2) == {
        ("0", "2"): [f"shen-coarse@model.dropout=0@training.epochs=2@seed={seed}" for seed in (1, 2)],
        ("0.3", "2"): [f"shen-coarse@model.dropout=0.3@training.epochs=2@seed={seed}" for seed in (1, 2)],
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model.widths"], "--set model.widths: write key=value"),
        (["a=1,"], "write key"),
        (["a=1", "a=2"], "given twice"),
    ],
)
def test_a_setting_that_says_nothing_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(FlowerlibError, match=said):
        batch.parse(given)


def test_a_value_that_no_recipe_takes_stops_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "snakemake", lambda *_: pytest.fail("runs were made"))
    with pytest.raises(FlowerlibError, match="training.epochz"):
        batch.make("shen-coarse", {"training.epochz": ["2"]}, 1, "smoke", "test/accuracy")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle's folder with the records of two rates and three seeds."""
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    runs = batch.combinations("shen-coarse", {"model.dropout": ["0", "0.3"]}, 3)
    for place, names in enumerate(runs.values()):
        for seed, name in enumerate(names):
            value = {"value": 0.5 + 0.2 * place + 0.01 * seed, "low": 0.4, "high": 0.9, "n": 150, "interval": "wilson"}
            folder = pipeline.record_folder(name, "smoke")
            folder.mkdir(parents=True)
            record = {"run": name, "results": {"test/accuracy": {**value, "unit": "share"}}}
            (folder / "record.json").write_text(json.dumps(record))
    return tmp_path


def test_the_table_has_means_over_seeds_and_the_plot_a_point_each(made: Path) -> None:
    settings = {"model.dropout": ["0", "0.3"]}
    runs = batch.combinations("shen-coarse", settings, 3)
    table = batch.table(runs, list(settings), "smoke", "test/accuracy")
    assert table["test/accuracy"].tolist() == pytest.approx([0.51, 0.71]) and table["seeds"].tolist() == [3, 3]
    assert (table["low"] < table["test/accuracy"]).all() and (table["high"] > table["test/accuracy"]).all()
    [ax] = batch.plot(table, list(settings), "test/accuracy").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.3"]
    alone = batch.table({key: names[:1] for key, names in runs.items()}, list(settings), "smoke", "test/accuracy")
    assert alone["low"].tolist() == [0.4, 0.4]  # of one seed: that over photographs
    with pytest.raises(FlowerlibError, match="exports no 'test/loss': it has test/accuracy"):
        batch.table(runs, list(settings), "smoke", "test/loss")


def test_two_settings_are_lines_with_a_legend() -> None:
    rows = [{"a": a, "b": b, "m": 0.5, "low": 0.4, "high": 0.6} for a in "12" for b in "34"]
    fig = batch.plot(pd.DataFrame(rows), ["a", "b"], "m")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["b 3", "b 4"]


def test_snakemake_plans_the_runs_that_were_asked_for_and_no_others(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    command = [sys.executable, "-m", "flowerlib", "sweep", "shen-coarse", "--set", "training.epochs=6,7", "-n"]
    done = subprocess.run(command, cwd=copy.root, env=copy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert all(f"figures/shen-coarse@training.epochs={epochs}@seed=1/record.json" in said for epochs in (6, 7))
    assert "figures/hughes-coarse" not in said and not (copy.root / "runs").exists()


CONF = Path("/etc/slurm/slurm.conf")  # where srun looks inside a job, whatever the environment said outside


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[None]:
    """A SLURM cluster of this machine alone, for one test."""
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip("no SLURM that a test may start: it takes root and Debian's slurm-wlm and munge")
    if CONF.exists():
        pytest.skip(f"this machine has a SLURM of its own: {CONF}")
    name, ports = socket.gethostname().split(".")[0], free_ports(2)
    lines = {
        **{"ClusterName": "one", "SlurmctldHost": name, "SlurmUser": "root", "SlurmdUser": "root"},
        **{"StateSaveLocation": tmp_path / "state", "SlurmdSpoolDir": tmp_path / "spool"},
        **{"SlurmctldPidFile": tmp_path / "ctld.pid", "SlurmdPidFile": tmp_path / "d.pid"},
        **{"SlurmctldLogFile": tmp_path / "ctld.log", "SlurmdLogFile": tmp_path / "d.log"},
        **{"SlurmctldPort": ports[0], "SlurmdPort": ports[1], "AuthType": "auth/munge"},
        **{"ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "SelectType": "select/cons_tres"},
        "NodeName": f"{name} CPUs={os.cpu_count()} RealMemory=8000 State=UNKNOWN",
        "PartitionName": "all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    }
    for folder in ("state", "spool"):
        (tmp_path / folder).mkdir()
    CONF.parent.mkdir(exist_ok=True)
    try:
        CONF.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        shutil.chown("/run/munge" if Path("/run/munge").exists() else make_folder("/run/munge"), "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], capture_output=True)  # it may run already
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon], capture_output=True)
        if not idle():
            pytest.skip("SLURM does not start here: its daemons did not find each other in half a minute")
        yield
    finally:
        CONF.unlink()
        for pid in tmp_path.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGTERM)


def make_folder(path: str) -> str:
    Path(path).mkdir()
    return path


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]


def idle() -> bool:
    for _ in range(60):
        if subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout.strip() == "idle":
            return True
        time.sleep(0.5)
    return False


@pytest.mark.slow
def test_a_sweep_runs_as_jobs_of_a_cluster(tmp_path: Path, slurm: None) -> None:
    copy = Copy(tmp_path / "copy")
    profile = str(pipeline.ROOT / "profiles" / "slurm")
    command = [sys.executable, "-m", "flowerlib", "sweep", "shen-coarse", "--set", "training.epochs=1"]
    done = subprocess.run(
        [*command, "--workflow-profile", profile], cwd=copy.root, env=copy.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [table] = copy.root.glob("build/smoke/sweeps/*/table.csv")
    assert pd.read_csv(table)["seeds"].tolist() == [1] and table.with_name("plot.png").stat().st_size > 1000
    assert list(copy.root.glob(".snakemake/slurm_logs/**/*.log")) or "SLURM jobid" in done.stderr
