"""Token states to one vector a text; padding never counts."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.similarity import unit
from jaxemb.types import Backbone, Encoder, Params, Tokens

Pooling = Callable[[Float[Array, "b t d"], Int[Array, "b t"]], Float[Array, "b d"]]


def mean(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The average over a text's tokens; zero for a text without tokens.

    >>> print(mean(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[2.]]
    """
    kept = mask.astype(states.dtype)
    return jnp.einsum("btd,bt->bd", states, kept) / jnp.maximum(kept.sum(axis=1, keepdims=True), 1)


def cls(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The state of the first token, wherever padding is."""
    first = jnp.argmax(mask, axis=1)
    return jnp.take_along_axis(states, first[:, None, None], axis=1)[:, 0]


def maximum(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The largest value of each dimension over a text's tokens; zero for a text without tokens.

    >>> print(maximum(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[3.]]
    """
    kept = mask[:, :, None] > 0
    largest = jnp.max(jnp.where(kept, states, -jnp.inf), axis=1)
    return jnp.where(kept.any(axis=1), largest, jnp.zeros_like(largest))


def last(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The state of the last token that is no padding.

    >>> print(last(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[3.]]
    """
    place = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    return jnp.take_along_axis(states, place[:, None, None], axis=1)[:, 0]


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": cls, "max": maximum, "lasttoken": last}
"""By the names that sentence-transformers folders use."""


def pooled(backbone: Backbone, pooling: Pooling) -> Encoder:
    """An encoder from a backbone and a pooling."""

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        counted = tokens.mask if tokens.counted is None else tokens.counted
        return pooling(backbone.apply(params, tokens), jnp.asarray(counted))

    return Encoder(backbone.init, apply)


def normalized(encoder: Encoder) -> Encoder:
    """The same encoder with vectors of length one (a zero vector stays zero)."""

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        return unit(encoder.apply(params, tokens))

    return Encoder(encoder.init, apply)
