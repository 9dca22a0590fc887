"""Image encoders: pixels to vectors, in the same shape as text encoders, and the text encoders of their pairs."""

from jaxemb.encode.image.clip import ClipConfig, ClipTextConfig, ClipVisionConfig, clip, clip_text, clip_vision
from jaxemb.encode.image.convolution import STATISTICS
from jaxemb.encode.image.efficientnet import EfficientNetLiteConfig, efficientnet_lite
from jaxemb.encode.image.families import IMAGE_FAMILIES, TEXT_TOWERS, TOWERS, tower_of
from jaxemb.encode.image.families import by_name as image_family_named
from jaxemb.encode.image.families import of as image_family_of
from jaxemb.encode.image.resnet import ResNetConfig, resnet
from jaxemb.encode.image.siglip import (
    SiglipConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
    siglip,
    siglip_text,
    siglip_vision,
)
from jaxemb.encode.image.tower import ImageFamily, Pair, Pixels, Tower
from jaxemb.encode.image.vit import ViTConfig, vit

__all__ = [
    "IMAGE_FAMILIES",
    "STATISTICS",
    "TEXT_TOWERS",
    "TOWERS",
    "ClipConfig",
    "ClipTextConfig",
    "ClipVisionConfig",
    "EfficientNetLiteConfig",
    "ImageFamily",
    "Pair",
    "Pixels",
    "ResNetConfig",
    "SiglipConfig",
    "SiglipTextConfig",
    "SiglipVisionConfig",
    "Tower",
    "ViTConfig",
    "clip",
    "clip_text",
    "clip_vision",
    "efficientnet_lite",
    "image_family_named",
    "image_family_of",
    "resnet",
    "siglip",
    "siglip_text",
    "siglip_vision",
    "tower_of",
    "vit",
]
