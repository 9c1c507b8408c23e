"""A user's own photograph, as a network wants it: upright, RGB, square. Imports no TensorFlow."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from flowerlib.errors import FlowerlibError

MOST_PIXELS = 100_000_000  # of a picture that cannot be opened at a smaller size


def read(path: Path, size_px: int, resize: str = "antialiased") -> np.ndarray:
    """One photograph as uint8 (size, size, 3), cropped and resized as ``data.decode`` does it.

    It is turned as its EXIF says; CMYK and grey become RGB; what is transparent lies on white.

    Args:
        path: of a file that Pillow reads.
        size_px: side of the result.
        resize: as of ``data.load``.

    Raises:
        FlowerlibError: a missing, empty, damaged or too large file, or no picture.
    """
    if not path.is_file():
        raise FlowerlibError(f"{path}: no such file")
    if not path.stat().st_size:
        raise FlowerlibError(f"{path} is empty")
    try:
        return _square(_upright(path, size_px), size_px, resize)
    except UnidentifiedImageError:
        raise FlowerlibError(f"{path} is no picture that can be read: give a JPEG or PNG") from None
    except MemoryError:
        raise FlowerlibError(f"{path} does not fit into memory: make it smaller") from None
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise FlowerlibError(f"{path} cannot be read ({error}): the file may be damaged") from error


def fit(picture: np.ndarray, size_px: int) -> np.ndarray:
    """A square picture uint8 at another side, as networks see it that predict at another side than they are kept at."""
    if len(picture) == size_px:
        return picture
    import cv2  # most pictures need no second resize, and a command is to answer at once

    way = cv2.INTER_AREA if len(picture) > size_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size_px, size_px), interpolation=way))


def _upright(path: Path, size_px: int) -> Image.Image:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # it warns; what follows refuses
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "MPO"):
                image.draft(image.mode, (4 * size_px, 4 * size_px))  # a huge one is decoded at an eighth
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many: make it smaller")
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I"):  # grey of 16 bits: Pillow would cut it off at 255
                turned = Image.fromarray((np.asarray(turned).clip(0, 65535) / 257).round().astype(np.uint8))
            if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
                turned = turned.convert("RGBA")
                white = Image.new("RGBA", turned.size, "white")
                turned = Image.alpha_composite(white, turned)
            return turned.convert("RGB")
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _square(image: Image.Image, size_px: int, resize: str) -> np.ndarray:
    """As ``data.decode`` does it, which every trained network rests on; a test holds the two together."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (0, 0, width, height) if resize == "squashed" else (left, top, left + side, top + side)
    method = Image.Resampling.BILINEAR if resize == "antialiased" else Image.Resampling.NEAREST
    return np.asarray(image.resize((size_px, size_px), method, box=box))
