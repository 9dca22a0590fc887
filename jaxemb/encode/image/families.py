"""Every architecture of images that a model folder can hold, by the name that its `config.json` gives it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import DTypeLike

from jaxemb.encode.image.clip import CLIP, ClipTextConfig, ClipVisionConfig, clip_text, clip_vision
from jaxemb.encode.image.efficientnet import EFFICIENTNET_LITE, EfficientNetLiteConfig, efficientnet_lite
from jaxemb.encode.image.resnet import RESNET, ResNetConfig, resnet
from jaxemb.encode.image.siglip import SIGLIP, SiglipTextConfig, SiglipVisionConfig, siglip_text, siglip_vision
from jaxemb.encode.image.tower import ImageFamily, Tower
from jaxemb.encode.image.vit import VIT, ViTConfig, vit

IMAGE_FAMILIES: tuple[ImageFamily, ...] = (CLIP, EFFICIENTNET_LITE, RESNET, SIGLIP, VIT)


def by_name(model_type: str) -> ImageFamily:
    """The family that answers to a `model_type`.  Raises: ValueError that lists those there are."""
    for family in IMAGE_FAMILIES:
        if model_type in family.names:
            return family
    known = sorted(name for family in IMAGE_FAMILIES for name in family.names)
    raise ValueError(f"model_type {model_type!r} reads no images; there is {', '.join(known)}")


def of(config: Any) -> ImageFamily:
    """The family whose shape `config` is.  Raises: TypeError for any other object."""
    for family in IMAGE_FAMILIES:
        if type(config) is family.config:
            return family
    known = [family.config.__name__ for family in IMAGE_FAMILIES]
    raise TypeError(f"{type(config).__name__} is the shape of no image family; there is {', '.join(known)}")


TEXT_TOWERS = (ClipTextConfig, SiglipTextConfig)
"""The shapes of towers that read `Tokens`; the others read `Pixels`."""

TOWERS: dict[type, Callable[..., Tower]] = {
    ClipTextConfig: clip_text,
    ClipVisionConfig: clip_vision,
    EfficientNetLiteConfig: efficientnet_lite,
    ResNetConfig: resnet,
    SiglipTextConfig: siglip_text,
    SiglipVisionConfig: siglip_vision,
    ViTConfig: vit,
}
"""Every tower by its shape, those of a pair one by one."""


def tower_of(config: Any, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """The tower whose shape `config` is.  Raises: TypeError for any other object."""
    if type(config) not in TOWERS:
        raise TypeError(f"{type(config).__name__} is the shape of no tower; there is {[c.__name__ for c in TOWERS]}")
    return TOWERS[type(config)](config, dtype=dtype)
