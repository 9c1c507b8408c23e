"""Recipes and profiles: what is accepted, what is refused and how, and what a profile may change."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flowerlib import recipes, schema
from flowerlib.errors import FlowerlibError

# The same cells run in every profile; a profile may change sizes, epochs, data and seeds, and the two values that must
# follow a shorter run: how fast the running statistics are averaged, and the learning rate.
REDUCIBLE = {"data.name", "data.size_px", "training.sizes_px", "training.test_px", "seed", "sweep.seeds"}
REDUCIBLE |= {"finetuning.most_epochs", "finetuning.views"}
REDUCIBLE |= {f"regression.{name}" for name in ("draws", "views", "inverse_penalties")}
REDUCIBLE |= {f"heads.{name}" for name in ("learning_rates", "momenta", "draws", "epochs")}
REDUCIBLE |= {
    f"quantization.{name}" for name in ("representative", "runs", "part", "outlines", "compared", "packed", "bits")
}
REDUCIBLE |= {
    "budget.minutes",
    "budget.steps",
    "budget.marks",
    "budget.precision",
    "generation.samples",
    "generation.photographs",
    "generation.enlarger.minutes",
    "generation.enlarger.steps",
    "steering.tried",
    "steering.samples",
}
REDUCIBLE |= {
    f"explanation.{name}"
    for name in ("photographs", "stable", "randomized", "drawn", "copies", "pieces", "steps", "flipped")
}
REDUCIBLE |= {"training.epochs", "training.presentations", "model.norm_momentum", "training.learning_rate"}

SOME = """
base:
  notebook: 01_classification
  title: A network
  report: shen
  data: {name: oxford102, split: swapped, labels: fine, size_px: 96}
  model: {builder: shen_cnn, widths: [16, 32], dropout: 0.0}
  training: {learning_rate: 0.001, epochs: 50}

child:
  like: base
  title: Its child
  data: {labels: coarse-2025}
  model: {widths: [8]}

grandchild:
  like: child
  training: {epochs: 3}
"""
SWEPT = """
swept:
  like: base
  sweep:
    reference: plain
    seeds: [4, 5]
    rows:
      plain: {}
      wide: {model.widths: [32, 64], training.epochs: 3}
      flipped: {augment.flip: true}
"""
MORE = "looked-at:\n  notebook: 00_dataset\n  title: Nothing is trained\n  report: ours\n"
PROFILE_TEXT = """
smoke:
  title: drawn flowers
  values: {data.name: drawn, data.size_px: 32, training.epochs: 6}
  runs:
    looked-at: {minutes: 0.5}
    base: {minutes: 2, score: accuracy 0.5, values: {training.epochs: 7}}
    "base@seed=2": {minutes: 3, values: {training.epochs: 8}}
laptop: {title: photographs, runs: {base: {minutes: 10}}}
full: {title: all, runs: {base: {minutes: 100}}}
"""


def forget() -> None:
    """What was read of the files."""
    recipes._all.cache_clear()
    recipes._profile.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of small recipes that stands in for recipes/."""
    (tmp_path / "some.yml").write_text(SOME)
    (tmp_path / "more.yml").write_text(MORE)
    (tmp_path / "profiles.yml").write_text(PROFILE_TEXT)
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    forget()
    yield tmp_path
    forget()


def refusal(run: str, profile: str = "full") -> str:
    """The one line with which a run is refused."""
    with pytest.raises(FlowerlibError) as caught:
        recipes.load(run, profile)
    message = str(caught.value)
    assert "\n" not in message
    return message


def flat(values: dict[str, Any], start: str = "") -> dict[str, Any]:
    """Nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{start}{key}.") if isinstance(value, dict) else {f"{start}{key}": value}
    return found


# The recipes of the bundle


def listed(profile: str) -> dict[str, schema.Recipe]:
    return {run: recipes.load(run, profile) for run in [*recipes.runs(profile), *recipes.aside(profile)]}


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_every_recipe_loads_in_every_profile(profile: str) -> None:
    assert {"dataset", "summary", "hughes-coarse", "hughes-fine", "shen-coarse", "shen-fine"} <= set(recipes.names())
    for name in recipes.names():
        recipe = recipes.load(name, profile)
        assert (recipe.name, recipe.profile) == (name, profile)


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_every_run_that_a_profile_lists_exists_and_says_its_minutes(profile: str) -> None:
    assert recipes.runs(profile)
    assert recipes.title(profile)
    for run in recipes.runs(profile):
        recipe = recipes.load(run, profile)
        assert recipe.expect.minutes > 0, run
        assert set(recipe.uses) <= {"*", *recipes.runs(profile)}, run


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_what_stands_aside_is_no_part_of_the_report_and_can_be_run(profile: str) -> None:
    assert recipes.aside(profile) and not set(recipes.aside(profile)) & set(recipes.runs(profile))
    for run in recipes.aside(profile):
        recipe = recipes.load(run, profile)
        assert 0 < recipe.expect.minutes <= 5 and set(recipe.uses) <= set(recipes.runs(profile)), run


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_a_run_on_features_of_others_has_pictures_of_the_side_that_they_take(profile: str) -> None:
    found = {run: recipe for run, recipe in listed(profile).items() if recipe.regression is not None}
    assert found
    for run, recipe in found.items():
        sides = {recipes.load(used, profile).data.size_px for used in recipe.uses}
        assert sides == {recipe.data.size_px}, run


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_every_method_explains_the_six_photographs_that_are_shown(profile: str) -> None:
    plans = {run: each.explanation for run, each in listed(profile).items() if each.notebook == "03_explanation"}
    assert plans and all(min(plan.photographs) >= 6 for plan in plans.values()), plans


def test_the_smoke_profile_has_only_drawn_data() -> None:
    for name in recipes.names():
        recipe = recipes.load(name, "smoke")
        assert recipe.data is None or recipe.data.name == "drawn", name


@pytest.mark.parametrize("profile", ["laptop", "full"])
def test_no_other_profile_has_drawn_data(profile: str) -> None:
    for name in recipes.names():
        recipe = recipes.load(name, profile)
        assert recipe.data is None or recipe.data.name != "drawn", name


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_profiles_differ_in_sizes_epochs_data_and_seeds_alone(profile: str) -> None:
    for name in recipes.names():
        ours, full = (flat(recipes.load(name, each).model_dump()) for each in (profile, "full"))
        changed = {key for key in ours | full if ours.get(key) != full.get(key)}
        told = {"profile", "reduced", "expect.minutes", "expect.score"}
        if profile == "smoke" and full["notebook"][:2] in ("02", "03", "04"):
            # Drawn flowers have no five classes, and the one pretrained network that comes with pip stands for all.
            told |= {"data.split", "data.labels", "model.backbone", "needs", "uses"}
        if full["notebook"][:2] == "06":
            told |= {"uses", "budget.ema"}  # those that ran; so few steps would leave an average where it began
        if name == "keras-diffusion":
            told |= {"budget.batch_size"}  # so that a laptop's training keeps to 2 GiB; stands under its figures
        if profile == "smoke" and full["notebook"][:2] == "06":
            told |= {"model.widths", "needs"}  # one pretrained network comes with pip
        assert changed <= REDUCIBLE | told, name


def test_the_full_profile_cuts_nothing() -> None:
    assert [name for name in recipes.names() if recipes.load(name, "full").reduced] == []


def test_every_recipe_that_trains_names_a_report_and_a_notebook_that_is_there() -> None:
    notebooks = Path(recipes.__file__).parents[1] / "notebooks"
    for name in recipes.names():
        recipe = recipes.load(name, "full")
        assert (notebooks / f"{recipe.notebook}.ipynb").is_file(), name
        trains = recipe.training or recipe.finetuning or recipe.heads or recipe.regression or recipe.budget
        assert (recipe.model is None) == (trains is None), name


@pytest.mark.parametrize(
    ("name", "rate", "epochs", "batch"),
    [("hughes-fine", 0.001, 170, 32), ("hughes-fine-printed", 0.01, 170, 32), ("shen-coarse", 0.001, 50, 128)],
)
def test_the_full_profile_trains_as_the_reports_say(name: str, rate: float, epochs: int, batch: int) -> None:
    training = recipes.load(name, "full").training
    assert training is not None
    assert (training.learning_rate, training.epochs, training.batch_size) == (rate, epochs, batch)


# Names of runs


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("base", ("base", {})),
        ("base@seed=2", ("base", {"seed": 2})),
        ("base@seed=2@training.epochs=5", ("base", {"seed": 2, "training.epochs": 5})),
        ("base@training.learning_rate=1.0e-3", ("base", {"training.learning_rate": 0.001})),
        ("base@model.widths=[8, 16]", ("base", {"model.widths": [8, 16]})),
        ("base@augment.flip=true", ("base", {"augment.flip": True})),
        ("base@data.resize=nearest", ("base", {"data.resize": "nearest"})),
        ("base@title=a=b", ("base", {"title": "a=b"})),
    ],
)
def test_a_runs_name_is_its_recipe_and_what_departs(run: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert recipes.parse(run) == expected


@pytest.mark.parametrize("change", ["", "seed", "seed=", "=2", "seed:2"])
def test_a_departure_that_is_not_key_and_value_is_refused(folder: Path, change: str) -> None:
    message = refusal(f"base@{change}")
    assert f"'{change}'" in message
    assert f"'base@{change}'" in message


@pytest.mark.parametrize(
    "change", ["seed=[", "model=3", "training=fast", "training=2@training.epochs=3", "data.size_px.x=3"]
)
def test_a_departure_that_makes_no_sense_is_refused_in_one_line(folder: Path, change: str) -> None:
    assert change.split("=")[0].split(".")[0] in refusal(f"base@{change}")


@pytest.mark.parametrize("change", ["name=other", "profile=smoke", "reduced=[]", "like=child"])
def test_what_is_no_value_of_a_recipe_cannot_depart(folder: Path, change: str) -> None:
    assert change.split("=")[0] in refusal(f"base@{change}")


def test_a_departure_reaches_the_recipe_and_nothing_else_changes(folder: Path) -> None:
    plain, changed = recipes.load("base", "full"), recipes.load("base@seed=2@training.batch_size=16", "full")
    assert changed.seed == 2
    assert changed.training is not None and changed.training.batch_size == 16
    one, two = flat(plain.model_dump()), flat(changed.model_dump())
    assert {key for key in one if one[key] != two[key]} == {"name", "seed", "training.batch_size"}


# What is inherited, and what a profile does


def test_like_takes_over_what_an_entry_does_not_say(folder: Path) -> None:
    child = recipes.load("child", "full")
    assert child.title == "Its child"
    assert child.data is not None and (child.data.labels, child.data.split) == ("coarse-2025", "swapped")
    assert child.model is not None and (child.model.builder, child.model.widths) == ("shen_cnn", (8,))
    assert child.training is not None and child.training.epochs == 50


def test_like_goes_on_through_several_entries(folder: Path) -> None:
    grandchild = recipes.load("grandchild", "full")
    assert grandchild.training is not None and grandchild.training.epochs == 3
    assert grandchild.model is not None and grandchild.model.widths == (8,)
    base = recipes.load("base", "full")
    assert base.model is not None and base.model.widths == (16, 32), "the entry that is taken over stays as it is"


def test_a_profiles_values_apply_and_reduced_says_what_was_cut(folder: Path) -> None:
    recipe = recipes.load("child", "smoke")
    assert recipe.data is not None and (recipe.data.name, recipe.data.size_px) == ("drawn", 32)
    assert recipe.training is not None and recipe.training.epochs == 6
    assert len(recipe.reduced) == 3
    epochs = next(said for said in recipe.reduced if "epochs" in said)
    assert "6" in epochs and "50" in epochs
    assert any("drawn" in said and "oxford102" in said for said in recipe.reduced)
    assert any("32" in said and "96" in said for said in recipe.reduced)


def test_the_nearest_value_counts(folder: Path) -> None:
    """Recipe, profile, its entry for the recipe, its entry for the run, the run's own name: the later ones win."""
    runs = {"child": 6, "base": 7, "base@seed=3": 7, "base@seed=2": 8, "base@seed=2@training.epochs=9": 9}
    for run, epochs in runs.items():
        training = recipes.load(run, "smoke").training
        assert training is not None and training.epochs == epochs, run


def test_a_value_that_the_run_itself_names_is_not_called_reduced(folder: Path) -> None:
    assert not any("epochs" in said for said in recipes.load("base@training.epochs=9", "smoke").reduced)


def test_a_recipe_without_training_takes_no_epochs_from_a_profile(folder: Path) -> None:
    recipe = recipes.load("looked-at", "smoke")
    assert (recipe.data, recipe.training, recipe.reduced) == (None, None, ())


def test_minutes_and_score_to_expect_come_from_the_profile(folder: Path) -> None:
    assert recipes.load("base", "smoke").expect == schema.Expectation(minutes=2, score="accuracy 0.5")
    assert recipes.load("base@seed=2", "smoke").expect.minutes == 3
    assert recipes.load("child", "smoke").expect.minutes == 0


def test_a_recipe_is_frozen(folder: Path) -> None:
    recipe = recipes.load("base", "full")
    with pytest.raises(ValidationError):
        recipe.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        recipe.training.epochs = 3  # type: ignore[misc, union-attr]


def test_shaping_holds_what_shapes_a_training_and_not_what_is_told(folder: Path) -> None:
    plain = recipes.load("base", "full").shaping()
    assert recipes.load("base@title=Another", "full").shaping() == plain
    assert recipes.load("base@may_diverge=true", "full").shaping() == plain
    for change in ("seed=2", "data.size_px=64", "model.dropout=0.5", "augment.flip=true", "training.ema=0.9"):
        assert recipes.load(f"base@{change}", "full").shaping() != plain, change


# What is refused


def test_an_unknown_recipe_is_refused_with_the_known_ones(folder: Path) -> None:
    message = refusal("nonsense")
    assert "unknown recipe 'nonsense'" in message
    assert "base, child, grandchild" in message


@pytest.mark.parametrize("ask", [lambda: recipes.load("base", "nonsense"), lambda: recipes.runs("nonsense")])
def test_an_unknown_profile_is_refused_with_the_known_ones(folder: Path, ask: Any) -> None:
    with pytest.raises(FlowerlibError, match="^unknown profile 'nonsense': one of smoke, laptop, full$"):
        ask()


@pytest.mark.parametrize("key", ["seeed", "training.epoch", "data.size", "model.width"])
def test_an_unknown_key_is_refused(folder: Path, key: str) -> None:
    message = refusal(f"base@{key}=1")
    assert message.startswith("recipes/some.yml, recipe 'base': ")
    assert f"{key} is not a key" in message


@pytest.mark.parametrize(
    ("change", "value", "allowed"),
    [
        ("data.split", "nonsense", ["official", "swapped", "joint", "kaggle", "five"]),
        ("data.labels", "coarse-2023", ["fine", "coarse-2024", "coarse-2025", "five"]),
        ("data.name", "roses", ["oxford102", "flowers5", "drawn"]),
        ("data.resize", "lanczos", ["antialiased", "nearest", "squashed"]),
        ("data.size_px", "8", ["16"]),
        ("data.size_px", "1024", ["512"]),
        ("model.dropout", "1", ["less than 1"]),
        ("augment.shift", "0.7", ["0.5"]),
        ("training.learning_rate", "0", ["greater than 0"]),
        ("training.learning_rate", ".nan", ["finite"]),
        ("training.epochs", "2.5", ["integer"]),
        ("training.optimizer", "magic", ["adam", "adamw", "sgd", "rmsprop"]),
        ("training.schedule", "cosine", ["constant", "two_drops", "one_cycle"]),
        ("seed", "-1", ["0"]),
        ("report", "smith", ["hughes", "shen"]),
    ],
)
def test_a_value_out_of_range_is_refused_with_file_recipe_key_and_range(
    folder: Path, change: str, value: str, allowed: list[str]
) -> None:
    message = refusal(f"base@{change}={value}")
    assert message.startswith(f"recipes/some.yml, recipe 'base': {change} ")
    assert all(word in message for word in allowed), message


@pytest.mark.parametrize(("key", "text"), [("learning_rate", "learning_rate: 0.001, "), ("epochs", ", epochs: 50")])
def test_a_value_that_is_missing_is_named(folder: Path, key: str, text: str) -> None:
    (folder / "some.yml").write_text(SOME.replace(text, ""))
    forget()
    assert refusal("base").startswith(f"recipes/some.yml, recipe 'base': training.{key} ")


@pytest.mark.parametrize(("text", "key"), [("epochs: 50", "training.epoch"), ("size_px: 96", "data.size")])
def test_a_misspelled_key_in_a_file_is_refused(folder: Path, text: str, key: str) -> None:
    (folder / "some.yml").write_text(SOME.replace(text, f"{text}, {key.split('.')[1]}: 48"))
    forget()
    assert refusal("base") == f"recipes/some.yml, recipe 'base': {key} is not a key of a recipe"


@pytest.mark.parametrize("section", ["data", "model", "augment", "training", "sweep"])
def test_a_section_without_keys_is_refused_by_its_name(folder: Path, section: str) -> None:
    text = "\n".join(line for line in SOME.splitlines() if not line.startswith(f"  {section}:"))
    (folder / "some.yml").write_text(text.replace("  report: shen", f"  report: shen\n  {section}: fast", 1))
    forget()
    assert refusal("base").startswith(f"recipes/some.yml, recipe 'base': {section} = 'fast': ")


def test_an_option_that_the_builder_does_not_take_is_refused_with_those_it_takes(folder: Path) -> None:
    message = refusal("base@model.l2=0.1")
    assert "model.l2" in message
    assert "shen_cnn" in message
    assert "weight_decay" in message and "batch_norm" in message


@pytest.mark.parametrize("builder", ["nonsense", "BUILDERS", "_pictures", "layer_table"])
def test_what_is_no_builder_is_refused(folder: Path, builder: str) -> None:
    (folder / "some.yml").write_text(
        SOME.replace("builder: shen_cnn, widths: [16, 32], dropout: 0.0", f"builder: {builder}")
    )
    forget()
    assert f"unknown builder '{builder}'" in refusal("base")


def test_two_files_with_one_recipe_name_are_refused(folder: Path) -> None:
    (folder / "twice.yml").write_text(MORE)
    message = refusal("base")
    assert "'looked-at'" in message
    assert "recipes/more.yml" in message and "recipes/twice.yml" in message


def test_a_file_that_is_not_yaml_is_named_in_one_line(folder: Path) -> None:
    (folder / "broken.yml").write_text("base: {title: [\n\n")
    assert "recipes/broken.yml" in refusal("base")


@pytest.mark.parametrize("text", ["", "- base\n", "base\n", "other: 3\n"])
def test_a_file_that_holds_no_recipes_is_named_in_one_line(folder: Path, text: str) -> None:
    (folder / "broken.yml").write_text(text)
    assert "recipes/broken.yml" in refusal("other" if "other" in text else "base")


def test_like_an_unknown_recipe_is_refused(folder: Path) -> None:
    (folder / "more.yml").write_text("orphan: {like: nobody}\n")
    assert "unknown recipe 'nobody'" in refusal("orphan")


def test_like_in_a_circle_is_refused(folder: Path) -> None:
    (folder / "more.yml").write_text("hen: {like: egg}\negg: {like: hen}\n")
    assert "like" in refusal("hen")


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("trainin", "trainin.epochs: 6"),
        ("training.epoch", "training.epoch: 6"),
        ("sed", "sed: 6"),
    ],
)
def test_an_unknown_key_of_a_profile_is_refused(folder: Path, wrong: str, value: str) -> None:
    """A misspelled cut that does nothing would start a training of days."""
    assert "training.epochs: 6" in PROFILE_TEXT
    (folder / "profiles.yml").write_text(PROFILE_TEXT.replace("training.epochs: 6", value))
    assert wrong in refusal("base", "smoke")


def test_a_profile_that_names_an_unknown_run_is_refused(folder: Path) -> None:
    (folder / "profiles.yml").write_text(PROFILE_TEXT.replace("looked-at:", "lost:"))
    assert "unknown recipe 'lost'" in refusal(recipes.runs("smoke")[0], "smoke")


def test_loading_one_run_leaves_no_trace_in_another(folder: Path) -> None:
    before = recipes.load("base", "smoke")
    recipes.load("child", "smoke")
    recipes.load("base@model.widths=[4]@data.size_px=48", "smoke")
    assert recipes.load("base", "smoke") == before


# What does not go together


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("augment.balance=true", ["augment: balance", "augment.flip", "augment.balance"]),
        ("augment.whitening_epsilon=0.1", ["augment: whitening_epsilon", "whitening_fit"]),
        ("augment.whitening_fit=train", ["augment: whitening_epsilon", "whitening_fit"]),
        ("augment.whitening_epsilon=0.1@augment.whitening_fit=test", ["augment.whitening_fit = 'test'", "'train'"]),
        ("augment.cutmix=0.6@augment.mixup=0.5", ["augment: cutmix", "mixup", "exceed 1"]),
        ("training.weight_decay=0.1", ["training: weight_decay", "optimizer adam:", "adamw or sgd"]),
        ("training.weight_decay=0.1@training.optimizer=rmsprop", ["training: weight_decay", "optimizer rmsprop:"]),
        ("training.patience=3", ["training: patience", "best_by"]),
        ("training.best_by=val_loss@training.ema=0.9", ["training: best_by", "ema"]),
        ("training.best_by=val_loss@data.split=joint", ["training.best_by", "data.split joint"]),
        ("training.sizes_px=[32, 48]", ["training.sizes_px", "augment.crop"]),
        ("training.sizes_px=[8, 48]@augment.crop=0.5", ["training: sizes_px [8, 48]", "16 to 512"]),
        ("training.presentations=1599", ["training: presentations 1599", "epoch of 50"]),  # batches of 32
    ],
)
def test_values_that_do_not_go_together_are_refused_by_their_keys(folder: Path, changes: str, words: list[str]) -> None:
    message = refusal(f"base@{changes}")
    assert message.startswith("recipes/some.yml, recipe 'base': ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "changes",
    [
        "augment.balance=true@augment.flip=true",
        "augment.balance=true@augment.hue_deg=5",
        "augment.cutmix=0.5@augment.mixup=0.5",
        "training.weight_decay=0.1@training.optimizer=adamw",
        "training.weight_decay=0.1@training.optimizer=sgd",
        "training.patience=3@training.best_by=val_loss",
        "training.ema=0.9@data.split=joint",
        "training.presentations=1600",
    ],
)
def test_values_that_go_together_are_taken(folder: Path, changes: str) -> None:
    plain, found = (flat(recipes.load(run, "full").model_dump()) for run in ("base", f"base@{changes}"))
    keys = {change.split("=")[0] for change in changes.split("@")}
    assert {key for key in found if found[key] != plain[key]} == keys | {"name"}


def test_whitening_before_a_network_that_takes_none_is_refused_with_its_name(folder: Path) -> None:
    message = refusal("base@augment.whitening_epsilon=0.1@augment.whitening_fit=train")
    assert "augment.whitening_epsilon" in message and "shen_cnn" in message


@pytest.mark.parametrize("change", ["data.labels=five", "data.split=five", "data.name=flowers5"])
def test_the_five_classes_have_a_split_and_labels_of_their_own(change: str) -> None:
    assert "do not go together" in refusal(f"shen-fine@{change}")


# Sweeps


@pytest.fixture
def sweep(folder: Path) -> Callable[..., schema.Recipe]:
    """Write a recipe with a sweep, with something in its text replaced, and load it."""

    def load(old: str = "", new: str = "", profile: str = "full") -> schema.Recipe:
        assert old in SWEPT
        (folder / "swept.yml").write_text(SWEPT.replace(old, new) if old else SWEPT)
        forget()
        return recipes.load("swept", profile)

    return load


def refused_sweep(sweep: Callable[..., schema.Recipe], old: str, new: str) -> str:
    with pytest.raises(FlowerlibError) as caught:
        sweep(old, new)
    assert "\n" not in str(caught.value) and "recipe 'swept'" in str(caught.value)
    return str(caught.value)


def test_a_sweep_is_one_recipe_for_each_row_and_seed_with_the_rows_values(sweep: Callable[..., schema.Recipe]) -> None:
    recipe = sweep()
    found = recipes.rows(recipe)
    assert list(found) == ["plain", "wide", "flipped"]
    assert [[each.seed for each in seeds] for seeds in found.values()] == [[4, 5]] * 3
    own = {"plain": {}, "wide": {"model.widths": (32, 64), "training.epochs": 3}, "flipped": {"augment.flip": True}}
    base = flat(recipe.model_dump(exclude={"sweep"}))
    for row, seeds in found.items():
        for each in seeds:
            assert each.sweep is None
            values = flat(each.model_dump(exclude={"sweep"}))
            assert {key: value for key, value in values.items() if value != base[key]} == own[row] | {"seed": each.seed}


def test_a_row_is_trained_as_the_recipe_with_its_values_would_be(sweep: Callable[..., schema.Recipe]) -> None:
    found = recipes.rows(sweep())
    assert found["plain"][1].shaping() == recipes.load("base@seed=5", "full").shaping()
    alone = recipes.load("base@seed=4@model.widths=[32, 64]@training.epochs=3", "full")
    assert found["wide"][0].shaping() == alone.shaping()


def test_a_profiles_values_reach_the_rows_and_a_rows_own_win(sweep: Callable[..., schema.Recipe]) -> None:
    found = recipes.rows(sweep(profile="smoke"))
    epochs = {row: each.training.epochs for row, (each, _) in found.items() if each.training}
    assert epochs == {"plain": 6, "wide": 3, "flipped": 6}
    assert {each.data.name for seeds in found.values() for each in seeds if each.data} == {"drawn"}


def test_a_sweep_has_three_seeds_if_it_says_none(sweep: Callable[..., schema.Recipe]) -> None:
    assert [each.seed for each in recipes.rows(sweep("    seeds: [4, 5]\n"))["wide"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("training.epoch: 3", ["row 'wide'", "training.epoch is not a key", "training.epochs"]),
        ("sed: 3", ["row 'wide'", "sed is not a key"]),
        ("training: 3", ["row 'wide'", "training is not a key"]),
        ("name: other", ["row 'wide'", "name is not a key"]),
        ("model.dropout: 2", ["row 'wide'", "model.dropout", "less than 1"]),
        ("augment.balance: true", ["row 'wide'", "balance", "augment.flip"]),
        ("model.l2: 0.1", ["model.l2", "shen_cnn"]),
        ("seed: 7", ["row 'wide'", "seed", "sweep.seeds"]),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_when_the_sweep_is_loaded(
    sweep: Callable[..., schema.Recipe], wrong: str, words: list[str]
) -> None:
    message = refused_sweep(sweep, "training.epochs: 3", wrong)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("reference: plain", "reference: plane", ["sweep: reference plane", "plain, wide, flipped"]),
        ("    reference: plain\n", "", ["sweep.reference"]),
        ("seeds: [4, 5]", "seeds: []", ["sweep.seeds"]),
        ("reference: plain", "reference: plain\n    columns: 3", ["sweep.columns"]),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_by_its_key(
    sweep: Callable[..., schema.Recipe], old: str, new: str, words: list[str]
) -> None:
    message = refused_sweep(sweep, old, new)
    assert all(word in message for word in words), message


def test_a_recipe_without_a_sweep_has_no_rows(folder: Path) -> None:
    with pytest.raises(FlowerlibError, match="^recipe 'base' has no sweep$"):
        recipes.rows(recipes.load("base", "full"))
