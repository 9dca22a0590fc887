"""ResNet, of basic or bottleneck blocks.  Source: He et al. 2015, arXiv:1512.03385."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode.family import read
from jaxemb.encode.image.convolution import (
    NormedConv,
    Part,
    convolutional,
    normed_conv_keys,
    part,
    stage,
    stage_keys,
)
from jaxemb.encode.image.tower import ImageFamily, Tower
from jaxemb.encode.layers import ACTIVATIONS
from jaxemb.types import Entry

EPSILON = 1e-5  # no config.json says it: the reference takes torch's default
NARROWER = 4  # a bottleneck has a quarter of its block's channels


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """The shape of a ResNet, by the names of Hugging Face's `config.json`.

    hidden_act: after the stem and after each block; between the convolutions of a block it is always a ReLU, as in the
      reference.
    """

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    layer_type: str = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False

    def __post_init__(self) -> None:
        if len(self.hidden_sizes) != len(self.depths) or not self.depths or min(self.depths) < 1:
            raise ValueError(f"wanted a depth of 1 or more for each of {self.hidden_sizes}, got {self.depths}")
        if self.layer_type not in ("basic", "bottleneck"):
            raise ValueError(f"layer_type must be 'basic' or 'bottleneck', got {self.layer_type!r}")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is unknown; there is {', '.join(ACTIVATIONS)}")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.hidden_sizes[-1]


# Which stages a detector reads.
IRRELEVANT = {"out_features", "out_indices", "stage_names"}


def parse(config: Mapping[str, Any]) -> ResNetConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, ResNetConfig, names=("resnet",), fixed={}, irrelevant=IRRELEVANT)


def describe(config: ResNetConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {"model_type": "resnet", "architectures": ["ResNetModel"], **told}


class Stem(nnx.Module):
    """One large convolution and a pooling, each of which halves the sides."""

    def __init__(self, c: ResNetConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.conv = NormedConv(
            c.num_channels,
            c.embedding_size,
            side=7,
            stride=2,
            epsilon=EPSILON,
            act=ACTIVATIONS[c.hidden_act],
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, pixels: Float[Array, "b h w c"]) -> Float[Array, "b g v o"]:
        x = self.conv(pixels)
        around = ((0, 0), (1, 1), (1, 1), (0, 0))
        lowest = np.array(-np.inf, x.dtype)  # not of jnp: a constant is what makes this a maximum with a gradient
        return lax.reduce_window(x, lowest, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), around)


def convolutions(c: ResNetConfig, inputs: int, outputs: int, stride: int) -> list[dict[str, int]]:
    """The convolutions of a block in turn: channels in and out, side and stride."""
    if c.layer_type == "basic":
        return [
            {"inputs": inputs, "outputs": outputs, "side": 3, "stride": stride},
            {"inputs": outputs, "outputs": outputs, "side": 3, "stride": 1},
        ]
    narrow = outputs // NARROWER
    early, late = (stride, 1) if c.downsample_in_bottleneck else (1, stride)
    return [
        {"inputs": inputs, "outputs": narrow, "side": 1, "stride": early},
        {"inputs": narrow, "outputs": narrow, "side": 3, "stride": late},
        {"inputs": narrow, "outputs": outputs, "side": 1, "stride": 1},
    ]


class Block(nnx.Module):
    """Two or three convolutions, added to their input: through one of its own where the shape changes."""

    def __init__(
        self, c: ResNetConfig, inputs: int, outputs: int, stride: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        shapes = convolutions(c, inputs, outputs, stride)
        self.count, self.act = len(shapes), ACTIVATIONS[c.hidden_act]
        for i, shape in enumerate(shapes):
            act = jax.nn.relu if i + 1 < self.count else None
            setattr(self, f"conv{i}", NormedConv(**shape, epsilon=EPSILON, act=act, dtype=dtype, rngs=rngs))
        straight = NormedConv(inputs, outputs, side=1, stride=stride, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.shortcut = straight if changes(inputs, outputs, stride) else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b g v o"]:
        start = x if self.shortcut is None else self.shortcut(x)
        for i in range(self.count):
            x = getattr(self, f"conv{i}")(x)
        return self.act(x + start)


def changes(inputs: int, outputs: int, stride: int) -> bool:
    """Whether a block's input cannot be added to its output as it is."""
    return inputs != outputs or stride != 1


def stages(c: ResNetConfig) -> list[tuple[str, int, int, int, int]]:
    """Every stage's name, channels in and out, first stride and number of blocks."""
    inputs = (c.embedding_size, *c.hidden_sizes)
    strides = (2 if c.downsample_in_first_stage else 1, *(2 for _ in c.depths[1:]))
    return [(f"stage{i}", inputs[i], inputs[i + 1], strides[i], depth) for i, depth in enumerate(c.depths)]


def resnet(config: ResNetConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """A ResNet for inference, whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    An image's vector is the mean over the last map.  The statistics of its norms are constants.
    """
    dtype = jnp.dtype(dtype)

    def blocks(inputs: int, outputs: int, stride: int, count: int) -> Part:
        return stage(
            lambda rngs: Block(config, inputs, outputs, stride, dtype=dtype, rngs=rngs),
            lambda rngs: Block(config, outputs, outputs, 1, dtype=dtype, rngs=rngs),
            count,
        )

    parts = {"stem": part(lambda rngs: Stem(config, dtype=dtype, rngs=rngs))}
    parts |= {name: blocks(*shape) for name, *shape in stages(config)}
    return convolutional(parts, config.num_channels)


def _block_keys(c: ResNetConfig, inputs: int, outputs: int, stride: int) -> list[Entry]:
    def one(ours: str, theirs: str) -> list[Entry]:
        return normed_conv_keys(ours, f"{theirs}.convolution", f"{theirs}.normalization")

    count = len(convolutions(c, inputs, outputs, stride))
    entries = [entry for i in range(count) for entry in one(f"conv{i}", f"layer.{i}")]
    return [*entries, *(one("shortcut", "shortcut") if changes(inputs, outputs, stride) else [])]


def keys(config: ResNetConfig) -> list[Entry]:
    """Every weight of ours and the Hugging Face names it comes from."""
    stem = "embedder.embedder"
    entries = normed_conv_keys("stem.conv", f"{stem}.convolution", f"{stem}.normalization")
    for i, (name, inputs, outputs, stride, blocks) in enumerate(stages(config)):
        first = _block_keys(config, inputs, outputs, stride)
        other = _block_keys(config, outputs, outputs, 1)
        entries += stage_keys(name, f"encoder.stages.{i}.layers.{{layer}}.", first, other, blocks)
    return entries


RESNET = ImageFamily(
    names=("resnet",),
    config=ResNetConfig,
    parse=parse,
    describe=describe,
    build=resnet,
    keys=keys,
    prefix="resnet.",
    unused=("*.num_batches_tracked", "classifier.*"),
    processor="ConvNextImageProcessor",
)
