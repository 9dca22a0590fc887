"""What a checkpoint wants done to an image before it reads it: its `preprocessor_config.json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to every image, in this order, by the names of `preprocessor_config.json`.

    image_processor_type: the reference's class, which says what a key means that is not there.
    do_convert_rgb: whether an image of another mode is made RGB, what is transparent becoming white; otherwise it is
      refused.
    do_resize, size, resample: the shorter side if `size` is one number, else height and width; `resample` is Pillow's
      number of a filter.
    crop_pct: ConvNeXT's: the share of the shorter side that a square crop keeps, below 384.
    do_center_crop, crop_size: height and width; what is smaller gets black borders.
    do_rescale, rescale_factor: what the values, 0 to 255, are multiplied by.
    do_normalize, image_mean, image_std: subtracted, then divided by, for each channel.
    """

    image_processor_type: str
    do_convert_rgb: bool
    do_resize: bool
    size: int | tuple[int, int]
    resample: int
    do_center_crop: bool
    crop_size: tuple[int, int] | None
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    crop_pct: float | None = None


_HALF = (0.5, 0.5, 0.5)
_COMMON: dict[str, Any] = {
    "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_center_crop": False,
    "crop_size": None, "do_convert_rgb": False, "image_mean": _HALF, "image_std": _HALF, "crop_pct": None,
}  # fmt: skip
_BILINEAR, _BICUBIC, _FILTERS = 2, 3, range(6)
KINDS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {
        **_COMMON,
        "size": 224,
        "resample": _BICUBIC,
        "do_center_crop": True,
        "crop_size": (224, 224),
        "do_convert_rgb": True,
        "image_mean": (0.48145466, 0.4578275, 0.40821073),
        "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
    "ConvNextImageProcessor": {**_COMMON, "size": 384, "resample": _BICUBIC, "crop_pct": 224 / 256},
    "SiglipImageProcessor": {**_COMMON, "size": (224, 224), "resample": _BICUBIC, "do_convert_rgb": True},
    "ViTImageProcessor": {**_COMMON, "size": (224, 224), "resample": _BILINEAR},
}
"""The reference's classes that are understood, with what they take for a key that is not there, or null."""

# Keys that say how it is computed there or what it is called, and nothing of the result.
_IRRELEVANT = {
    "auto_map", "data_format", "device", "disable_grouping", "feature_extractor_type", "image_processor_type",
    "input_data_format", "processor_class", "return_tensors",
}  # fmt: skip
_NOTHING = {"do_pad": (None, False), "pad_size": (None,), "image_seq_length": (None,), "use_square_size": (None, False)}


def parse(config: Mapping[str, Any], *, kind: str | None = None) -> Preprocessing:
    """Read a `preprocessor_config.json`, or a `processor_config.json` that holds one under `image_processor`.

    >>> parse({"image_processor_type": "CLIPImageProcessor", "size": 30, "crop_size": 28}).crop_size
    (28, 28)

    Args:
      config: the file's content.
      kind: the reference's class for files that name none, as early ones do.
    Raises: ValueError for an unknown class or key, or a value that it cannot have.
    """
    config = config.get("image_processor", config)
    who = _kind(config.get("image_processor_type") or config.get("feature_extractor_type") or kind)
    names = {field.name for field in fields(Preprocessing)} - (
        {"crop_pct"} if KINDS[who]["crop_pct"] is None else set()
    )
    if unknown := sorted(config.keys() - names - _IRRELEVANT - _NOTHING.keys() - {"default_to_square"}):
        raise ValueError(f"{who}: unknown keys {unknown}; known are {sorted(names)}")
    for key, wanted in _NOTHING.items():
        if config.get(key) not in wanted:
            raise ValueError(f"{who}: {key} must be {wanted[-1]!r}, got {config[key]!r}")
    told = {key: value for key, value in config.items() if value is not None}
    square = told.get("default_to_square", isinstance(KINDS[who]["size"], tuple))
    values = KINDS[who] | {key: told[key] for key in names & told.keys()} | {"image_processor_type": who}
    return _checked(
        Preprocessing(
            **values
            | {
                "size": _size(who, values["size"], square),
                "crop_size": None if values["crop_size"] is None else _sides(who, "crop_size", values["crop_size"]),
                "rescale_factor": _number(who, "rescale_factor", values["rescale_factor"]),
                "image_mean": _three(who, "image_mean", values["image_mean"]),
                "image_std": _three(who, "image_std", values["image_std"]),
            }
        )
    )


def _kind(name: str | None) -> str:
    """A class of `KINDS`; earlier and quicker ones of the same name mean the same."""
    known = None if name is None else name.replace("FeatureExtractor", "ImageProcessor")
    for ending in ("Fast", "Pil"):
        known = known and known.removesuffix(ending)
    if known not in KINDS:
        raise ValueError(f"image_processor_type must be one of {sorted(KINDS)}, got {name!r}")
    return known


def _sides(who: str, key: str, told: Any) -> tuple[int, int]:
    """Height and width; one number is a square."""
    sides = (told, told) if isinstance(told, int) else told
    if isinstance(told, Mapping) and told.keys() == {"height", "width"}:
        sides = (told["height"], told["width"])
    if not isinstance(sides, tuple | list) or len(sides) != 2 or not all(_whole(n) and n > 0 for n in sides):
        raise ValueError(f"{who}: {key} must be a height and a width above 0, got {told!r}")
    return tuple(sides)


def _size(who: str, told: Any, square: bool) -> int | tuple[int, int]:
    """The shorter side, or height and width; a lone number is either, as the class has it."""
    if isinstance(told, Mapping) and told.keys() == {"shortest_edge"}:
        told, square = told["shortest_edge"], False
    if _whole(told) and told > 0 and not square:
        return told
    return _sides(who, "size", told)


def _whole(told: Any) -> bool:
    return isinstance(told, int) and not isinstance(told, bool)


def _number(who: str, key: str, told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise ValueError(f"{who}: {key} must be a finite number, got {told!r:.60}")
    return float(told)


def _three(who: str, key: str, told: Any) -> tuple[float, ...]:
    return tuple(_number(who, key, value) for value in (told if isinstance(told, tuple | list) else (told,) * 3))


def _checked(how: Preprocessing) -> Preprocessing:
    who = how.image_processor_type
    for field in fields(how):
        if field.name.startswith("do_") and not isinstance(getattr(how, field.name), bool):
            raise ValueError(f"{who}: {field.name} must be true or false, got {getattr(how, field.name)!r}")
    if not _whole(how.resample) or how.resample not in _FILTERS:
        raise ValueError(f"{who}: resample must be the number of one of Pillow's filters, 0 to 5, got {how.resample!r}")
    if how.crop_pct is not None and not isinstance(how.size, int):
        raise ValueError(f"{who}: size must be the shortest_edge alone, got {how.size}")
    if how.do_center_crop and how.crop_size is None:
        raise ValueError(f"{who}: do_center_crop needs a crop_size, got none")
    for name in ("image_mean", "image_std"):
        if len(getattr(how, name)) != 3 or (name == "image_std" and 0 in how.image_std):
            raise ValueError(
                f"{who}: {name} must be three numbers, of which none divides by 0, got {getattr(how, name)}"
            )
    return how


def describe(how: Preprocessing) -> dict[str, Any]:
    """The `preprocessor_config.json` of it."""
    told = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(how).items()}
    height_width = ("height", "width")
    told["size"] = (
        {"shortest_edge": how.size} if isinstance(how.size, int) else dict(zip(height_width, how.size, strict=True))
    )
    if how.crop_size is not None:
        told["crop_size"] = dict(zip(height_width, how.crop_size, strict=True))
    return {key: value for key, value in told.items() if value is not None}


def sides(how: Preprocessing) -> tuple[int, int] | None:
    """Height and width of every image that comes out; None where they depend on what goes in."""
    if how.do_center_crop:
        return how.crop_size
    if how.do_resize and how.crop_pct is not None and isinstance(how.size, int):
        return (how.size, how.size)
    return how.size if how.do_resize and isinstance(how.size, tuple) else None
