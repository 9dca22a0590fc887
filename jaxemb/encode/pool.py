"""Token states to one vector a text; padding never counts."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.similarity import unit
from jaxemb.types import Backbone, Encoder, Params, Tokens

Pooling = Callable[[Float[Array, "b t d"], Int[Array, "b t"]], Float[Array, "b d"]]
"""Token states and their mask to one vector a text; what stands where the mask is 0 never counts."""


def mean(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The average over a text's tokens; zero for a text without tokens.

    >>> print(mean(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[2.]]
    """
    kept = mask.astype(states.dtype)
    return jnp.einsum("btd,bt->bd", states, kept) / jnp.maximum(kept.sum(axis=1, keepdims=True), 1)


def cls(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The state of the first token, wherever padding is; zero for a text without tokens."""
    return _at(states, mask, jnp.argmax(mask, axis=1))


def maximum(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The largest value of each dimension over a text's tokens; zero for a text without tokens.

    >>> print(maximum(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[3.]]
    """
    kept = mask[:, :, None] > 0
    largest = jnp.max(jnp.where(kept, states, -jnp.inf), axis=1)
    return jnp.where(kept.any(axis=1), largest, jnp.zeros_like(largest))


def last(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The state of the last token that is no padding; zero for a text without tokens.

    >>> print(last(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[3.]]
    """
    return _at(states, mask, mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1))


def _at(states: Float[Array, "b t d"], mask: Int[Array, "b t"], place: Int[Array, " b"]) -> Float[Array, "b d"]:
    """The state of one token a text; zero for a text without tokens."""
    state = jnp.take_along_axis(states, place[:, None, None], axis=1)[:, 0]
    return jnp.where((mask > 0).any(axis=1)[:, None], state, jnp.zeros_like(state))


def mean_sqrt_length(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The sum over a text's tokens by the square root of their number; zero for a text without tokens.

    >>> print(mean_sqrt_length(jnp.array([[[1.0], [3.0], [2.0], [4.0]]]), jnp.array([[1, 1, 1, 1]])))
    [[5.]]
    """
    count = mask.sum(axis=1, keepdims=True).astype(states.dtype)
    return mean(states, mask) * jnp.sqrt(count)


def weighted_mean(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The average over a text's tokens, the first weighing 1, the second 2...; zero for a text without tokens.

    A weight is a token's place in the row: a prompt that is left out keeps its places, and padding goes on the right.
    Source: Muennighoff 2022, arXiv:2202.08904 (SGPT).

    >>> print(weighted_mean(jnp.array([[[1.0], [4.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[3.]]
    """
    place = jnp.arange(1, mask.shape[1] + 1, dtype=states.dtype)
    weights = mask.astype(states.dtype) * place[None, :]
    return jnp.einsum("btd,bt->bd", states, weights) / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)


POOLINGS: dict[str, Pooling] = {
    "cls": cls,
    "max": maximum,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_sqrt_length,
    "weightedmean": weighted_mean,
    "lasttoken": last,
}
"""By the names that sentence-transformers folders use; in this order older folders join several."""


def joined(*poolings: Pooling) -> Pooling:
    """Several poolings side by side, in this order: `[b, k d]` of `k`."""

    def pool(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b e"]:
        return jnp.concatenate([one(states, mask) for one in poolings], axis=1)

    return pool


def pooled(backbone: Backbone, pooling: Pooling) -> Encoder:
    """An encoder from a backbone and a pooling."""

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        return pooling(backbone.apply(params, tokens), jnp.asarray(tokens.pooled))

    return Encoder(backbone.init, apply)


def normalized(encoder: Encoder) -> Encoder:
    """The same encoder with vectors of length one (a zero vector stays zero)."""

    def apply(params: Params, inputs: Any) -> Float[Array, "b d"]:  # tokens, or the pixels of images
        return unit(encoder.apply(params, inputs))

    return Encoder(encoder.init, apply)
