"""Images as rows of patches, read by a transformer: what ViT and the towers of CLIP and SigLIP share."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxemb.encode.family import dense, norm
from jaxemb.encode.functional import Functional
from jaxemb.encode.image.tower import Pixels, Tower
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, attention, matmul, merged
from jaxemb.encode.stack import Stack
from jaxemb.types import Entry, Params

SCALE = 0.02
"""The deviation of fresh weights, where a family's `config.json` does not say it."""


@runtime_checkable
class Width(Protocol):
    """What the shape of any transformer here says of its blocks."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def num_attention_heads(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def hidden_act(self) -> str: ...
    @property
    def layer_norm_eps(self) -> float: ...


@runtime_checkable
class Squares(Width, Protocol):
    """And of the images that it reads."""

    @property
    def image_size(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def num_channels(self) -> int: ...


def check_width(config: Width) -> None:
    """Raises: ValueError for heads that do not divide the states, or an activation there is not."""
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(f"hidden_size {config.hidden_size} is no multiple of {config.num_attention_heads} heads")
    if config.hidden_act not in ACTIVATIONS:
        raise ValueError(f"hidden_act {config.hidden_act!r} is unknown; there is {', '.join(ACTIVATIONS)}")


def check_squares(config: Squares) -> None:
    """Raises: ValueError for images that are not square, or smaller than a patch."""
    check_width(config)
    for name in ("image_size", "patch_size"):
        if not isinstance(getattr(config, name), int):
            raise ValueError(f"{name} must be one number, the side of a square, got {getattr(config, name)!r}")
    if not 0 < config.patch_size <= config.image_size:
        raise ValueError(f"patch_size must be from 1 to image_size {config.image_size}, got {config.patch_size}")


def patches(config: Squares) -> int:
    """How many patches an image has; what is left over at its right and lower edge is not read."""
    return (config.image_size // config.patch_size) ** 2


class Embeddings(nnx.Module):
    """Every patch to one row by one product, perhaps a learnt row before them, and a place added to each.

    Args:
      first: the shape that the checkpoint gives the row in front, as `(1, 1, d)`; None where there is none.
      places: the shape that it gives the table of places, as `(1, n, d)`.
    """

    def __init__(
        self,
        c: Squares,
        *,
        first: tuple[int, ...] | None,
        places: tuple[int, ...],
        bias: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        scale: float = SCALE,
    ) -> None:
        def fresh(shape: tuple[int, ...]) -> nnx.Param:
            return nnx.Param(scale * jax.random.normal(rngs.params(), shape))

        self.kernel = fresh((c.patch_size, c.patch_size, c.num_channels, c.hidden_size))
        self.bias = nnx.Param(jnp.zeros(c.hidden_size)) if bias else None
        self.first = None if first is None else fresh(first)
        self.places = fresh(places)
        self.side, self.patch, self.channels = c.image_size, c.patch_size, c.num_channels
        self.dtype = dtype

    def __call__(self, pixels: Pixels) -> Float[Array, "b n d"]:
        b, *shape = pixels.shape
        wanted = [self.side, self.side, self.channels]
        if shape != wanted:
            raise ValueError(f"wanted images [height, width, channels] of {wanted}, got {shape}; see data.images")
        n, p = self.side // self.patch, self.patch
        cut = pixels[:, : n * p, : n * p].reshape(b, n, p, n, p, self.channels)
        squares = cut.transpose(0, 1, 3, 2, 4, 5).reshape(b * n * n, -1)
        kernel = self.kernel[...].reshape(squares.shape[1], -1)
        rows = matmul(squares.astype(self.dtype), kernel.astype(self.dtype))
        rows = rows if self.bias is None else rows + self.bias[...][None, :]
        rows = rows.reshape(b, n * n, -1)
        if self.first is not None:
            first = jnp.broadcast_to(self.first[...].reshape(1, 1, -1), (b, 1, rows.shape[-1]))
            rows = jnp.concatenate([first.astype(rows.dtype), rows], axis=1)
        return rows + self.places[...].reshape(1, -1, rows.shape[-1])


class Block(nnx.Module):
    """Attention, then a feed-forward layer, each over the normed states and added to them."""

    def __init__(
        self, c: Width, *, dtype: jnp.dtype, rngs: nnx.Rngs, qkv_bias: bool = True, scale: float = SCALE
    ) -> None:
        def product(inputs: int, outputs: int, bias: bool = True) -> Dense:
            return Dense(inputs, outputs, scale=scale, dtype=dtype, rngs=rngs, bias=bias)

        self.heads, self.dtype, self.act = c.num_attention_heads, dtype, ACTIVATIONS[c.hidden_act]
        self.attention_norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)
        self.qkv = product(c.hidden_size, 3 * c.hidden_size, qkv_bias)  # one product for all three
        self.out = product(c.hidden_size, c.hidden_size)
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)
        self.up = product(c.hidden_size, c.intermediate_size)
        self.down = product(c.intermediate_size, c.hidden_size)

    def __call__(
        self, x: Float[Array, "n d"], mask: Int[Array, "b t"], allowed: Bool[Array, "t t"] | None = None
    ) -> Float[Array, "n d"]:
        b, t = mask.shape
        split = self.qkv(self.attention_norm(x)).astype(self.dtype)
        q, k, v = split.reshape(b, t, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        x = x + self.out(merged(attention(q, k, v, mask, allowed=allowed)))
        return x + self.down(self.act(self.up(self.norm(x))))


def block_keys(
    layer: str,
    *,
    qkv: tuple[str, str, str],
    out: str,
    up: str,
    down: str,
    norms: tuple[str, str],
    qkv_bias: bool = True,
) -> list[Entry]:
    """The entries of a stack of `Block`s; `layer` is what their foreign names begin with, `{layer}` in it."""
    return [
        *norm("blocks.attention_norm", f"{layer}.{norms[0]}"),
        *dense("blocks.qkv", *(f"{layer}.{name}" for name in qkv), bias=qkv_bias),
        *dense("blocks.out", f"{layer}.{out}"),
        *norm("blocks.norm", f"{layer}.{norms[1]}"),
        *dense("blocks.up", f"{layer}.{up}"),
        *dense("blocks.down", f"{layer}.{down}"),
    ]


CLIP_BLOCKS = block_keys(
    "encoder.layers.{layer}",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.out_proj",
    up="mlp.fc1",
    down="mlp.fc2",
    norms=("layer_norm1", "layer_norm2"),
)
"""The blocks of all four towers of CLIP and SigLIP."""


def patched(
    embeddings: Functional,
    blocks: Stack,
    *,
    finished: Callable[[Params, Float[Array, "b n d"]], Float[Array, "b n d"]],
    vector: Callable[[Params, Float[Array, "b n d"]], Float[Array, "b e"]],
    others: Mapping[str, Callable[[Array], Params]],
) -> Tower:
    """A tower from patch embeddings and a stack of blocks.

    Args:
      finished: (params, states) -> the last states, as after a final norm.
      vector: (params, those) -> one vector an image.
      others: the inits of further params, by the names they stand under.
    """
    inits: dict[str, Callable[[Array], Params]] = {"embeddings": embeddings.init, "blocks": blocks.init, **others}

    def init(key: Array) -> Params:
        own = jax.random.split(key, len(inits))
        return {name: part(own[i]) for i, (name, part) in enumerate(inits.items())}

    def start(params: Params, pixels: Pixels) -> tuple[Float[Array, "r d"], Int[Array, "b n"]]:
        rows = embeddings.apply(params["embeddings"], "__call__", pixels)
        return rows.reshape(-1, rows.shape[-1]), jnp.ones(rows.shape[:2], jnp.int32)

    def apply(params: Params, pixels: Pixels) -> Float[Array, "b e"]:
        rows, every = start(params, pixels)
        states = blocks.last(params["blocks"], rows, every).reshape(*every.shape, -1)
        return vector(params, finished(params, states))

    def hidden(params: Params, pixels: Pixels) -> Float[Array, "l b n d"]:
        rows, every = start(params, pixels)
        states = blocks.every(params["blocks"], rows, every).reshape(-1, *every.shape, rows.shape[-1])
        return jnp.concatenate([states[:-1], finished(params, states[-1])[None]])

    return Tower(init, apply, hidden)


def over_rows(norm: Functional) -> Callable[[Params, Any], Any]:
    """A norm of `[n, d]` over the last axis of `[b, n, d]`."""

    def apply(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        flat = norm.apply(params, "__call__", states.reshape(-1, states.shape[-1]))
        return flat.reshape(states.shape)

    return apply
