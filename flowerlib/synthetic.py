"""Drawn flowers of 102 kinds for the smoke profile: illustrations made by formula, never photographs.

A kind is one of six petal shapes in one of seventeen colour schemes; petal count, rings, centre, veins and so
on are spread over the kinds by a low-discrepancy sequence. An individual varies its kind: place, size, turn,
tilt, hue, light, each petal, and a background that tells nothing about the kind.

How a flower is drawn: each pixel is mapped into the plane of the flower (centre 0, petal tips at radius 1),
then into the frames of the two petals it lies between, where one formula says how deep inside each it is.
Depth becomes coverage (antialiased over one pixel), outline and shadow. Pictures span [-1, 1], y down.
All is float64, so that rounding to uint8 hides the last-bit differences between machines.
"""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from flowerlib.errors import FlowerlibError

Array = np.ndarray
Flower = SimpleNamespace  # n flowers: every attribute is an array (n, ...)

KINDS = 102
CHUNK_PIXELS = 1 << 15  # drawn at a time: small enough for a processor's cache
LEAVES = 5
PETALS = 24  # petals of a ring that vary on their own

SHAPE_TRAITS = ("breadth", "taper", "pointed", "blunt", "notch", "ruffle")
SHAPES = {  # petal counts to choose from; breadth 1: petals just touch; taper > 0: broadest near the tip
    "rounded": ((5, 6, 7, 8), 0.86, 0.20, 0.00, 0.2, 0.00, 0.00),
    "pointed": ((5, 6, 7, 8), 0.86, -0.25, 0.95, 0.0, 0.00, 0.00),
    "notched": ((4, 5, 6), 1.00, 0.55, 0.10, 0.3, 0.45, 0.00),
    "narrow": ((10, 13, 16, 21), 0.80, 0.15, 0.20, 0.5, 0.00, 0.00),
    "broad": ((3, 4, 5), 1.25, 0.05, 0.25, 0.3, 0.00, 0.00),
    "ruffled": ((5, 6, 7), 1.20, 0.45, 0.00, 0.5, 0.00, 0.09),
}
CENTRES = ("plain", "seeded", "stamens", "trumpet")


def _rgb(codes: str) -> Array:
    """Hex colours -> float64, (colours, 3), in [0, 1]."""
    return np.array([list(bytes.fromhex(code)) for code in codes.split()]) / 255


# Heart of the petals, their tips, centre of the flower, veins and stamens.
SCHEMES = _rgb("""
    fff2c4 ffffff f2b21b d98a12  ffc21f ffd83d 6b3f1a 3f230c  f79d0c fff07a d97706 b45309
    ff6a13 ff9a3c 7b2d0b 5a1d05  ffe7a8 ff7f50 fff0c0 d1495b  4a0712 d7263d 2b1016 f4d35e
    fff1f1 e63946 f6c945 a4161a  ffe9f0 ff8fb3 f5c84c c9184a  b0124e f7a6c4 fff3b0 7b0f3b
    ff9df5 c726b8 ffe066 6a0f78  fff7d6 b58ae8 f2c230 5a189a  35085f 8f45d6 ffb703 1d0038
    ffffff 4d6cfa ffe66d 1b2a8a  1d3fa5 8fbcff f7f7ff 12236b  fdfbe6 b9d66a 6f8f22 4c6b16
    8c1c4b fbe9f0 f3c13a 8c1c4b  f0a63a 8e2f1c f5c542 47120b
""").reshape(17, 4, 3)
GROUNDS = _rgb("5f8f5a 2f5d50 a9c7a0 8fb8d8 c9b8dc e8dcc0 3f6f7f 7d9b4e d9c2b0 46544a")
GREENS = _rgb("3f7d3a 5f9e48 2f6650 86a84a 4f8a70")


def draw(kinds: Array, indices: Array, size_px: int, seed: int = 0) -> tuple[Array, Array]:
    """Draw one flower for each pair of kind and index.

    A picture depends on its own kind, index, seed and size alone; size sets the resolution, not the flower.

    Args:
        kinds: int, (n,), 0 to 101.
        indices: int, (n,), 0 or more: which individual of the kind.
        size_px: height and width, 16 or more.
        seed: 0 or more; another seed gives other individuals of the same kinds.

    Returns:
        Images, uint8, (n, size_px, size_px, 3); masks of petals and centre, bool, (n, size_px, size_px).

    Raises:
        FlowerlibError: a kind, index, seed or size out of range, or kinds and indices of different lengths.
    """
    kinds, indices = np.asarray(kinds), np.asarray(indices)
    _check(kinds, indices, size_px, seed)
    images = np.empty((len(kinds), size_px, size_px, 3), np.uint8)
    masks = np.empty((len(kinds), size_px, size_px), bool)
    step = max(1, CHUNK_PIXELS // size_px**2)
    for start in range(0, len(kinds), step):
        part = slice(start, start + step)
        canvas, coverage = _paint(_individuals(kinds[part], indices[part], seed), size_px)
        images[part] = np.rint(np.clip(canvas, 0, 1) * 255).transpose(0, 2, 3, 1)
        masks[part] = coverage >= 0.5
    return images, masks


def _check(kinds: Array, indices: Array, size_px: int, seed: int) -> None:
    if kinds.ndim != 1 or kinds.shape != indices.shape:
        problem = f"kinds {kinds.shape} and indices {indices.shape} must be equally long lists"
    elif kinds.size and not {kinds.dtype.kind, indices.dtype.kind} <= {"i", "u"}:
        problem = f"kinds ({kinds.dtype}) and indices ({indices.dtype}) must be whole numbers"
    elif kinds.size and not 0 <= kinds.min() <= kinds.max() < KINDS:
        problem = f"kinds must be 0 to {KINDS - 1}, not {kinds.min()} to {kinds.max()}"
    elif seed < 0 or indices.min(initial=0) < 0:
        problem = "seed and indices must be 0 or more"
    elif size_px < 16:
        problem = f"size_px must be 16 or more, not {size_px}"
    else:
        return
    raise FlowerlibError(f"drawn flowers: {problem}")


def _design() -> dict[str, Array]:
    """Name of a trait -> its value for each kind, (102, 1, 1), spread by the R_d sequence (Roberts 2018)."""
    root = 1.0  # converges to the root of root**10 = root + 1, for nine traits
    for _ in range(60):
        root = (1 + root) ** 0.1
    kind = np.arange(KINDS)
    spread = (0.5 + np.outer(root ** -np.arange(1.0, 10), kind)) % 1  # (9, 102)
    count, rings, twist, centre, core, eye, vein, lopsided, size = spread
    shapes = [list(SHAPES.values())[k % len(SHAPES)] for k in kind]
    traits = dict(zip(SHAPE_TRAITS, np.array([shape[1:] for shape in shapes]).T, strict=True))
    petals = np.array([shape[0][int(u * len(shape[0]))] for shape, u in zip(shapes, count, strict=True)])
    traits["petals"] = petals
    traits["rings"] = np.select([rings < 0.45, rings < 0.8], [1, 2], 3)
    traits["twist"] = np.select([petals > 8, twist < 0.2, twist > 0.8], [0, -0.35, 0.35], 0.0)
    traits["centre"] = np.floor(centre * len(CENTRES))
    traits["core"] = 0.13 + 0.2 * core  # radius of the centre
    traits["eye"] = 0.15 + 0.6 * eye  # how far the colour of the heart reaches along a petal
    traits["vein"] = np.where(vein > 0.6, 0.55, 0)
    traits["lopsided"] = np.where((lopsided > 0.75) & (petals > 4) & (petals < 8), 0.25, 0)  # longer below
    traits["size"] = 0.68 + 0.12 * size
    traits = {name: values.reshape(KINDS, 1, 1) for name, values in traits.items()}
    # 6 shapes and 17 schemes share no factor: each pair of them is one kind.
    return traits | {"colours": SCHEMES[kind % len(SCHEMES)]}  # (102, 4, 3)


DESIGN = _design()


def _individuals(kinds: Array, indices: Array, seed: int) -> Flower:
    """Traits of n flowers, each an array (n, ...): those of the kind, then those of the individual."""
    flower = Flower(**{name: values[kinds] for name, values in DESIGN.items()})
    keys = zip(kinds.tolist(), indices.tolist(), strict=True)
    count = 17 + 5 * LEAVES + 3 * PETALS  # random numbers a picture; they depend on its key alone
    words = [np.random.SeedSequence((kind, index, seed)).generate_state(count) for kind, index in keys]
    numbers = iter(np.array(words).T / 2**32)

    def between(low: float, high: float, many: int = 1) -> Array:  # (n, many, 1)
        return low + (high - low) * np.stack([next(numbers) for _ in range(many)], axis=1)[..., None]

    flower.x, flower.y = between(-0.16, 0.16), between(-0.2, 0.1)
    flower.size = flower.size * between(0.82, 1.14)
    flower.turn = between(-1, 1) * np.where(flower.lopsided > 0, 0.35, np.pi)
    flower.tilt, flower.squash = between(0, np.pi), between(0.68, 1)
    flower.breadth, flower.core = flower.breadth * between(0.93, 1.07), flower.core * between(0.9, 1.1)
    flower.eye = flower.eye + between(-0.06, 0.06)
    flower.petal_length, flower.petal_lean, flower.petal_light = (between(-1, 1, PETALS) for _ in range(3))
    colours = _turn_hue(flower.colours, between(-0.16, 0.16)) * between(0.84, 1.02)
    flower.colours = colours[..., None, None]  # (n, 4, 3, 1, 1)
    flower.ground = _pick(GROUNDS, between(0, 1, 2)) * between(0.8, 1.1, 2)[..., None, None]
    flower.ground_turn, flower.bend = between(0, 2 * np.pi), between(-0.35, 0.35)
    flower.leaf_x, flower.leaf_y = between(-1, 1, LEAVES), between(-0.7, 1.1, LEAVES)
    flower.leaf_turn, flower.leaf_length = between(0, 2 * np.pi, LEAVES), between(0.35, 0.75, LEAVES)
    flower.leaf_colour = _pick(GREENS, between(0, 1, LEAVES))
    return flower


def _pick(colours: Array, uniform: Array) -> Array:
    """A colour for each number, (n, many, 3, 1, 1): the last two axes are for the pixels."""
    return colours[(uniform[..., 0] * len(colours)).astype(int)][..., None, None]


def _turn_hue(colours: Array, angle: Array) -> Array:
    """Colours, (n, 4, 3), turned about the grey axis by (n, 1, 1) radians."""
    grey, cross = np.full((3, 3), 1 / 3), np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return colours @ (np.cos(angle) * (np.eye(3) - grey) + grey + np.sin(angle) * cross)


def _paint(flower: Flower, size_px: int) -> tuple[Array, Array]:
    """Canvas, (n, 3, size, size), about [0, 1], and the flower's share of each pixel, (n, size, size)."""
    axis = (np.arange(size_px) + 0.5) * 2 / size_px - 1
    x, y = axis[None, None, :], axis[None, :, None]
    canvas = _background(flower, x, y, 2 / size_px)
    coverage = np.zeros((len(canvas), size_px, size_px))
    u, v = _turn(x - flower.x, y - flower.y, flower.tilt)  # the flower's plane is tilted about this axis
    u, v = u / flower.size, v / (flower.size * flower.squash)
    radius, angle = np.sqrt(u * u + v * v), np.arctan2(v, u) + flower.tilt
    pixel = 2 / size_px / (flower.size * np.sqrt(flower.squash))  # in the flower's own unit
    for ring in range(3):
        has = np.flatnonzero(flower.rings[:, 0, 0] > ring)
        one = Flower(**{name: values[has] for name, values in vars(flower).items()})
        depth, colour = _ring(one, ring, radius[has], angle[has], pixel[has])
        canvas[has], coverage[has] = _lay(canvas[has], coverage[has], depth, colour, pixel[has])
    for depth, colour in _centre(flower, radius, angle):
        canvas, coverage = _lay(canvas, coverage, depth, colour, pixel)
    return canvas, coverage


def _lay(canvas: Array, coverage: Array, depth: Array, colour: Array, pixel: Array) -> tuple[Array, Array]:
    """Lay a shape over the canvas: its soft shadow, then its colour, antialiased over one pixel."""
    alpha = _ramp(depth / pixel + 0.5)
    canvas = canvas * (1 - 0.25 * _ramp(1 + depth / 0.07))[:, None]
    return canvas + alpha[:, None] * (colour - canvas), np.maximum(coverage, alpha)


def _ramp(values: Array) -> Array:
    return np.clip(values, 0, 1)


def _turn(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """Coordinates along and across an axis at an angle."""
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _background(flower: Flower, x: Array, y: Array, pixel: float) -> Array:
    """A gradient, leaves out of focus and a stem, all of the individual: none gives away the kind."""
    slope = 0.5 + 0.35 * _turn(x, y, flower.ground_turn)[0]
    canvas = flower.ground[:, 0] + slope[:, None] * (flower.ground[:, 1] - flower.ground[:, 0])
    for leaf in range(LEAVES):
        one = (slice(None), [leaf])
        along, across = _turn(x - flower.leaf_x[one], y - flower.leaf_y[one], flower.leaf_turn[one])
        length = flower.leaf_length[one]
        alpha = 0.75 * _ramp(0.5 + 3 * (1 - (along / length) ** 2 - 2.5 * np.abs(across / length)))
        canvas += alpha[:, None] * (flower.leaf_colour[:, leaf] - canvas)
    down = y - flower.y
    alpha = _ramp((0.035 - np.abs(x - flower.x - flower.bend * down**2)) / pixel + 0.5) * (down > 0)
    return canvas + alpha[:, None] * (0.85 * flower.leaf_colour[:, 0] - canvas)


def _ring(flower: Flower, ring: int, radius: Array, angle: Array, pixel: Array) -> tuple[Array, Array]:
    """Depth and colour of a ring of petals, each of which lies over the one before it."""
    period = 2 * np.pi / flower.petals
    place = (angle - flower.turn) / period - 0.5 * ring  # in petals
    below = np.floor(place)
    phi = (place - below) * period
    along, across = radius * np.cos(phi), radius * np.sin(phi)
    under = _petal(flower, ring, along, across, below)
    over = _petal(flower, ring, *_turn(along, across, period), below + 1)
    alpha, shadow = _ramp(over[0] / pixel + 0.5), 1 - 0.22 * _ramp(1 + over[0] / 0.12)
    tone, vein = (under[i] + alpha * (over[i] - under[i]) for i in (1, 2))
    light = under[3] * shadow * (1 - alpha) + over[3] * alpha
    heart, tip, _, ink = flower.colours.swapaxes(0, 1)
    colour = heart + tone[:, None] * (tip - heart)
    return np.maximum(under[0], over[0]), (colour + vein[:, None] * (ink - colour)) * light[:, None]


def _petal(flower: Flower, ring: int, along: Array, across: Array, number: Array) -> tuple[Array, ...]:
    """One petal in its own frame: depth inside it, tone (0 heart, 1 tip), strength of veins, light."""
    every = np.arange(PETALS)[:, None]
    below = np.sin((every + 0.5 * ring) * 2 * np.pi / flower.petals + flower.turn)  # 1: points down
    lengths = (1 + 0.07 * flower.petal_length + flower.lopsided * (below - 0.2)) * (1 - 0.27 * ring)
    k = (np.arange(len(along))[:, None, None], (number % flower.petals).astype(int), 0)
    length, lean, own_light = lengths[k], flower.petal_lean[k], flower.petal_light[k]
    along, across = along / length, across / length
    across = across + along * (0.06 * lean) + flower.twist * along**2

    half_width = flower.breadth * np.minimum(0.5 * np.tan(np.pi / flower.petals), 0.6)
    a = 2 * along - 1  # -1 at the base, 1 at the tip
    b = across / (half_width * np.maximum(1 + flower.taper * a, 0.2))  # -1 and 1 at the sides
    a = a + _ramp(a) * (flower.notch / (1 + 9 * b * b) + flower.ruffle * np.cos(9 * b + 3 * lean))
    a2, b2, side = a * a, b * b, np.abs(b)
    level = 1 - a2 * (1 - flower.blunt + flower.blunt * a2) - b2 - flower.pointed * (side - b2)
    slope_a = 4 * a * (1 - flower.blunt + 2 * flower.blunt * a2)
    slope_b = (2 * side * (1 - flower.pointed) + flower.pointed) / half_width
    depth = length * level / np.sqrt(slope_a**2 + slope_b**2 + 0.3)  # level over slope: nearly the distance

    out = np.sqrt(along * along + across * across)  # from the heart, 0, to the tip, 1
    tone = _ramp((out - flower.eye) / 0.2 + 0.5)
    vein = flower.vein * _ramp(4 * np.cos(12 * b) - 2) * _ramp(1.5 - 1.6 * out)
    outline, fold = _ramp(1 - depth / 0.04), _ramp(1 - side / 0.1)
    light = (0.9 + 0.16 * _ramp(out)) * (1 + 0.06 * own_light) * (1 - 0.3 * outline) * (1 - 0.08 * fold)
    return depth, tone, vein, light


def _centre(flower: Flower, radius: Array, angle: Array) -> Iterator[tuple[Array, Array]]:
    """The layers of the centre, each its depth and colour: stamens, if any, and the disc."""
    _, _, middle, ink = flower.colours.swapaxes(0, 1)
    seeded, stamens, trumpet = (flower.centre == CENTRES.index(name) for name in CENTRES[1:])
    r, spin = radius / flower.core, angle - flower.turn
    light = (1.04 - 0.3 * _ramp(r) ** 2)[:, None]

    step = np.pi / np.clip(flower.petals, 4, 8)
    phi = (spin + step / 2) % step - step / 2
    along, across = r * np.cos(phi), r * np.sin(phi)
    anther = 0.24 - np.sqrt((along - 1.5) ** 2 + across**2)
    thread = np.minimum(0.07 - np.abs(across), 1.5 - along)
    yield flower.core * np.where(stamens, np.maximum(anther, thread), -9), ink * light

    edge = np.where(trumpet, 1.35 + 0.09 * np.cos(11 * spin), np.where(stamens, 0.65, 1))
    spiral = 16 * np.sqrt(r)
    seeds = 0.75 * _ramp(3 * np.cos(13 * spin + spiral) * np.cos(13 * spin - spiral))
    throat = 0.8 * _ramp(3 - 5 * r / edge)
    mix = np.where(seeded, seeds, np.where(trumpet, throat, 0))[:, None]
    yield flower.core * (edge - r), (middle + mix * (ink - middle)) * light
