"""What decoders share, and others with rotary positions: grouped-query attention and gated feed-forward layers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxemb.encode.family import dense, norm
from jaxemb.encode.layers import ACTIVATIONS, Dense, RMSNorm, Table, attention, heads, merged, rotated
from jaxemb.encode.pool import last
from jaxemb.types import Backbone, Entry, Params, Tokens

FULL, SLIDING = "full_attention", "sliding_attention"
"""The kinds of layers that `layer_types` has."""

LAYER = "layers.{layer}"
"""What stands before the foreign names of a layer's weights."""

UNUSED = ("lm_head.weight",)
"""Foreign weights that no token state depends on: what guesses the next token."""

UNBOUNDED = np.iinfo(np.int32).max
"""A reach that no text is longer than."""


def check_direction(key: str, told: Any) -> None:
    """Raises: ValueError unless a key that says who sees whom is true or false: nothing else is taken for either."""
    if not isinstance(told, bool):
        raise ValueError(f"{key} must be true or false, got {told!r}")


def check_layers(layer_types: tuple[str, ...], layers: int) -> None:
    """Raises: ValueError unless there is one known kind a layer."""
    if len(layer_types) != layers or not {FULL, SLIDING}.issuperset(layer_types):
        raise ValueError(f"layer_types must be {layers} of {FULL} and {SLIDING}, got {list(layer_types)}")


def attention_entries(heads: int, groups: int, size: int, *, bias: tuple[bool, bool], normed: bool) -> list[Entry]:
    """The entries of a block's `attention`, an `Attention`, by the names that Llama gave them.

    Args:
      heads, groups: of queries, and of keys and values.
      size: dimensions of a head.
      bias: of queries, keys and values, and of what leaves.
      normed: whether query heads and key heads have norms.
    """
    there = f"{LAYER}.self_attn"
    joined = (f"{there}.{part}_proj" for part in "qkv")
    norms = ("query_norm", "q_norm"), ("key_norm", "k_norm")
    return [
        *dense("blocks.attention.qkv", *joined, bias=bias[0], sizes=(heads * size, groups * size, groups * size)),
        *dense("blocks.attention.out", f"{there}.o_proj", bias=bias[1]),
        *(
            entry
            for ours, theirs in (norms if normed else ())
            for entry in norm(f"blocks.attention.{ours}", f"{there}.{theirs}", bias=False)
        ),
    ]


def visible(t: int, reach: Int[Array, ""], *, causal: bool) -> Bool[Array, "t t"]:
    """Which places see which: none further off than `reach` places, and none that follows where `causal`."""
    place = jnp.arange(t)
    behind = place[:, None] - place[None, :]
    return (behind <= reach) & (behind >= (0 if causal else -reach))


class Embeddings(nnx.Module):
    """Token embeddings times `scale`; positions are the attention's business."""

    def __init__(self, rows: int, size: int, *, deviation: float, scale: float = 1.0, rngs: nnx.Rngs) -> None:
        self.tokens = Table(rows, size, scale=deviation, rngs=rngs)
        self.scale = scale

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        states = self.tokens(tokens.ids) * self.scale
        return states.reshape(-1, states.shape[-1])


class Attention(nnx.Module):
    """Rotary attention whose keys and values serve several query heads each.

    Args:
      count, groups: heads of queries, and of keys and values.
      size: dimensions of a head.
      bias: of queries, keys and values, and of what leaves.
      norm: makes the norm of every query head and key head, if there is one.
      scale: of the scores; by default `1 / sqrt(size)`.
    Source: Ainslie et al. 2023, arXiv:2305.13245; Su et al. 2021, arXiv:2104.09864.
    """

    def __init__(
        self,
        width: int,
        count: int,
        groups: int,
        size: int,
        *,
        bias: tuple[bool, bool],
        norm: Callable[[int], RMSNorm] | None,
        deviation: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        scale: float | None = None,
    ) -> None:
        self.counts, self.size, self.scale, self.dtype = (count, groups, groups), size, scale, dtype
        joined = (count + 2 * groups) * size  # one product for all three
        self.qkv = Dense(width, joined, scale=deviation, dtype=dtype, rngs=rngs, bias=bias[0])
        self.out = Dense(count * size, width, scale=deviation, dtype=dtype, rngs=rngs, bias=bias[1])
        self.query_norm = norm(size) if norm else None
        self.key_norm = norm(size) if norm else None

    def __call__(
        self,
        x: Float[Array, "n d"],
        mask: Int[Array, "b t"],
        cos: Float[Array, "t r"],
        sin: Float[Array, "t r"],
        allowed: Bool[Array, "t t"],
    ) -> Float[Array, "n d"]:
        joined = self.qkv(x)
        cuts = np.cumsum([count * self.size for count in self.counts[:-1]])
        parts = zip(jnp.split(joined, cuts, axis=-1), self.counts, strict=True)
        query, key, value = (heads(part, mask, count, joined.dtype) for part, count in parts)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)  # before rounding to `dtype`
        query, key, value = (part.astype(self.dtype) for part in (query, key, value))
        return self.out(merged(attention(query, key, value, mask, allowed=allowed, scale=self.scale)))


class Gated(nnx.Module):
    """`(act(x G) * (x U)) D`, with `G` and `U` in one product.  Source: Shazeer 2020, arXiv:2002.05202, eq. 6."""

    def __init__(
        self, width: int, inner: int, *, act: str, bias: bool, deviation: float, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.act = ACTIVATIONS[act]
        self.up = Dense(width, 2 * inner, scale=deviation, dtype=dtype, rngs=rngs, bias=bias)
        self.down = Dense(inner, width, scale=deviation, dtype=dtype, rngs=rngs, bias=bias)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        gate, up = jnp.split(self.up(x), 2, axis=-1)
        return self.down(self.act(gate) * up)


def next_token(backbone: Backbone) -> Callable[[Params, Tokens], Float[Array, "b v"]]:
    """(params, tokens) -> a score, before softmax, for every id to come after each text.

    The scores are products with the rows of `params["head"]["table"]` `[v, d]`, or, where there is no head of its own,
    of the token table.
    """

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b v"]:
        state = last(backbone.apply(params, tokens), jnp.asarray(tokens.mask))
        table = params["head"]["table"] if "head" in params else params["embeddings"]["tokens"]["table"]
        return jnp.einsum("bd,vd->bv", state, table)

    return apply
