"""One path for generated pictures and photographs alike: 64 px, then the feature network's side, then its features.

The features are those of EfficientNet-Lite0, not of InceptionV3, so that a KID here is not one of the literature's.
"""

from functools import cache

import cv2
import keras
import numpy as np

from flowerlib.errors import FlowerlibError
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
