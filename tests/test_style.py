"""Can the report's curves be told apart without colour, and by eyes that do not see green?"""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2gray, rgb2lab

from flowerlib.style import BLUE, GREY, LOOKS, ORANGE, SKY, YELLOW, figure, style

# Linear RGB as seen without the green cones: Machado et al. 2009, table 1, deuteranomaly of severity 1.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
CURVES = list(zip(*LOOKS.values(), strict=True))


def without_green(rgb: np.ndarray) -> np.ndarray:
    """What is left of sRGB colours in [0, 1] to eyes without green cones."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEUTERANOPIA.T, 0, 1)
    return np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)


def drawn(color: str, marker: str, line: object) -> np.ndarray:
    """A curve alone in a figure of the report's size and resolution, float (rows, columns, 3) in [0, 1]."""
    with style():
        fig = figure(0.4, None)
        ax = fig.add_axes((0, 0, 1, 1))
        ax.plot(np.zeros(13), color=color, marker=marker, linestyle=line)
        ax.set_axis_off()
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Which share of two curves' ink differs, wherever along the line they begin; of grey pictures (rows, columns)."""
    inks = 1 - one, 1 - other
    shifted = [np.abs(inks[0] - np.roll(inks[1], shift, axis=1)).sum() for shift in range(80)]
    return float(min(shifted) / (inks[0].sum() + inks[1].sum()))


def test_a_matrix_of_white_is_white_and_red_and_green_come_closer():
    np.testing.assert_allclose(without_green(np.ones(3)), np.ones(3), atol=1e-3)
    red, green = np.array([0.8, 0.2, 0.2]), np.array([0.4, 0.5, 0.1])
    before = deltaE_ciede2000(rgb2lab(red), rgb2lab(green))
    assert deltaE_ciede2000(rgb2lab(without_green(red)), rgb2lab(without_green(green))) < before / 3


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations([each[0] for each in CURVES], 2)))
def test_any_two_curves_differ_in_colour_without_green_cones(one, other):
    seen = [rgb2lab(without_green(np.array(to_rgb(each)))) for each in (one, other)]
    assert deltaE_ciede2000(*seen) > 9  # 1 is what an eye just tells apart


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(len(CURVES)), 2)))
def test_any_two_curves_differ_in_grey(one, other):
    pictures = [rgb2gray(drawn(*CURVES[each])) for each in (one, other)]
    assert apart(pictures[0], pictures[0]) == 0
    assert apart(*pictures) > 0.15


@pytest.mark.parametrize("pair", [(BLUE, ORANGE), (ORANGE, YELLOW), (BLUE, SKY), (BLUE, GREY)])
def test_areas_that_touch_differ_in_grey_or_have_an_outline(pair):
    """Bars and bands: ORANGE beside YELLOW has black edges; BLUE dots stand in a GREY band of a quarter's strength."""
    strength = {GREY: 0.25}
    seen = [1 - strength.get(each, 1) * (1 - np.array(to_rgb(each))) for each in pair]
    light = [float(rgb2lab(each)[0]) for each in seen]
    assert abs(light[0] - light[1]) > 15


def test_the_colours_of_maps_grow_lighter_all_the_way():
    steps = matplotlib.colormaps["cividis"](np.linspace(0, 1, 64))[:, :3]
    for seen in (steps, without_green(steps)):
        assert (np.diff(rgb2lab(seen)[:, 0]) > 0).all()
