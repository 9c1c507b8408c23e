"""Recipes and profiles, read from recipes/*.yml: a recipe is one run of one notebook. No TensorFlow.

A run is named by its recipe and whatever departs from it: ``shen-fine@seed=2@training.epochs=5``.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flowerlib.errors import FlowerlibError
from flowerlib.schema import SECTIONS, Recipe

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PROFILES = ("smoke", "laptop", "full")


def load(run: str, profile: str) -> Recipe:
    """The recipe of a run in a profile.

    Args:
        run: a recipe's name, plus ``@key=value`` for each value that departs from it.
        profile: "smoke", "laptop" or "full".

    Raises:
        FlowerlibError: unknown run, profile or key, or a value out of range; names file, key and range.
    """
    name, changes = parse(run)
    plan = _profile(profile)
    base = _values(name)
    for key in changes:
        _check_key(key, f"recipes/{_all()[name][1]}, recipe '{name}'")
    own = _merge(base, _unflatten(changes))
    values = base
    for layer in (plan.get("values"), _entry(plan, name), _entry(plan, run) if run != name else None):
        values = _merge(values, _applicable(_unflatten(layer or {}), base))
    values = _merge(_without_five(values), _unflatten(changes))
    values |= {"name": run, "profile": profile, "reduced": _reductions(own, values)}
    values["expect"] = _expectation(plan, run) or _expectation(plan, name) or {"minutes": 0}
    recipe = _validated(values, f"recipes/{_all()[name][1]}, recipe '{name}'")
    if recipe.sweep:
        rows(recipe)  # a row that makes no sense is refused now, not after an hour of the others
    return recipe


def _without_five(values: dict[str, Any]) -> dict[str, Any]:
    """Drawn flowers have no five classes: a recipe of those takes all their kinds in the official parts."""
    data = values.get("data") or {}
    if not isinstance(data, dict) or data.get("name") != "drawn" or data.get("labels") != "five":
        return values
    return values | {"data": data | {"split": "official", "labels": "fine"}}


def rows(recipe: Recipe) -> dict[str, list[Recipe]]:
    """The trainings behind a sweep: row -> one recipe a seed, which is the sweep's own with that row's values.

    Raises:
        FlowerlibError: a recipe without a sweep, or a row with an unknown key or a value out of range.
    """
    if recipe.sweep is None:
        raise FlowerlibError(f"recipe '{recipe.name}' has no sweep")
    own = recipe.model_dump(exclude={"sweep", "seed"})
    found: dict[str, list[Recipe]] = {}
    for row, changes in recipe.sweep.rows.items():
        where = f"recipe '{recipe.name}', row '{row}'"
        for key in changes:
            _check_key(key, where)
            if key == "seed" or key.startswith("sweep."):
                raise FlowerlibError(f"{where}: {key}: every row is trained with the seeds of sweep.seeds")
        values = _merge(own, _unflatten(changes))
        found[row] = [_validated(values | {"seed": seed}, where) for seed in recipe.sweep.seeds]
    return found


def _validated(values: dict[str, Any], where: str) -> Recipe:
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise FlowerlibError(f"{where}: {_explain(error)}") from None
    _check_options(recipe)
    return recipe


def parse(run: str) -> tuple[str, dict[str, Any]]:
    """A run's name as its recipe and the values that depart: ``"a@seed=2"`` -> ``("a", {"seed": 2})``."""
    name, *changes = run.split("@")
    pairs = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not (key and equals and value):
            raise FlowerlibError(f"'{change}' in run '{run}' is not key=value")
        try:
            pairs[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise FlowerlibError(f"'{change}' in run '{run}': '{value}' is not a YAML value") from None
    return name, pairs


def _check_key(key: str, where: str) -> None:
    """Refuse a key that no recipe has, a whole section, and what makes a recipe the recipe that it is."""
    section, _, rest = key.partition(".")
    known = Recipe.model_fields.get(section)
    values = SECTIONS.get(section)
    if known is None or section in ("name", "profile", "notebook", "like", "reduced", "expect"):
        raise FlowerlibError(f"{where}: {section} is not a key of a recipe that may change")
    if bool(values) != bool(rest) or (values and rest not in values.model_fields):
        options = f": one of {', '.join(f'{section}.{name}' for name in values.model_fields)}" if values else ""
        raise FlowerlibError(f"{where}: {key} is not a key of a recipe{options}")


def names() -> list[str]:
    """Every recipe, in the order of the files."""
    return list(_all())


def runs(profile: str) -> list[str]:
    """The runs a profile lists, in order."""
    return list(_profile(profile)["runs"])


def aside(profile: str) -> list[str]:
    """Runs that a profile has values for and that are no part of its report: the notebooks' quick first ones."""
    return list(_profile(profile).get("aside") or {})


def title(profile: str) -> str:
    """What a profile is, in the words of its file."""
    return _profile(profile)["title"]


@cache
def _all() -> dict[str, tuple[dict[str, Any], str]]:
    """Recipe name -> (values, file)."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for path in sorted(RECIPES.glob("*.yml")):
        if path.name == "profiles.yml":
            continue
        entries = _read(path)
        if not isinstance(entries, dict) or not all(isinstance(values, dict) for values in entries.values()):
            raise FlowerlibError(f"recipes/{path.name} holds no recipes: each is a name with its values below it")
        for name, values in entries.items():
            if name in found:
                raise FlowerlibError(f"recipe '{name}' stands in recipes/{path.name} and recipes/{found[name][1]}")
            found[name] = (values, path.name)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FlowerlibError(f"recipes/{path.name} is not YAML: {' '.join(str(error).split())}") from None


def _values(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's own values, ``like`` resolved; ``above`` are the recipes that led here."""
    if name in above:
        raise FlowerlibError(f"recipes {' and '.join(above)} are like each other: one of them must stand alone")
    if name not in _all():
        raise FlowerlibError(f"unknown recipe '{name}': one of {', '.join(_all())}")
    values = dict(_all()[name][0])
    like = values.pop("like", None)
    return _merge(_values(like, (*above, name)), values) if like else values


@cache
def _profile(profile: str) -> dict[str, Any]:
    if profile not in PROFILES:
        raise FlowerlibError(f"unknown profile '{profile}': one of {', '.join(PROFILES)}")
    plan = _read(RECIPES / "profiles.yml")[profile]
    for layer in (plan, *(entry for entry in _entries(plan).values() if entry)):
        for key in layer.get("values") or {}:
            _check_key(key, f"recipes/profiles.yml, profile {profile}")
    return plan


def _entries(plan: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    return (plan["runs"] or {}) | (plan.get("aside") or {})


def _entry(plan: dict[str, Any], run: str) -> dict[str, Any] | None:
    return (_entries(plan).get(run) or {}).get("values")


def _expectation(plan: dict[str, Any], run: str) -> dict[str, Any] | None:
    entry = _entries(plan).get(run)
    return {key: entry[key] for key in ("minutes", "score") if key in entry} if entry else None


def _unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """``{"training.epochs": 3}`` -> ``{"training": {"epochs": 3}}``."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def _applicable(layer: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """A profile's values for the sections a recipe has: a recipe without training takes no epochs."""
    return {key: value for key, value in layer.items() if not isinstance(value, dict) or key in base}


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _reductions(own: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """What the profile changed of the recipe's own values, in words: ``epochs 12 of 170``."""
    said = []
    for section in SECTIONS:
        before, after = (each if isinstance(each, dict) else {} for each in (own.get(section), values.get(section)))
        known = SECTIONS[section].model_fields
        for key, value in after.items():
            default = known[key].default if key in known else None  # what is misspelled is refused later, by its file
            old = before.get(key, "the builder's own" if default is None else default)
            old = list(old) if isinstance(old, tuple) else old
            if key == "presentations" and old != value:
                said.append(f"{value:,} pictures shown in all")
            elif section == "budget" and key == "minutes" and value and before.get("steps"):
                said.append(f"{value:g} minutes for {before['steps']:,} steps")
            elif section == "budget" and (value is None or key == "marks"):
                continue  # of minutes and steps the one that is not set; how often the network is looked at
            elif key == "enlarger" and isinstance(value, dict) and isinstance(old, dict):
                if value != old:
                    said.append(f"{value['steps']:,} steps of the enlarger for {old['minutes']:g} minutes")
            elif key == "most_epochs" and old != value:
                said.append(f"at most {value} epochs a phase")
            elif old != value and not ("presentations" in after and key == "epochs"):
                fewer = isinstance(value, int) and isinstance(old, int) and value < old
                said.append(f"{key.removesuffix('_px').replace('_', ' ')} {value} {'of' if fewer else 'for'} {old}")
    return said


def _explain(error: ValidationError) -> str:
    """Pydantic's first complaint in one line with key and allowed range."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key} is not a key of a recipe"
    if first["type"] == "value_error":  # of values that do not go together: the message names them
        return f"{key + ': ' if key else ''}{first['msg'].removeprefix('Value error, ')}"
    return f"{key} = {first['input']!r}: {first['msg']}"


def _check_options(recipe: Recipe) -> None:
    """Refuse a builder that is not there, and options that it does not take."""
    from flowerlib.digests import builder_parameters

    if recipe.model is None:
        return
    accepted = builder_parameters(recipe.model.builder)
    if recipe.augment.whitening_epsilon is not None and "whitening_rank" not in accepted:
        raise FlowerlibError(
            f"recipe '{recipe.name}': augment.whitening_epsilon: {recipe.model.builder} takes no whitening"
        )
    for option in recipe.model.options():
        if option not in accepted:
            raise FlowerlibError(
                f"recipe '{recipe.name}': model.{option} is not an option of {recipe.model.builder}"
                f" (it takes {', '.join(accepted)})"
            )
