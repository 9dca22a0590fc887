"""Convolutions and the norms of their running statistics: what ResNet and EfficientNet are made of."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from jaxemb.encode.functional import functional
from jaxemb.encode.image.tower import Pixels, Tower, below
from jaxemb.encode.stack import stack
from jaxemb.similarity import wide
from jaxemb.types import Entry, Params

Padding = str | tuple[tuple[int, int], tuple[int, int]]
"""`"SAME"`, or how many zeros stand before and after, by height and by width."""

STATISTICS = ("mean", "variance")
"""Leaves of a `BatchNorm` that no gradient reaches: facts about the data it was trained on.

Leave them out of weight decay, too.
"""


class Conv(nnx.Module):
    """A convolution without bias, whose kernel is `[height, width, in / groups, out]`; the products run in `dtype`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        side: int,
        stride: int = 1,
        padding: Padding | None = None,
        groups: int = 1,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        shape = (side, side, inputs // groups, outputs)
        # He et al. 2015, arXiv:1502.01852, eq. 14: the variance of a layer's input gradient stays.
        scale = (2 * groups / (side * side * outputs)) ** 0.5
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        half = (side // 2, side // 2)
        self.padding: Padding = (half, half) if padding is None else padding
        self.stride, self.groups, self.dtype = stride, groups, dtype

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b g v o"]:
        return lax.conv_general_dilated(
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            (self.stride, self.stride),
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
            preferred_element_type=wide(self.dtype),
        )


class BatchNorm(nnx.Module):
    """Scale and shift by the mean and variance that training kept: the form for inference, in float32.

    They stand among the params and are saved with them, but are constants: no gradient, no update from a batch.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2.
    """

    def __init__(self, size: int, *, epsilon: float) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(size)), nnx.Param(jnp.zeros(size))
        self.mean, self.variance = nnx.Param(jnp.zeros(size)), nnx.Param(jnp.ones(size))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        mean, variance = lax.stop_gradient(self.mean[...]), lax.stop_gradient(self.variance[...])
        factor = self.scale[...] * lax.rsqrt(variance + self.epsilon)
        return (x - mean[None, None, None]) * factor[None, None, None] + self.bias[...][None, None, None]


class NormedConv(nnx.Module):
    """A convolution, its norm, and perhaps an activation."""

    def __init__(
        self, inputs: int, outputs: int, *, epsilon: float, act: Callable[[Array], Array] | None = None, **kwargs: Any
    ) -> None:
        self.conv = Conv(inputs, outputs, **kwargs)
        self.norm = BatchNorm(outputs, epsilon=epsilon)
        self.act = act

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b g v o"]:
        x = self.norm(self.conv(x))
        return x if self.act is None else self.act(x)


def batch_norm_keys(ours: str, theirs: str) -> list[Entry]:
    """The entries of a `BatchNorm`, by the names that torch has for them."""
    names = {"scale": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    return [Entry(f"{ours}.{one}", (f"{theirs}.{other}",)) for one, other in names.items()]


def normed_conv_keys(ours: str, conv: str, norm: str) -> list[Entry]:
    """The entries of a `NormedConv` whose kernel is stored (out, in, height, width)."""
    kernel = Entry(f"{ours}.conv.kernel", (f"{conv}.weight",), transpose=(2, 3, 1, 0))
    return [kernel, *batch_norm_keys(f"{ours}.norm", norm)]


class Part(NamedTuple):
    """A step of a convolutional tower.

    init: key -> params.
    apply: (params, map `[b, h, w, i]`) -> map `[b, g, v, o]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Array], Array]


def part(make: Callable[[nnx.Rngs], nnx.Module]) -> Part:
    """A step of one module."""
    module = functional(make)
    return Part(module.init, lambda params, x: module.apply(params, "__call__", x))


def stage(first: Callable[[nnx.Rngs], nnx.Module], other: Callable[[nnx.Rngs], nnx.Module], blocks: int) -> Part:
    """Blocks of one resolution: a `first` that changes the shape, and a stack of others that keep it.

    Params are `{"first": ..., "rest": <stacked>}`; one block alone has no rest.
    """
    start = part(first)
    if blocks == 1:
        return Part(lambda key: {"first": start.init(key)}, lambda params, x: start.apply(params["first"], x))
    rest = stack(other, blocks - 1)

    def init(key: Array) -> Params:
        one, another = jax.random.split(key)
        return {"first": start.init(one), "rest": rest.init(another)}

    return Part(init, lambda params, x: rest.last(params["rest"], start.apply(params["first"], x)))


def stage_keys(
    ours: str, theirs: str, first: list[Entry], other: list[Entry], blocks: int, *, at: int = 0
) -> list[Entry]:
    """The entries of a `stage` whose blocks are called `theirs`, with `{layer}` in it, from number `at` on."""
    head = below(f"{ours}.first", theirs.format(layer=at), first)
    rest = [entry._replace(first=at + 1) for entry in below(f"{ours}.rest", theirs, other)]
    return [*head, *(rest if blocks > 1 else [])]


def convolutional(parts: Mapping[str, Part], channels: int) -> Tower:
    """A tower of parts, one after another; an image's vector is the mean over the last map.

    Its states are the maps that leave every part, as a tuple.  Images may have any size.
    Raises: ValueError for images with another number of channels.
    """

    def init(key: Array) -> Params:
        own = jax.random.split(key, len(parts))
        return {name: step.init(own[i]) for i, (name, step) in enumerate(parts.items())}

    def hidden(params: Params, pixels: Pixels) -> tuple[Float[Array, "b _ _ _"], ...]:
        if pixels.shape[-1] != channels:
            raise ValueError(
                f"wanted images [height, width, channels] with {channels} channels, got {pixels.shape[1:]}"
            )
        maps = [pixels]
        for name, step in parts.items():
            maps.append(step.apply(params[name], maps[-1]))
        return tuple(maps[1:])

    def apply(params: Params, pixels: Pixels) -> Float[Array, "b d"]:
        return hidden(params, pixels)[-1].mean(axis=(1, 2))

    return Tower(init, apply, hidden)
