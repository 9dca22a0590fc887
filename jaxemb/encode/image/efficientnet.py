"""EfficientNet-Lite 0 to 4.  Source: Tan & Le 2019, arXiv:1905.11946, with ReLU6 and without squeeze-and-excitation."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode.family import read
from jaxemb.encode.image.convolution import NormedConv, Part, convolutional, normed_conv_keys, part, stage, stage_keys
from jaxemb.encode.image.tower import ImageFamily, Tower
from jaxemb.types import Entry

STEM = 32  # channels of the first convolution, whatever the width
DIVISOR = 8  # channels are rounded to multiples of it
SIDES = "SAME"  # zeros as TensorFlow puts them: one more below and to the right where their number is odd


class Stage(NamedTuple):
    """One row of table 1 of the paper: blocks of one kind.

    name: where its params stand.
    at: the number of its first block among all.
    """

    name: str
    blocks: int
    side: int
    stride: int
    widening: int
    inputs: int
    outputs: int
    at: int


# Blocks, side, stride, widening and channels of EfficientNet-B0's stages.
TABLE = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig:
    """The shape of an EfficientNet-Lite, by the names that Hugging Face's EfficientNet has for them.

    width_coefficient, depth_coefficient: how much wider and deeper than Lite0 it is.
    """

    width_coefficient: float = 1.0
    depth_coefficient: float = 1.0
    num_channels: int = 3
    hidden_dim: int = 1280
    batch_norm_eps: float = 1e-3

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.hidden_dim


FIXED = {"hidden_act": "relu6"}
# It reads images of any size; `preprocessor_config.json` says which.
IRRELEVANT = {"image_size"}


def parse(config: Mapping[str, Any]) -> EfficientNetLiteConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, EfficientNetLiteConfig, names=("efficientnet-lite",), fixed=FIXED, irrelevant=IRRELEVANT)


def describe(config: EfficientNetLiteConfig) -> dict[str, Any]:
    """The `config.json` of a shape.  No library but this one reads it."""
    return {"model_type": "efficientnet-lite", **FIXED, **asdict(config)}


def channels(wanted: int, width: float) -> int:
    """A stage's channels at another width: the nearest multiple of 8 that takes away no more than a tenth.

    >>> channels(16, 1.0), channels(24, 1.1), channels(40, 1.2)
    (16, 24, 48)
    """
    exact = wanted * width
    nearest = max(DIVISOR, int(exact + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * exact else nearest


def stages(c: EfficientNetLiteConfig) -> list[Stage]:
    """The stages between stem and head; the first and the last keep their depth, whatever the coefficient."""
    found: list[Stage] = []
    inputs, at = STEM, 0
    for i, (depth, side, stride, widening, wanted) in enumerate(TABLE):
        inner = 0 < i < len(TABLE) - 1
        blocks = math.ceil(c.depth_coefficient * depth) if inner else depth
        outputs = channels(wanted, c.width_coefficient)
        found.append(Stage(f"stage{i}", blocks, side, stride, widening, inputs, outputs, at))
        inputs, at = outputs, at + blocks
    return found


class Block(nnx.Module):
    """An inverted bottleneck: wide, one kernel a channel, narrow again; added to its input where the shape stays."""

    def __init__(self, s: Stage, *, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        shared: dict[str, Any] = {"epsilon": epsilon, "padding": SIDES, "dtype": dtype, "rngs": rngs}
        wide = s.inputs * s.widening
        self.widen = None if s.widening == 1 else NormedConv(s.inputs, wide, side=1, act=jax.nn.relu6, **shared)
        self.depthwise = NormedConv(wide, wide, side=s.side, stride=s.stride, groups=wide, act=jax.nn.relu6, **shared)
        self.narrow = NormedConv(wide, s.outputs, side=1, **shared)
        self.adds = s.stride == 1 and s.inputs == s.outputs

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b g v o"]:
        start = x
        x = x if self.widen is None else self.widen(x)
        x = self.narrow(self.depthwise(x))
        return x + start if self.adds else x


def efficientnet_lite(config: EfficientNetLiteConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """An EfficientNet-Lite for inference; params are float32 and products run in `dtype` (float32 or bfloat16).

    An image's vector is the mean over the last map.  The statistics of its norms are constants.
    """
    dtype, epsilon = jnp.dtype(dtype), config.batch_norm_eps
    found = stages(config)

    def ends(inputs: int, outputs: int, side: int, stride: int, rngs: nnx.Rngs) -> NormedConv:
        return NormedConv(
            inputs,
            outputs,
            side=side,
            stride=stride,
            epsilon=epsilon,
            padding=SIDES,
            act=jax.nn.relu6,
            dtype=dtype,
            rngs=rngs,
        )

    def blocks(s: Stage) -> Part:
        other = s._replace(inputs=s.outputs, stride=1)
        return stage(
            lambda rngs: Block(s, epsilon=epsilon, dtype=dtype, rngs=rngs),
            lambda rngs: Block(other, epsilon=epsilon, dtype=dtype, rngs=rngs),
            s.blocks,
        )

    stem = part(lambda rngs: ends(config.num_channels, STEM, 3, 2, rngs))
    head = part(lambda rngs: ends(found[-1].outputs, config.hidden_dim, 1, 1, rngs))
    return convolutional({"stem": stem, **{s.name: blocks(s) for s in found}, "head": head}, config.num_channels)


def _block_keys(widening: int) -> list[Entry]:
    widen = [] if widening == 1 else normed_conv_keys("widen", "_expand_conv", "_bn0")
    return [
        *widen,
        *normed_conv_keys("depthwise", "_depthwise_conv", "_bn1"),
        *normed_conv_keys("narrow", "_project_conv", "_bn2"),
    ]


def keys(config: EfficientNetLiteConfig) -> list[Entry]:
    """Every weight of ours and the name that the package `efficientnet-lite-pytorch` has for it."""
    entries = normed_conv_keys("stem", "_conv_stem", "_bn0")
    for s in stages(config):
        one = _block_keys(s.widening)
        entries += stage_keys(s.name, "_blocks.{layer}.", one, one, s.blocks, at=s.at)
    return [*entries, *normed_conv_keys("head", "_conv_head", "_bn1")]


EFFICIENTNET_LITE = ImageFamily(
    names=("efficientnet-lite",),
    config=EfficientNetLiteConfig,
    parse=parse,
    describe=describe,
    build=efficientnet_lite,
    keys=keys,
    unused=("*.num_batches_tracked", "_fc.*"),
)
