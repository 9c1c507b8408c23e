"""Typed recipes and profiles: a recipe is one run of one notebook, validated and frozen. No TensorFlow.

A run is named by its recipe and whatever departs from it: ``shen-fine@seed=2@training.epochs=5``.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flowerlib.errors import FlowerlibError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PROFILES = ("smoke", "laptop", "full")


class Values(BaseModel):
    """Values that are checked when read and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Values):
    """Which pictures, in which parts, under which labels."""

    name: Literal["oxford102", "flowers5", "drawn"]
    split: Literal["official", "swapped", "joint", "kaggle", "five"]
    labels: Literal["fine", "coarse-2024", "coarse-2025", "five"]
    size_px: int = Field(96, ge=16, le=512)
    resize: Literal["antialiased", "nearest", "squashed"] = "antialiased"

    @model_validator(mode="after")
    def _five_go_together(self) -> Self:
        """The five classes have a split and labels of their own; on other data both would mean nothing."""
        if len({self.name == "flowers5", self.split == "five", self.labels == "five"}) > 1:
            raise ValueError(f"name {self.name}, split {self.split} and labels {self.labels} do not go together")
        return self


class Model(Values):
    """A builder of flowerlib.models and its options; those not set are the builder's own."""

    builder: str
    widths: tuple[int, ...] | None = Field(None, min_length=1)
    l2: float | None = Field(None, ge=0, le=1)
    weight_decay: float | None = Field(None, ge=0, le=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    batch_norm: bool | None = None
    norm_momentum: float | None = Field(None, ge=0, lt=1)

    def options(self) -> dict[str, Any]:
        """What is passed to the builder."""
        return self.model_dump(exclude={"builder"}, exclude_none=True)


class Augment(Values):
    """What may be done to a training picture; ranges are symmetric about doing nothing."""

    flip: bool = False
    shift: float = Field(0.0, ge=0, le=0.5, description="share of the side")
    rotation_deg: float = Field(0.0, ge=0, le=180)
    shear_deg: float = Field(0.0, ge=0, le=60)
    zoom: float = Field(0.0, ge=0, le=0.9)
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue_deg: float = Field(0.0, ge=0, le=180)
    balance: bool = Field(False, description="fill every class up to the largest with augmented copies")

    def changes_colours(self) -> bool:
        """Whether a colour map is needed."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue_deg)

    def changes_pictures(self) -> bool:
        """Whether anything is done at all."""
        moved = self.flip or self.shift or self.rotation_deg or self.shear_deg or self.zoom
        return bool(moved or self.changes_colours())


class Training(Values):
    """How the weights are found."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: float = Field(gt=0, le=10)
    schedule: Literal["constant", "two_drops"] = "constant"
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=4096)
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of the moving average of the weights")


SECTIONS: dict[str, type[Values]] = {"data": Data, "model": Model, "augment": Augment, "training": Training}


class Expectation(Values):
    """What to expect of a run in one profile, said before it starts."""

    minutes: float = Field(ge=0)
    score: str = ""


class Recipe(Values):
    """One run of one notebook in one profile."""

    name: str
    profile: str
    notebook: str
    title: str
    report: Literal["hughes", "cicalla", "ash", "qu", "shen", "ours"]
    departures: tuple[str, ...] = Field((), description="where the recipe leaves the report, each with its reason")
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    seed: int = Field(1, ge=0)
    may_diverge: bool = False
    data: Data | None = None
    model: Model | None = None
    augment: Augment = Augment()
    training: Training | None = None
    reduced: tuple[str, ...] = Field((), description="what this profile cuts, made by load()")
    expect: Expectation = Expectation(minutes=0)

    def shaping(self) -> dict[str, Any]:
        """The values that shape a training; only those that differ from their defaults, so new keys change nothing."""
        keys = {"seed", "data", "model", "augment", "training", "needs"}
        return self.model_dump(mode="json", include=keys, exclude_defaults=True) | {"seed": self.seed}


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
    values = _merge(values, _unflatten(changes))
    values |= {"name": run, "profile": profile, "reduced": _reductions(own, values)}
    values["expect"] = _expectation(plan, run) or _expectation(plan, name) or {"minutes": 0}
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise FlowerlibError(_explain(error, name)) from None
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
    for layer in (plan, *(entry for entry in plan["runs"].values() if entry)):
        for key in layer.get("values") or {}:
            _check_key(key, f"recipes/profiles.yml, profile {profile}")
    return plan


def _entry(plan: dict[str, Any], run: str) -> dict[str, Any] | None:
    return ((plan["runs"] or {}).get(run) or {}).get("values")


def _expectation(plan: dict[str, Any], run: str) -> dict[str, Any] | None:
    entry = (plan["runs"] or {}).get(run)
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
    for section in ("data", "model", "augment", "training"):
        before, after = own.get(section) or {}, values.get(section) or {}
        for key, value in after.items():
            old = before.get(key, "the builder's own")
            if old != value:
                fewer = isinstance(value, int) and isinstance(old, int) and value < old
                said.append(f"{key.removesuffix('_px').replace('_', ' ')} {value} {'of' if fewer else 'for'} {old}")
    return said


def _explain(error: ValidationError, name: str) -> str:
    """Pydantic's first complaint in one line with file, key and allowed range."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    what = "is not a key of a recipe" if first["type"] == "extra_forbidden" else f"= {first['input']!r}: {first['msg']}"
    return f"recipes/{_all()[name][1]}, recipe '{name}': {key} {what}"


def _check_options(recipe: Recipe) -> None:
    """Refuse a builder that is not there, and options that it does not take."""
    from flowerlib.digests import builder_parameters

    if recipe.model is None:
        return
    accepted = builder_parameters(recipe.model.builder)
    for option in recipe.model.options():
        if option not in accepted:
            raise FlowerlibError(
                f"recipe '{recipe.name}': model.{option} is not an option of {recipe.model.builder}"
                f" (it takes {', '.join(accepted)})"
            )
