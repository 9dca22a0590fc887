"""Poolings with params of their own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.small.extended import beside
from jaxemb.types import Backbone, Encoder, Params, Tokens


class LearntPooling(NamedTuple):
    """Token states to one vector a text, by params; padding never counts, a text without tokens is the zero vector.

    init: key -> params.
    apply: (params, states `[b, t, d]`, mask `[b, t]`) -> vectors `[b, e]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Float[Array, "b t d"], Int[Array, "b t"]], Float[Array, "b e"]]


def pooled_by(backbone: Backbone, pooling: LearntPooling) -> Encoder:
    """An encoder from a backbone and a pooling that is learnt with it.

    Params are the backbone's own and `{"pooling": ...}`.
    """

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        return beside(backbone.init(one), "pooling", pooling.init(other))

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        return pooling.apply(params["pooling"], backbone.apply(params, tokens), jnp.asarray(tokens.pooled))

    return Encoder(init, apply)
