"""How well is a picture reconstructed? Errors, as the reports define them, and the principal components of blocks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.linalg
from skimage.metrics import structural_similarity
from sklearn.decomposition import PCA

from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Score

SIDE, LATENT = 8, 64  # of a block, as many of its components as Shen's latent has numbers
BLOCKS = 100_000  # that components are fitted on
SHIFTS = 4  # grids of wide blocks
NORMAL = 1.96  # half a 95 % interval of a mean, in standard errors


def errors(pictures: np.ndarray, again: np.ndarray) -> pd.DataFrame:
    """One row a picture: what separates it from its reconstruction, which is cut to [0, 1] first.

    Args:
        pictures: float (n, side, side, 3) in [0, 1].
        again: float of that shape, the reconstructions.

    Returns:
        Columns mean and std of the absolute error of a value (Hughes 2024, section 3.3; Shen 2025, table 8), rmse,
        psnr in dB, ssim (Wang et al. 2004, Gaussian window).

    Raises:
        FlowerlibError: shapes that differ.
    """
    if pictures.shape != again.shape or pictures.ndim != 4:
        raise FlowerlibError(f"errors: pictures {pictures.shape} and reconstructions {again.shape}")
    rows = []
    for picture, other in zip(pictures, np.clip(again, 0, 1), strict=True):
        off = np.abs(picture.astype(np.float64) - other)
        square = float(np.square(off).mean())
        rows.append(
            {
                "mean": off.mean(),
                "std": off.std(),
                "rmse": square**0.5,
                "psnr": -10 * np.log10(max(square, 1e-12)),
                "ssim": structural_similarity(
                    picture, other, channel_axis=-1, data_range=1.0, gaussian_weights=True, use_sample_covariance=False
                ),
            }
        )
    return pd.DataFrame(rows)


def scores(table: pd.DataFrame) -> dict[str, Score]:
    """Mean over pictures of each column of ``errors``, with its 95 % interval."""
    found = {}
    for name in table.columns:
        values = table[name].to_numpy(np.float64)
        half = NORMAL * values.std(ddof=1) / len(values) ** 0.5
        unit = "dB" if name == "psnr" else "share"
        found[name] = Score(
            values.mean(), values.mean() - half, values.mean() + half, len(values), "normal, photographs", unit
        )
    return found


@dataclass(frozen=True)
class Blocks:
    """Principal components of blocks of 8x8 pixels.

    Attributes:
        mean: float64 (3,), of the channels.
        components: float64 (64, 192), orthonormal, the strongest first.
    """

    mean: np.ndarray
    components: np.ndarray

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """float (n, rows, columns, 64) of pictures (n, side, side, 3)."""
        result: np.ndarray = _blocks(pictures - self.mean) @ self.components.T
        return result

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Pictures (n, side, side, 3) of what ``encode`` gives."""
        count, rows, columns, _ = latent.shape
        blocks = (latent @ self.components).reshape(count, rows, columns, SIDE, SIDE, 3)
        result: np.ndarray = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(count, rows * SIDE, columns * SIDE, 3)
        return result + self.mean


def fit_blocks(pictures: np.ndarray, *, latent: int = LATENT, seed: int = 0) -> Blocks:
    """The components that reconstruct blocks best, of ``BLOCKS`` blocks drawn from some pictures.

    Args:
        pictures: uint8 (n, side, side, 3), a side that 8 divides; the training part.
        latent: how many are kept.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    per_picture = -(-BLOCKS // len(pictures))
    drawn = []
    for picture in pictures:
        blocks = _blocks(picture[None] / 255.0).reshape(-1, SIDE * SIDE * 3)
        drawn.append(blocks[random.permutation(len(blocks))[:per_picture]])
    blocks = np.concatenate(drawn)
    mean = blocks.reshape(-1, 3).mean(axis=0)
    # About the channels' means, which a decoder can add back, not about each pixel's own.
    fitted = PCA(latent, svd_solver="full").fit(
        np.concatenate([blocks - np.tile(mean, 64), np.tile(mean, 64) - blocks])
    )
    return Blocks(mean, fitted.components_)


def fit_wide(pictures: np.ndarray, side: int, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Components of wide blocks, which know more of what pixels have in common than narrow ones do.

    Blocks are taken on ``SHIFTS`` grids drawn at random, and in a mirror; their second moments are added up, because
    the blocks themselves would fill the memory.

    Args:
        pictures: uint8 (n, size, size, 3), size at least ``side``; the training part.
        side: of a block.
        count: how many components are kept.
        seed: of the grids.

    Returns:
        Mean of each channel, float64 (3,), and components float64 (count, side * side * 3), orthonormal, pixels row by
        row, channels last, about the channels' means.
    """
    random, size = np.random.default_rng(seed), pictures.shape[1]
    mean = pictures.reshape(-1, 3).mean(axis=0) / 255
    moments = np.zeros((side * side * 3,) * 2)
    room = min(side, size - side + 1)
    grids = [(0, 0), *random.integers(0, room, (SHIFTS - 1, 2)).tolist()]
    for some in np.array_split(pictures, -(-len(pictures) // 500)):
        for top, left in grids:
            rows, columns = (size - top) // side, (size - left) // side
            part = some[:, top : top + rows * side, left : left + columns * side] / np.float32(255) - mean
            for shown in (part, part[:, :, ::-1]):
                cut = shown.reshape(len(some), rows, side, columns, side, 3).transpose(0, 1, 3, 2, 4, 5)
                blocks = cut.reshape(-1, side * side * 3).astype(np.float32)
                moments += blocks.T @ blocks
    _, vectors = scipy.linalg.eigh(moments, subset_by_index=(len(moments) - count, len(moments) - 1))
    return mean, vectors[:, ::-1].T.copy()


def _blocks(pictures: np.ndarray) -> np.ndarray:
    count, side, _, channels = pictures.shape
    if side % SIDE:
        raise FlowerlibError(f"pictures of {side} px are not divided into blocks of {SIDE}")
    cut = pictures.reshape(count, side // SIDE, SIDE, side // SIDE, SIDE, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(count, side // SIDE, side // SIDE, SIDE * SIDE * channels)


def interpolate(
    encode: Callable[[np.ndarray], np.ndarray],
    decode: Callable[[np.ndarray], np.ndarray],
    first: np.ndarray,
    last: np.ndarray,
    steps: int = 6,
) -> np.ndarray:
    """Pictures between two, along a line in the latent; float (steps, side, side, 3), the ends included.

    Args:
        encode: pictures -> latent.
        decode: latent -> pictures.
        first, last: float (side, side, 3) in [0, 1].
        steps: how many.
    """
    ends = encode(np.stack([first, last]))
    shares = np.linspace(0, 1, steps).reshape(-1, *[1] * (ends.ndim - 1))
    return np.clip(decode((1 - shares) * ends[0] + shares * ends[1]), 0, 1)
