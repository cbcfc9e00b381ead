"""Bytes of an image file as pixels, and the view of them that a network gets.

What is not a whole image of moderate size is refused before memory is taken for its pixels. JPEG is
decoded by simplejpeg, of the extra `data`, which refuses damage that Pillow shows as grey; all else
by Pillow. Which crop is taken, and whether it is mirrored, are functions of words.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from qcuda.errors import InputError, require

JPEG = b"\xff\xd8\xff"
PIXELS = 2**26  # at most, of an image: 192 MiB in three channels
CHANNELS = {1: ("GRAY", "L"), 3: ("RGB", "RGB")}  # names of simplejpeg and of Pillow
OTHERS = ("PNG", "WEBP", "BMP", "JPEG")  # formats that Pillow may try; JPEG, for CMYK
TRIES = 10  # crops that are tried before the centre is taken, as in torchvision
WORDS = 2 * TRIES + 3  # of a view in training
RATIO = 4 / 3  # greatest ratio of a crop's sides


def simplejpeg() -> ModuleType:
    """The package. Raises InputError if it is not there."""
    try:
        import simplejpeg
    except ModuleNotFoundError:
        raise InputError(
            "JPEG images need the package simplejpeg of the extra data, pip install qtheory[data], "
            "got an installation without it"
        ) from None
    return simplejpeg


def decoded(data: bytes, channels: int) -> np.ndarray:
    """Pixels of an image file, (height, width, channels) uint8; its kind is told by its bytes.

    Raises InputError if it is no image, too large, damaged or not of 8 bits a channel.
    """
    if data[:3] != JPEG:
        return _by_pillow(data, channels)
    package = simplejpeg()
    try:
        height, width, colours, _ = package.decode_jpeg_header(data)
    except ValueError as error:
        raise InputError(f"the header of a JPEG image is whole, got: {error}") from None
    _check_size(height, width)
    if colours in ("CMYK", "YCCK"):  # which libjpeg makes no RGB of
        return _by_pillow(data, channels)
    try:
        return package.decode_jpeg(data, colorspace=CHANNELS[channels][0])
    except ValueError as error:
        raise InputError(f"a JPEG image is whole, got: {error}") from None


def _check_size(height: int, width: int) -> None:
    require(
        0 < height * width <= PIXELS,
        f"an image has 1..{PIXELS} pixels, got {width} x {height} in its header",
    )


def _by_pillow(data: bytes, channels: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=OTHERS) as image:
            _check_size(image.height, image.width)
            require(
                image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"),
                f"an image has 8 bits a channel, got the mode {image.mode}",
            )
            pixels = np.array(image.convert(CHANNELS[channels][1]))
    except InputError:
        raise
    except (
        OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"an image is a whole JPEG, PNG, WebP or BMP file, got: {text}") from None
    return pixels.reshape(*pixels.shape[:2], channels)


Box = tuple[int, int, int, int]  # top, left, height, width


def centre(height: int, width: int, share: float) -> Box:
    """The square in the middle, of so much of the shorter side.

    >>> centre(100, 200, 0.875)
    (6, 56, 88, 88)
    """
    side = max(1, round(share * min(height, width)))
    return (height - side) // 2, (width - side) // 2, side, side


def random_box(height: int, width: int, least: float, words: Sequence[int]) -> Box:
    """A crop of `least` to 1 of the area, with sides in a ratio of 3/4 to 4/3, as torchvision's.

    Area and logarithm of the ratio are uniform, two words a try; the first crop that lies inside
    is placed by two words more. If none of ten does, it is the largest square in the middle.
    """
    for one, other in zip(words[:TRIES], words[TRIES : 2 * TRIES], strict=True):
        area = height * width * (least + (1 - least) * (one + 0.5) / 2**32)
        ratio = math.exp(math.log(RATIO) * (2 * (other + 0.5) / 2**32 - 1))
        high, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < high <= height and 0 < wide <= width:
            top, left = words[2 * TRIES : 2 * TRIES + 2]
            return (top * (height - high + 1)) >> 32, (left * (width - wide + 1)) >> 32, high, wide
    return centre(height, width, 1.0)


def view(pixels: np.ndarray, box: Box, size: int, *, mirrored: bool = False) -> np.ndarray:
    """A crop as a square of `size` pixels, bilinear with antialiasing, (size, size, channels)."""
    top, left, high, wide = box
    # Whole rows in memory: torch would copy a view on all its threads, from each of ours.
    crop = np.ascontiguousarray(pixels[top : top + high, left : left + wide])
    if crop.shape[:2] != (size, size):
        whole = torch.from_numpy(crop).permute(2, 0, 1)[None]
        crop = F.interpolate(whole, (size, size), mode="bilinear", antialias=True)[0]
        crop = crop.permute(1, 2, 0).numpy()
    return crop[:, ::-1] if mirrored else crop
