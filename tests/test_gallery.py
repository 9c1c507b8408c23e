"""The gallery of executed notebooks, and the notebooks without answers."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from test_report import Copy

from flowerlib import exercises, gallery, pipeline
from flowerlib.errors import FlowerlibError

MIB = 2**20


@pytest.fixture(scope="module")
def pages(whole: Copy) -> dict[str, str]:
    """The gallery's pages by name, of the smoke runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "ROOT", whole.root)
        index = gallery.write("smoke")
    return {path.name: path.read_text(encoding="utf-8") for path in index.parent.glob("*.html")}


def test_every_run_has_a_page_and_a_card_with_its_first_picture(pages: dict[str, str], whole: Copy) -> None:
    runs = [path.stem for path in (whole.root / "runs" / "smoke").glob("*.ipynb")]
    assert len(runs) > 10 and set(pages) == {"index.html", *(f"{run.replace('@', '--')}.html" for run in runs)}
    cards = re.findall(r'<a class="card" href="([^"]+)".*?</a>', pages["index.html"], re.DOTALL)
    assert set(cards) == set(pages) - {"index.html"}
    records = [json.loads(path.read_text()) for path in (whole.root / "build/smoke/figures").glob("*/record.json")]
    shown = sum(bool(record["figures"]) for record in records if record["run"] in runs)
    assert pages["index.html"].count('src="data:image/png;base64,') == shown > 10


def test_pages_ask_the_network_for_nothing_and_are_small(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', text)
        assert [each[:60] for each in loaded if not each.startswith("data:")] == [], name
    assert sum(map(len, pages.values())) < 25 * MIB


def test_every_picture_has_its_alt_text_and_answers_are_folded(pages: dict[str, str]) -> None:
    page = pages["shen-coarse.html"]
    alts = re.findall(r"<img[^>]*?alt=\"([^\"]*)\"", page, re.DOTALL)
    assert len(alts) >= 5 and all(len(alt) > 15 for alt in alts)
    assert page.count("<summary>An answer</summary>") >= 2
    assert "application/vnd.flowerlib" not in page and "<script" not in page


def test_a_class_is_found_with_its_scores(pages: dict[str, str], whole: Copy) -> None:
    [found] = re.findall(r'<script type="application/json" id="scores">(.*?)</script>', pages["index.html"])
    record = json.loads((whole.root / "build/smoke/figures/shen-coarse/record.json").read_text())
    scores = {key: value for key, value in record["results"].items() if re.fullmatch(r"test/\w+/f1", key)}
    assert scores
    for key, value in scores.items():
        name = key.split("/")[1].replace("_", " ")
        assert json.loads(found)[name]["shen-coarse"] == pytest.approx(value["value"], abs=5e-4)


def test_without_executed_notebooks_the_way_to_them_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    with pytest.raises(FlowerlibError, match="make report PROFILE=smoke"):
        gallery.write("smoke")


def test_exercises_keep_every_cell_but_tell_no_answer(tmp_path: Path) -> None:
    copies = exercises.write(tmp_path / "exercises")
    assert [path.name for path in copies] == sorted(path.name for path in (pipeline.ROOT / "notebooks").glob("*.ipynb"))
    for path in copies:
        before = nbformat.read(pipeline.ROOT / "notebooks" / path.name, as_version=4)
        after = nbformat.read(path, as_version=4)
        nbformat.validate(after)
        assert len(after.cells) == len(before.cells)
        for old, new in zip(before.cells, after.cells, strict=True):
            answer = "answer" in old.metadata.get("tags", [])
            assert new.source == (exercises.ASK if answer else old.source)
