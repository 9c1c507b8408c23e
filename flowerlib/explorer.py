"""Explore by clicks: a photograph, a network, a class, a method; the map and the nearest training photographs."""

import base64
import io
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
from PIL import Image

from flowerlib import explain, league, neighbors, networks, picking, pictures
from flowerlib.lime import quick_lime
from flowerlib.networks import Network

SIDE_PX = 224  # of the large pictures
THUMB_PX = 72
THUMBS = 12
NEAREST = 4
COPIES = {"masks": 200}  # of a picture, for methods that look at many: a click should not take minutes
METHODS = explain.METHODS | {"lime": quick_lime}
BUTTON = "explorer-photograph"


class Explorer:
    """The widgets, and what they show. ``box`` is what a notebook displays.

    Attributes:
        network, label, method: what is chosen.
        photographs: a button for each of the photographs that can be chosen, ``more`` draws others.
        shown: the photograph and its map.
        said: what the network answers.
        nearest: the nearest training photographs.
    """

    def __init__(self, runs: Sequence[str], profile: str) -> None:
        self.profile, self._loaded, self._seed = profile, {}, 0  # type: ignore[var-annotated]
        self.network = widgets.Dropdown(options=list(runs), description="network")
        self.method = widgets.Dropdown(options=list(METHODS), value="grad_cam", description="method")
        self.label = widgets.Dropdown(description="class")
        self.more = widgets.Button(description="other photographs")
        self.photographs = [widgets.Button(layout={"width": "76px", "height": "76px"}) for _ in range(THUMBS)]
        self._look = widgets.HTML()
        self.said = widgets.HTML()
        self.shown = [widgets.Image(format="png", width=SIDE_PX) for _ in range(2)]
        self.nearest = [widgets.Image(format="png", width=THUMB_PX * 2) for _ in range(NEAREST)]
        self._names = [widgets.HTML() for _ in range(NEAREST)]
        for number, button in enumerate(self.photographs):
            button.add_class(f"{BUTTON}-{number}")
            button.on_click(lambda _, number=number: self._choose(number))
        self.more.on_click(lambda _: self._draw())
        self.network.observe(lambda _: self._load(), names="value")
        self.label.observe(lambda _: self._map(), names="value")
        self.method.observe(lambda _: self._map(), names="value")
        near = [widgets.VBox(pair) for pair in zip(self.nearest, self._names, strict=True)]
        self.box = widgets.VBox(
            [
                self._look,
                widgets.HBox([self.network, self.method, self.label, self.more]),
                widgets.HBox(self.photographs, layout={"flex_flow": "row wrap"}),
                self.said,
                widgets.HBox(self.shown),
                widgets.HTML("nearest training photographs, by the angle between features"),
                widgets.HBox(near),
            ]
        )
        self._load()

    def _load(self) -> None:
        """Another network: its photographs and classes."""
        run = self.network.value
        if run not in self._loaded:
            network = networks.load(run, self.profile)
            known = networks.seen(network)[:, 0]
            probabilities = network.probabilities(network.split.test)
            among = neighbors.index(known[network.split.train.indices], "cosine")
            self._loaded[run] = network, known, probabilities, among
        self._network: Network = self._loaded[run][0]
        self._known, self._probabilities, self._among = self._loaded[run][1:]
        names = self._network.split.names
        self._picture = -1  # so that the new list of classes explains nothing yet
        self.label.options = [(name, number) for number, name in enumerate(names)]
        self._draw()

    def _draw(self) -> None:
        """Photographs to choose from, a right and a wrong answer in turn."""
        test = self._network.split.test
        self._offered = picking.chosen(test.labels, self._probabilities.argmax(axis=1), THUMBS, self._seed)
        self._seed += 1
        rules = []
        for number, place in enumerate(self._offered):
            picture = base64.b64encode(_png(pictures.small(self._image(place), THUMB_PX)[0])).decode()
            rules.append(f".{BUTTON}-{number} {{background-image: url(data:image/png;base64,{picture}) !important}}")
        self._look.value = f"<style>{''.join(rules)}</style>"
        self._choose(0)

    def _choose(self, number: int) -> None:
        """Another photograph: what the network says of it, and what is near it."""
        self._picture = int(self._offered[number])
        chances, split = self._probabilities[self._picture], self._network.split
        names = split.names
        best = np.argsort(-chances)[:3]
        answers = ", ".join(f"{names[each]} {chances[each]:.2f}" for each in best)
        self.said.value = f"is <b>{names[split.test.labels[self._picture]]}</b>; the network says {answers}"
        self.shown[0].value = _png(self._image(self._picture)[0])
        [found], _ = neighbors.nearest(self._among, self._known[split.test.indices[[self._picture]]], NEAREST)
        for image, name, place in zip(self.nearest, self._names, found, strict=True):
            image.value = _png(np.asarray(self._network.dataset.images[split.train.indices[place]]))
            name.value = names[split.train.labels[place]]
        if self.label.value == best[0]:
            self._map()
        else:
            self.label.value = int(best[0])  # which draws the map

    def _map(self) -> None:
        """The map of the chosen photograph for the chosen class by the chosen method."""
        if self._picture < 0 or self.label.value is None:
            return
        method, image = METHODS[self.method.value], self._image(self._picture)
        copies = league.SLOW.get(self.method.value)
        options = {copies: COPIES[copies]} if copies in COPIES else {}
        found = method(self._network.model, image, np.array([self.label.value]), **options)
        self.shown[1].value = _png(pictures.blended(image, found)[0])

    def _image(self, place: int) -> np.ndarray:
        """uint8 (1, side, side, 3): a photograph of the test part."""
        return np.asarray(self._network.dataset.images[self._network.split.test.indices[[place]]])


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()
