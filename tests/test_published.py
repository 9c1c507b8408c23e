"""The committed figures: what holds, what is stale, two runs side by side, and the report of them alone."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest
from test_report import RUN, Press, latex, pages, press  # noqa: F401  fixtures

from flowerlib import pipeline, published, report
from flowerlib.errors import FlowerlibError


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in the place of figures/, with one run of those that are committed."""
    folder = tmp_path / "figures"
    shutil.copytree(pipeline.PUBLISHED / RUN, folder / RUN)
    monkeypatch.setattr(pipeline, "PUBLISHED", folder)
    return folder


def change(folder: Path, **values: object) -> None:
    path = folder / RUN / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_committed_run_holds() -> None:
    found = published.findings()
    assert len(found) > 50
    assert [each for each in found if each.stale] == []


def test_a_run_of_other_values_is_stale_and_says_which(committed: Path) -> None:
    record = json.loads((committed / RUN / "record.json").read_text())
    parts = record["parts"] | {"values": record["parts"]["values"] | {"training.epochs": 11}}
    change(committed, digest="other", parts=parts)
    [found] = published.findings()
    assert found.run == RUN and "training.epochs 11 ->" in found.stale


def test_a_missing_figure_is_named(committed: Path) -> None:
    (committed / RUN / "curves.pdf").unlink()
    assert published.findings() == [published.Finding(RUN, "curves.pdf not there")]


def test_a_figure_of_another_profile_stops(committed: Path) -> None:
    change(committed, profile="smoke")
    with pytest.raises(FlowerlibError, match=f"figures/{RUN} is of the smoke profile, not laptop"):
        published.findings()


def test_two_runs_under_one_name_stop(committed: Path) -> None:
    shutil.copytree(committed / RUN, committed / "shen-fine")
    with pytest.raises(FlowerlibError, match=f"figures/shen-fine holds the run {RUN}: two runs under one name"):
        published.findings()


def test_a_run_that_no_profile_lists_is_found(committed: Path) -> None:
    (committed / RUN).rename(committed / "forgotten")
    assert published.findings() == [published.Finding("forgotten", "not in the laptop profile")]


def test_two_runs_stand_side_by_side() -> None:
    table = published.difference("shen-fine", "ours-fine", "laptop").set_index("number")
    row = table.loc["test/accuracy"]
    assert row["difference"] == pytest.approx(row["ours-fine"] - row["shen-fine"]) and row["intervals"] == "apart"
    assert table.loc["test/images", "difference"] == 0
    same = published.difference("shen-fine", "shen-fine", "laptop")
    assert (same["difference"] == 0).all() and not (same["intervals"] == "apart").any()


def test_a_run_that_was_not_made_has_no_numbers_to_compare(committed: Path) -> None:
    with pytest.raises(FlowerlibError, match="qu-vgg16-a was not run"):
        published.difference(RUN, "qu-vgg16-a", "full")


def test_a_stale_figure_stops_the_report_of_the_committed_figures(committed: Path) -> None:
    change(committed, digest="other")
    with pytest.raises(FlowerlibError, match=f"figures/{RUN} is stale"):
        report.make_from_figures()


@pytest.mark.latex
def test_stale_numbers_are_marked_when_asked_for(
    press: Press,  # noqa: F811
    latex: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    press.record("laptop")
    shutil.copytree(pipeline.record_folder(RUN, "laptop"), pipeline.PUBLISHED / RUN)
    body = r"\result{shen-coarse/test/accuracy} of \interval{shen-coarse/test/accuracy} \runfigure{shen-coarse/curves}"
    (press.root / "report.tex").write_text(
        f"\\documentclass[11pt]{{article}}\\usepackage{{report}}\\input{{values}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    [text] = pages(report.make_from_figures(show_stale=True))
    assert "0.667stale of 0.667 [0.512, 0.743], n = 156stale" in text
    assert "Stale: changed since" in text


@pytest.mark.latex
def test_the_committed_report_is_made_again_of_the_committed_figures(latex: None) -> None:  # noqa: F811
    made = pages(report.make_from_figures())
    assert made == pages(pipeline.ROOT / "report.pdf")
    assert pypdf.PdfReader(pipeline.ROOT / "report.pdf").metadata.title == "Five reports on flowers, re-run"
    log = (pipeline.ROOT / "build" / "figures" / "latex" / "report.log").read_text(encoding="utf-8", errors="replace")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert [points for points in wide if points > 5] == []


def embedded(resources: Any) -> Iterator[tuple[str, bool]]:
    """Every font of a page and of the figures on it, and whether its letters travel with the file."""
    fonts = resources.get("/Font", {})
    for font in (fonts[name].get_object() for name in fonts):
        whole = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        files = whole.get("/FontDescriptor", {}).get_object()
        yield font["/BaseFont"], bool({"/FontFile", "/FontFile2", "/FontFile3"} & set(files))
    drawn = resources.get("/XObject", {})
    for inner in (drawn[name].get_object() for name in drawn):
        if "/Resources" in inner:
            yield from embedded(inner["/Resources"].get_object())


def test_the_committed_report_can_be_read_by_everyone() -> None:
    reader = pypdf.PdfReader(pipeline.ROOT / "report.pdf")
    fonts = dict(each for page in reader.pages for each in embedded(page["/Resources"]))
    assert len(fonts) > 5 and [name for name, inside in fonts.items() if not inside] == []
    assert len(reader.outline) > 8  # bookmarks
    contents = b"".join(page.get_contents().get_data() for page in reader.pages)
    figures = "".join(page.extract_text() for page in reader.pages).count("Figure ")
    assert figures >= contents.count(b"/Alt") > 30
