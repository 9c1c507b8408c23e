"""What is committed: the laptop profile's figures, numbers and PDF, in as little space as they need."""

import json
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from flowerlib import pipeline, published, report
from flowerlib.errors import FlowerlibError

FIGURES_MIB, PDF_MIB, PNG_KIB = 25, 15, 60  # what may be committed


def publish(profile: str, *, partly: bool = False) -> None:
    """Put a profile's figures, numbers and PDF in place; the only writer of ``figures/``.

    Args:
        profile: "laptop".
        partly: publish the runs that are done and make none; the report says "not run yet" for the others.

    Raises:
        FlowerlibError: another profile than laptop, a run that is not done, or more than may be committed.
    """
    if profile != "laptop":
        raise FlowerlibError(f"only the laptop profile is published, not {profile}")
    for state in pipeline.states(profile):
        if state.blocked:
            raise FlowerlibError(f"{state.run} cannot be made, so nothing is published: {state.reason}")
    pdf = report.make_partly(profile) if partly else report.make(profile)
    build = pipeline.build_folder(profile)
    fresh = pipeline.PUBLISHED.with_name(".figures.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        for record in report.records(profile):
            shutil.copytree(
                build / "figures" / record["run"], fresh / record["run"], ignore=_unseen, copy_function=_lean
            )
        for png in fresh.rglob("*.png"):
            if png.stat().st_size > PNG_KIB * 2**10:
                png.unlink()
        shutil.copyfile(build / "results.json", fresh / "results.json")
        _check_size(
            pipeline.PUBLISHED, sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file()), FIGURES_MIB
        )
        _check_size(pdf, pdf.stat().st_size, PDF_MIB)
        pipeline.swap(fresh, pipeline.PUBLISHED)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    part = pipeline.ROOT / ".report.part.pdf"
    shutil.copyfile(pdf, part)
    part.replace(pipeline.ROOT / "report.pdf")


def _lean(source: str, target: str) -> None:
    """Copy a file in less space: a PNG with 256 colours, a record with a line a number; others as they are."""
    path = Path(source)
    if path.suffix == ".png":
        with Image.open(path) as image:
            if image.mode == "P":  # was published before
                shutil.copyfile(source, target)
            else:
                image.convert("RGB").quantize(256).save(target, optimize=True)
    elif path.name == "record.json":
        record = json.loads(path.read_text(encoding="utf-8"))
        compact = partial(json.dumps, sort_keys=True, separators=(",", ":"))
        lines = [f"{json.dumps(key)}: {compact(record[key])}" for key in sorted(record)]
        lines = [line.replace('},"', '},\n"') if line.startswith('"results"') else line for line in lines]
        Path(target).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    else:
        shutil.copy2(source, target)


def _unseen(folder: str, names: list[str]) -> set[str]:
    """Figures that the report does not show stay out of git."""
    shown = published.shown()
    paths = [Path(folder, name) for name in names]
    return {
        path.name
        for path in paths
        if path.suffix in (".pdf", ".png") and f"{path.parent.name}/{path.stem}" not in shown
    }


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most * 2**20:
        raise FlowerlibError(f"{path.name} has {size / 2**20:.1f} MiB, more than the {most} MiB that may be committed")
