"""How the two reports turn pictures into noise, level by level, drawn when it is needed.

Both reports keep every noisy copy of every picture in memory, which ends at 500 pictures. Here the levels of one
picture are drawn when its turn comes, from the same distribution; another epoch draws others.
"""

import cv2
import numpy as np

HUGHES_LEVELS, HUGHES_INCREMENT = 20, 0.15  # Hughes 2024, section 4.1
SHEN_LEVELS = 10  # Shen 2025, section 4.1
SHEN_INCREMENT = 0.3  # which it does not give: with it the last level is almost pure noise, as it says


def hughes_levels(
    picture: np.ndarray,
    random: np.random.Generator,
    *,
    levels: int = HUGHES_LEVELS,
    increment: float = HUGHES_INCREMENT,
) -> np.ndarray:
    """A picture and its ever noisier copies: each is the one before plus uniform noise (Hughes 2024, section 4.1).

    The noise is never below 0, so that copies grow brighter, up to 1 + levels * increment, and are not cut.

    Args:
        picture: float (side, side, 3) in [0, 1].
        random: draws the noise.
        levels: how many copies.
        increment: largest noise of one level.

    Returns:
        float32 (levels + 1, side, side, 3), the picture first. A pair to learn from is level i and level i - 1.
    """
    noise = random.random((levels, *picture.shape), dtype=np.float32)
    return np.concatenate([picture[None], picture[None] + increment * np.cumsum(noise, axis=0)]).astype(np.float32)


def shen_levels(
    picture: np.ndarray,
    random: np.random.Generator,
    *,
    levels: int = SHEN_LEVELS,
    increment: float = SHEN_INCREMENT,
    clamp: bool = True,
) -> np.ndarray:
    """A picture and its ever noisier copies: each is the one before plus normal noise, cut to [0, 1] (Shen 2025, 4.1).

    Args:
        picture: float (side, side, 3) in [0, 1].
        random: draws the noise.
        levels: how many copies.
        increment: standard deviation of the noise of one level.
        clamp: whether each level is cut to [0, 1]; without it what the report saw at first comes back, pictures that
            darken step by step (section 4.5).

    Returns:
        float32 (levels + 1, side, side, 3), the picture first.
    """
    chain = np.empty((levels + 1, *picture.shape), np.float32)
    chain[0] = picture
    for level in range(1, levels + 1):
        noise = random.standard_normal(picture.shape, dtype=np.float32)
        chain[level] = chain[level - 1] + increment * noise
        if clamp:
            np.clip(chain[level], 0, 1, out=chain[level])
    return chain


def hughes_start(count: int, side: int, random: np.random.Generator, kind: str = "matched") -> np.ndarray:
    """What Hughes's generation may begin with; the report does not say what its own did.

    Args:
        count: of pictures.
        side: of each, a multiple of 8.
        random: draws the noise.
        kind: "uniform", from 0 to 1, as noise is first thought of; "matched", as bright and as noisy as the last level
            that the network learned from, around grey; "structured", the same around large soft patches of colour,
            which the report proposes (section 4.3).

    Returns:
        float32 (count, side, side, 3).
    """
    if kind == "uniform":
        return random.random((count, side, side, 3), dtype=np.float32)
    around = np.full((count, 1, 1, 3), 0.5, np.float32)
    if kind == "structured":
        patches = random.random((count, side // 8, side // 8, 3), dtype=np.float32)
        around = np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC) for each in patches])
    added = sum(random.random((count, side, side, 3), dtype=np.float32) for _ in range(HUGHES_LEVELS))
    return np.asarray(around + HUGHES_INCREMENT * added, np.float32)


def start_noise(count: int, side: int, random: np.random.Generator, *, mean: float = 0.5) -> np.ndarray:
    """What Shen's generation begins with: normal noise cut to [0, 1] (Shen 2025, section 4.5).

    Args:
        count: of pictures.
        side: of each.
        random: draws the noise.
        mean: 0.5 as mended in the report; 0, its first try, cuts away half of all values and shifts the colours.

    Returns:
        float32 (count, side, side, 3) in [0, 1].
    """
    noise = mean + random.standard_normal((count, side, side, 3), dtype=np.float32)
    return np.clip(noise, 0, 1)


def channel_means(pictures: np.ndarray) -> np.ndarray:
    """Share of each channel in the sum of all, float64 (3,): how Shen 2025 measures a shift of colours (section 4.5).

    Args:
        pictures: float (n, side, side, 3), 0 or more in sum.
    """
    means = pictures.mean(axis=(0, 1, 2), dtype=np.float64)
    result: np.ndarray = means / means.sum()
    return result


def contrast(pictures: np.ndarray) -> float:
    """Standard deviation of a picture's values, averaged over pictures."""
    return float(pictures.std(axis=(1, 2, 3), dtype=np.float64).mean())
