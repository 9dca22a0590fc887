"""Images to pixels, as a checkpoint's own settings say; Pillow reads and resizes them, as the reference does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from jaxemb import extras
from jaxemb.data.preprocessing import Preprocessing, sides

WARPED = 384
"""From this size on ConvNeXT's class makes an image square instead of cutting a square from it."""

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of more than 8 bits a channel, which no conversion to RGB scales down."""


def pixels(how: Preprocessing, images: Sequence[Any], *, first: int = 0) -> Float[np.ndarray, "b h w c"]:
    """A batch as an encoder reads it.

    Args:
      images: each a path, a Pillow image, or a uint8 array `[h, w]` or `[h, w, c]` with 1, 3 or 4 channels (grey, RGB,
        RGB with alpha).  A file is turned as its camera says (EXIF), and of several frames the first is taken.
      first: what the first one is counted as in messages.
    Raises: FileNotFoundError; TypeError for what is no image; ValueError for a file that holds none, a mode that the
      checkpoint does not convert, or images that come out in different sizes.
    """
    if isinstance(images, str | Path) or not isinstance(images, Sequence):
        raise TypeError(f"wanted a list of images, got {type(images).__name__}")
    made = [_one(how, image, f"image {i}") for i, image in enumerate(images, start=first)]
    sizes = {one.shape for one in made}
    if len(sizes) > 1:
        raise ValueError(
            f"wanted images of one size, got {sorted(sizes)}: the checkpoint neither resizes nor crops them"
        )
    return np.stack(made) if made else np.zeros((0, *(sides(how) or (0, 0)), 3), np.float32)


def _one(how: Preprocessing, image: Any, name: str) -> Float[np.ndarray, "h w c"]:
    """One image; `name` stands in messages."""
    opened, name = _opened(image, name)
    if 0 in opened.size:
        raise ValueError(f"{name}: wanted an image of 1 pixel or more a side, got {opened.width} x {opened.height}")
    values: np.ndarray = np.asarray(_rgb(opened, name, convert=how.do_convert_rgb))
    if how.do_resize:
        values = _resized(how, values)
    if how.do_center_crop and how.crop_size is not None:
        values = cropped(values, *how.crop_size)
    if how.do_rescale:
        values = (values.astype(np.float64) * how.rescale_factor).astype(np.float32)
    values = values.astype(np.float32)
    if how.do_normalize:
        mean, deviation = (np.asarray(three, np.float32)[None, None] for three in (how.image_mean, how.image_std))
        values = (values - mean) / deviation
    return values


def _opened(image: Any, name: str) -> tuple[Any, str]:
    """A Pillow image, loaded, and what to call it."""
    pillow = extras.load("PIL.Image")
    if isinstance(image, pillow.Image):
        return image, name
    if isinstance(image, str | Path):
        return _read(Path(image)), str(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name}: wanted a path, a Pillow image or an array, got {type(image).__name__}")
    array = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in array.shape:
        raise ValueError(
            f"{name}: wanted uint8 [h, w] or [h, w, c] with 1, 3 or 4 channels, got {image.dtype} {list(image.shape)}"
        )
    return pillow.fromarray(array), name


def _read(file: Path) -> Any:
    pillow, operations = extras.load("PIL.Image"), extras.load("PIL.ImageOps")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such image file")
    try:
        with pillow.open(file) as opened:
            return operations.exif_transpose(opened)
    except (OSError, SyntaxError) as error:  # Pillow's own kinds: no image at all, or one that is cut off or broken
        raise ValueError(f"{file}: not a whole image of a kind that Pillow reads ({error})") from error


def _rgb(image: Any, name: str, *, convert: bool) -> Any:
    """The image in mode RGB, on white where it is transparent."""
    pillow = extras.load("PIL.Image")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if not convert:
        alpha = " with a transparent colour" if image.mode == "RGB" else ""
        raise ValueError(f"{name}: wanted mode RGB, which this checkpoint does not convert to, got {image.mode}{alpha}")
    if image.mode in WIDE_MODES:
        raise ValueError(f"{name}: wanted 8 bits a channel, got mode {image.mode}; scale it first")
    if "A" in image.getbands() or "transparency" in image.info:
        whole = image.convert("RGBA")
        return pillow.alpha_composite(pillow.new("RGBA", whole.size, "white"), whole).convert("RGB")
    return image.convert("RGB")


def _resized(how: Preprocessing, values: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "g v c"]:
    if isinstance(how.size, tuple):
        return _scaled(values, *how.size, how.resample)
    if how.crop_pct is None:
        return _scaled(values, *shorter_to(how.size, *values.shape[:2]), how.resample)
    if how.size >= WARPED:
        return _scaled(values, how.size, how.size, how.resample)
    larger = shorter_to(int(how.size / how.crop_pct), *values.shape[:2])
    return cropped(_scaled(values, *larger, how.resample), how.size, how.size)


def _scaled(values: UInt8[np.ndarray, "h w c"], height: int, width: int, resample: int) -> UInt8[np.ndarray, "g v c"]:
    image = extras.load("PIL.Image").fromarray(values)
    return np.asarray(image.resize((width, height), resample=resample))


def shorter_to(size: int, height: int, width: int) -> tuple[int, int]:
    """Height and width with the shorter side at `size`; the longer is rounded down.

    >>> shorter_to(10, 30, 47)
    (10, 15)
    """
    if width <= height:
        return int(size * height / width), size
    return size, int(size * width / height)


def cropped(values: UInt8[np.ndarray, "h w c"], height: int, width: int) -> UInt8[np.ndarray, "g v c"]:
    """The middle of an image, with black where it is smaller; of two middles, the upper left one.

    >>> cropped(np.arange(1, 4, dtype=np.uint8).reshape(1, 3, 1), 1, 2).ravel().tolist()
    [1, 2]
    """
    made = np.zeros((height, width, values.shape[2]), values.dtype)
    rows, columns = (_overlap(had, wanted) for had, wanted in zip(values.shape, (height, width), strict=False))
    made[rows[1], columns[1]] = values[rows[0], columns[0]]
    return made


def _overlap(had: int, wanted: int) -> tuple[slice, slice]:
    """Along one side: what is read of the old, and where it stands in the new."""
    start = (had - wanted) // 2  # rounded down, so that a border is one wider before than after
    return slice(max(0, start), min(had, start + wanted)), slice(max(0, -start), min(wanted, had - start))
