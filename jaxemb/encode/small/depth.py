"""The states of several layers as one: side by side, averaged, or mixed by learnt weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.pool import Pooling
from jaxemb.encode.small.extended import beside
from jaxemb.types import Backbone, Params, Tokens


def side_by_side(backbone: Backbone, last: int) -> Backbone:
    """States of the last `last` layers joined, the deepest at the end: `[b, t, last * d]`.

    Raises: ValueError when there are fewer layers, the embeddings counted as one.
    Source: Barkan et al. 2020, arXiv:1908.05161, the reference code, with four layers.
    """

    def join(states: Float[Array, "l b t d"]) -> Float[Array, "b t e"]:
        return jnp.concatenate(list(states), axis=-1)

    return _of_last(backbone, last, join)


def averaged(backbone: Backbone, last: int) -> Backbone:
    """The mean of the states of the last `last` layers.

    Raises: ValueError when there are fewer layers, the embeddings counted as one.
    """
    return _of_last(backbone, last, lambda states: states.mean(axis=0))


def _of_last(backbone: Backbone, last: int, combine: Callable[[Array], Array]) -> Backbone:
    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t e"]:
        states = backbone.hidden(params, tokens)
        if not 1 <= last <= len(states):
            raise ValueError(f"wanted the last {last} layers of {len(states)}, the embeddings counted as one")
        return combine(states[-last:])

    return Backbone(backbone.init, apply, lambda params, tokens: apply(params, tokens)[None])


def mixed(backbone: Backbone, layers: int) -> Backbone:
    """A learnt mixture of all layers' states, `scale * sum_l softmax(weight)_l h_l`.

    Params are the backbone's own and `{"mixture": {"weight": [layers], "scale": []}}`; it starts as the plain mean.

    Args:
      layers: how many states `hidden` gives, the embeddings counted as one.
    Raises: ValueError when it gives another number.
    Source: Peters et al. 2018, arXiv:1802.05365, eq. 1.
    """

    def init(key: Array) -> Params:
        return beside(backbone.init(key), "mixture", {"weight": jnp.zeros(layers), "scale": jnp.ones(())})

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t d"]:
        states, own = backbone.hidden(params, tokens), params["mixture"]
        if len(states) != layers:
            raise ValueError(f"mixed: wanted the states of {layers} layers, got {len(states)}")
        return own["scale"] * jnp.einsum("lbtd,l->btd", states, jax.nn.softmax(own["weight"]))

    return Backbone(init, apply, lambda params, tokens: apply(params, tokens)[None])


def without_first(pooling: Pooling) -> Pooling:
    """The pooling with a text's first token, as `[CLS]`, left out.

    >>> from jaxemb.encode import mean
    >>> print(without_first(mean)(jnp.array([[[9.0], [1.0], [3.0]]]), jnp.array([[1, 1, 1]])))
    [[2.]]
    """

    def rest(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
        return pooling(states, mask * (jnp.cumsum(mask, axis=1) > 1).astype(mask.dtype))

    return rest
