"""Builders: sizes in, a plain ``keras.Model`` out. One module a family of networks."""

from collections.abc import Callable

import keras

from flowerlib.models import classifiers

FAMILIES = (classifiers,)


def builder(name: str) -> Callable[..., keras.Model]:
    """The builder that a recipe names; ``flowerlib.recipes`` has checked that there is one."""
    return next(family.BUILDERS[name] for family in FAMILIES if name in family.BUILDERS)
