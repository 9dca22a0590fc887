"""Blocks of one kind, one after another: their params stacked, their layers scanned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from jaxemb.encode.functional import functional
from jaxemb.types import Params


class Stack(NamedTuple):
    """Layers of one kind.

    init: key -> params, every leaf with a leading layer axis.
    last: (params, x, *shared, each=None) -> what leaves the last layer, with the shape of `x`.
    every: the same inputs -> `[layers + 1, ...]`: `x`, then what leaves each layer.

    `shared` goes to every block as it is.  `each` is a pytree of arrays with a leading layer axis; every block gets its
    own row as its last argument.  The layers are scanned: compile time does not grow with depth.
    """

    init: Callable[[Array], Params]
    last: Callable[..., Array]
    every: Callable[..., Array]


def stack(make: Callable[[nnx.Rngs], nnx.Module], layers: int) -> Stack:
    """`layers` of the block that `make` builds; its `__call__` takes `(x, *shared)` or `(x, *shared, own)`."""
    block = functional(make)

    def init(key: Array) -> Params:
        return jax.vmap(block.init)(jax.random.split(key, layers))

    def call(params: Params, x: Array, shared: tuple[Any, ...], own: Any) -> Array:
        return block.apply(params, "__call__", x, *shared, *(() if own is None else (own,)))

    def last(params: Params, x: Array, *shared: Any, each: Any = None) -> Array:
        return lax.scan(lambda x, layer: (call(layer[0], x, shared, layer[1]), None), x, (params, each))[0]

    def every(params: Params, x: Array, *shared: Any, each: Any = None) -> Array:
        def deeper(x: Array, layer: Any) -> tuple[Array, Array]:
            x = call(layer[0], x, shared, layer[1])
            return x, x

        return jnp.concatenate([x[None], lax.scan(deeper, x, (params, each))[1]])

    return Stack(init, last, every)
