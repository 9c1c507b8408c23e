"""One path for generated pictures and photographs alike: 64 px, then the feature network's side, then its features.

The features are those of EfficientNet-Lite0, not of InceptionV3, so that a KID here is not one of the literature's.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

import cv2
import keras
import numpy as np

from flowerlib.digests import digest, function_digests
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.kept import Plan, keep
from flowerlib.models import backbones

NETWORK, PASSED_PX, SEEN_PX = "efficientnet_lite0", 64, 224
AT_ONCE = 32


def features(pictures: np.ndarray) -> np.ndarray:
    """What the feature network sees in pictures, float32 (n, 1280).

    Args:
        pictures: uint8 (n, side, side, 3) of any side; a copy of PASSED_PX is all that goes further, so that no side
            wins by its sharpness.

    Raises:
        FlowerlibError: pictures of another shape or kind.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise FlowerlibError(f"features: {pictures.dtype} {pictures.shape}, not uint8 (n, side, side, 3)")
    found = np.empty((len(pictures), 1280), np.float32)
    for start in range(0, len(pictures), AT_ONCE):
        some = np.stack([passed(picture) for picture in pictures[start : start + AT_ONCE]])
        found[start : start + len(some)] = np.asarray(_network().predict_on_batch(some))
    return found


def of_photographs(photographs: np.ndarray) -> np.ndarray:
    """``features`` of photographs, kept on disk under their checksum: every generator is compared with the same.

    Args:
        photographs: uint8 (n, side, side, 3).

    Returns:
        float32 (n, 1280), a read-only memory map.
    """
    seen = hashlib.sha256(np.ascontiguousarray(photographs).tobytes()).hexdigest()
    functions = function_digests([("picture_features", "features")])
    parts = {"photographs": seen, "shape": list(photographs.shape), "functions": digest(functions)}

    def blocks(first: int) -> Iterator[np.ndarray]:
        for start in range(first, len(photographs), AT_ONCE):
            yield features(photographs[start : start + AT_ONCE])

    plan = Plan("features of photographs", (len(photographs), 1280), len(photographs), "float32", blocks)
    path = cache_folder() / "features" / f"photographs-{digest(parts)}.npy"
    return keep(path, parts, plan)


def passed(picture: np.ndarray) -> np.ndarray:
    """A picture on its way: uint8 (SEEN_PX, SEEN_PX, 3) of uint8 (side, side, 3)."""
    small = resized(picture, PASSED_PX)
    return resized(small, SEEN_PX)


def resized(picture: np.ndarray, side_px: int) -> np.ndarray:
    """A square uint8 picture at another side: averaged over areas when it shrinks, bicubic when it grows."""
    if len(picture) == side_px:
        return picture
    way = cv2.INTER_AREA if len(picture) > side_px else cv2.INTER_CUBIC
    return cv2.resize(picture, (side_px, side_px), interpolation=way)


@cache
def _network() -> keras.Model:
    return backbones.backbone(NETWORK, size_px=SEEN_PX, pooled=True)
