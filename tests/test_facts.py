"""The facts in data/: what the reports print, the classes and groups, the splits that are lists."""

import csv
import math
import os
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import yaml

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
REPORTS = {"hughes", "cicalla", "ash", "qu", "shen"}
SHARES = re.compile(r"(accuracy|f1|precision|recall|share|rate|difference)$")
# Table 2 of Hughes 2024 and table 1 of Shen 2025, in group order
TEST_2024 = [30, 10, 50, 40, 70, 40, 20, 20, 20, 20]
TEST_2025 = [30, 20, 50, 100, 70, 40, 20, 20, 20, 20]


def rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mirror_file(name: str) -> Path:
    mirror = os.environ.get("FLOWERLIB_MIRROR", "")
    if not (path := Path(mirror) / name).is_file() or not mirror:
        pytest.skip(f"FLOWERLIB_MIRROR is not a folder that holds {name}")
    return path


def shares_fit(value: str, total: int) -> list[int]:
    """Whole numbers of images whose share of the total rounds to the printed value."""
    half = 0.5 * 10.0 ** -len(value.partition(".")[2]) + 1e-9
    low, high = (float(value) - half) * total, (float(value) + half) * total
    return [count for count in range(math.ceil(low), math.floor(high) + 1) if 0 <= count <= total]


def confusion_counts(row: dict[str, str]) -> tuple[int, int]:
    """The one pair (found, predicted) of images that gives a printed precision, recall, F1 and support."""
    support = int(row["support"])
    fits = [
        (found, predicted)
        for found in shares_fit(row["recall"], support)
        for predicted in range(max(found, 1), 10 * support)
        if found in shares_fit(row["precision"], predicted)
        and abs(2 * found / (support + predicted) - float(row["f1"])) <= 0.005 + 1e-9
    ]
    assert len(fits) == 1, f"{row}: {fits}"
    return fits[0]


def averages(table: list[dict[str, str]]) -> dict[str, float]:
    """Unrounded averages of a classification report from its rows."""
    support = np.array([int(row["support"]) for row in table])
    found, predicted = np.array([confusion_counts(row) for row in table]).T
    assert predicted.sum() == support.sum()
    scores = {
        "precision": found / predicted,
        "recall": found / support,
        "f1": 2 * found / (support + predicted),
    }
    result = {f"macro_avg/{name}": score.mean() for name, score in scores.items()}
    result |= {f"weighted_avg/{name}": score @ support / support.sum() for name, score in scores.items()}
    return result | {"accuracy": found.sum() / support.sum()}


def table2_rows() -> list[dict[str, str]]:
    cells: dict[str, dict[str, str]] = {}
    for row in rows("reported.csv"):
        match = re.fullmatch(r"hughes/table2/(?!macro|weighted)(\w+)/(precision|recall|f1|support)", row["key"])
        if match:
            cells.setdefault(match[1], {})[match[2]] = row["value"]
    return list(cells.values())


def assert_printed(prefix: str, exact: dict[str, float]) -> None:
    reported = {row["key"]: row for row in rows("reported.csv")}
    for name, value in exact.items():
        row = reported[f"{prefix}/{name}"]
        assert f"{value:.{row['decimals']}f}" == row["value"], row["key"]


def test_reported_keys_are_unique_and_begin_with_the_report():
    reported = rows("reported.csv")
    assert len({row["key"] for row in reported}) == len(reported)
    assert {row["report"] for row in reported} == REPORTS
    assert all(row["key"].split("/")[0] == row["report"] for row in reported)


def test_reported_shares_lie_between_0_and_1():
    shares = [row for row in rows("reported.csv") if SHARES.search(row["metric"])]
    assert len(shares) > 120
    assert not [row["key"] for row in shares if not 0 <= float(row["value"]) <= 1]


def test_reported_values_print_with_their_decimals():
    for row in rows("reported.csv"):
        assert f"{float(row['value']):.{row['decimals']}f}" == row["value"], row["key"]


def test_every_report_has_headlines_and_all_have_15_to_30():
    headlines = [row for row in rows("reported.csv") if row["headline"] == "yes"]
    assert {row["headline"] for row in rows("reported.csv")} == {"yes", "no"}
    assert 15 <= len(headlines) <= 30
    assert {row["report"] for row in headlines} == REPORTS


def test_reported_parts_are_those_of_the_results():
    assert {row["part"] for row in rows("reported.csv")} == {"", "train", "validation", "test", "samples"}


def test_a_reported_number_names_a_run_exactly_when_it_names_a_result():
    for row in rows("reported.csv"):
        assert bool(row["run"]) == bool(row["result"]), row["key"]
        words = row["result"].split("/")
        if row["run"] and row["part"]:
            assert row["part"] in words, row["key"]
        if words[-1] in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "f1", "precision", "recall"):
            assert row["metric"] == words[-1] or row["key"].startswith("hughes/table"), row["key"]


def test_words_about_reported_numbers_pass_through_latex_unescaped():
    for row in rows("reported.csv"):
        text = row["section"] + row["what"] + row["slip"]
        assert text.isascii() and not set(text) & set('\\{}$&#^_~%"<>'), row["key"]


def test_reported_accuracies_are_shares_of_their_images_or_a_slip_says_not():
    measured = [row for row in rows("reported.csv") if row["metric"] == "accuracy" and row["n"]]
    odd = {row["key"] for row in measured if not shares_fit(row["value"], int(row["n"]))}
    assert odd == {row["key"] for row in measured if "No whole number" in row["slip"]}


def test_hughes_table_2_averages_follow_from_its_ten_rows():
    table = table2_rows()
    assert [int(row["support"]) for row in table] == TEST_2024
    assert_printed("hughes/table2", averages(table))


def test_hughes_table_5_averages_follow_from_its_102_rows():
    table = rows("reported_hughes_table5.csv")
    assert len(table) == 102 and {row["support"] for row in table} == {"10"}
    for printed in ("hughes/table3", "hughes/table5"):
        assert_printed(printed, averages(table))


def test_hughes_table_5_is_in_the_official_class_order():
    table, classes = rows("reported_hughes_table5.csv"), rows("class_names.csv")
    assert [row["label"] for row in table] == [row["label"] for row in classes]
    assert [row["name"].lower() for row in table] == [row["name"] for row in classes]


def test_shen_table_8_averages_follow_from_its_ten_rows():
    reported = {row["key"]: row["value"] for row in rows("reported.csv")}
    images = [key for key in reported if re.fullmatch(r"shen/table8/image\d+/error_mean", key)]
    means = np.array([float(reported[key]) for key in images])
    deviations = np.array([float(reported[key.replace("mean", "std")]) for key in images])
    # the overall deviation is that of all pixels together, not the mean of the ten
    pooled = np.sqrt(np.mean(deviations**2 + means**2) - means.mean() ** 2)
    assert len(images) == 10
    assert f"{means.mean():.4f}" == reported["shen/table8/all/error_mean"]
    assert f"{pooled:.4f}" == reported["shen/table8/all/error_std"]


def test_class_names_carry_both_coarse_versions():
    classes = rows("class_names.csv")
    groups = yaml.safe_load((DATA / "coarse_groups.yml").read_text(encoding="utf-8"))["group_order"]
    assert [int(row["label"]) for row in classes] == list(range(1, 103))
    assert len({row["name"] for row in classes}) == 102 and len(set(groups)) == 10
    for column, fine_classes, supports in (("coarse_2024", 32, TEST_2024), ("coarse_2025", 39, TEST_2025)):
        counts = Counter(row[column] for row in classes if row[column])
        assert sum(counts.values()) == fine_classes
        # ten test images a fine class on the swapped split
        assert [10 * counts[group] for group in groups] == supports


@pytest.mark.parametrize(
    ("column", "train", "smallest", "largest"),
    [("coarse_2024", 1788, 20, 368), ("coarse_2025", 2322, 49, 798)],
)
def test_coarse_groups_have_the_images_that_the_reports_count(column, train, smallest, largest):
    labels = scipy.io.loadmat(mirror_file("oxford102/imagelabels.mat"))["labels"].ravel()
    sets = scipy.io.loadmat(mirror_file("oxford102/setid.mat"))
    group = {int(row["label"]): row[column] for row in rows("class_names.csv")}
    counts = {
        part: Counter(name for label in labels[sets[part].ravel() - 1] if (name := group[int(label)]))
        for part in ("tstid", "valid", "trnid")
    }
    held_out = sum(TEST_2024 if column == "coarse_2024" else TEST_2025)
    assert [sum(count.values()) for count in counts.values()] == [train, held_out, held_out]
    assert (min(counts["tstid"].values()), max(counts["tstid"].values())) == (smallest, largest)


def test_official_labels_hold_40_to_258_images_a_class():
    labels = scipy.io.loadmat(mirror_file("oxford102/imagelabels.mat"))["labels"].ravel()
    counts = np.bincount(labels)[1:]
    assert (len(counts), counts.min(), counts.max()) == (102, 40, 258)


def test_shen_prints_the_second_largest_class_as_the_largest_and_a_slip_says_so():
    labels = scipy.io.loadmat(mirror_file("oxford102/imagelabels.mat"))["labels"].ravel()
    trained_on = scipy.io.loadmat(mirror_file("oxford102/setid.mat"))["tstid"].ravel()
    second, largest = np.sort(np.bincount(labels[trained_on - 1]))[-2:]
    row = next(row for row in rows("reported.csv") if row["key"] == "shen/table1/fine/train_class_max")
    assert row["value"] == str(second) and f" {largest} images" in row["slip"]


def test_kaggle_split_puts_every_photograph_in_one_part():
    split = rows("kaggle_split.csv")
    assert Counter(row["part"] for row in split) == {"train": 6552, "valid": 818, "test": 819}
    assert sorted(int(row["image_id"]) for row in split) == list(range(1, 8190))


def test_five_class_list_takes_200_photographs_a_class():
    listed = rows("flower_photos_subset.csv")
    counts = Counter(row["class"] for row in listed)
    assert counts == dict.fromkeys(("daisy", "dandelion", "roses", "sunflowers", "tulips"), 200)
    assert len({row["file"] for row in listed}) == 1000


def test_five_class_list_names_photographs_that_the_archive_has():
    with tarfile.open(mirror_file("flowers5/flower_photos.tgz")) as archive:
        members = {member.name for member in archive if member.isfile()}
    listed = rows("flower_photos_subset.csv")
    assert {f"flower_photos/{row['class']}/{row['file']}" for row in listed} <= members


def test_references_hold_the_five_reports_under_unique_keys():
    keys = re.findall(r"^@\w+\{([^,]+),", (ROOT / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(keys)) == len(keys)
    assert {"hughes2024", "cicalla2024", "ash2022", "qu2018", "shen2025"} <= set(keys)
