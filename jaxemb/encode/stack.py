"""Blocks of one kind, one after another: stacked and scanned, or side by side and unrolled."""

from collections.abc import Callable, Iterator
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
    own row as its last argument.  Params are stacked as `init` makes them, and the layers are scanned: compile time
    does not grow with depth.  Or they are a tuple with one tree a layer: the layers are unrolled, which runs faster
    because no layer's weights are copied out of a stack.
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

    def last(params: Params | tuple[Params, ...], x: Array, *shared: Any, each: Any = None) -> Array:
        if isinstance(params, tuple):
            for layer, own in _unrolled(params, each):
                x = call(layer, x, shared, own)
            return x
        return lax.scan(lambda x, layer: (call(layer[0], x, shared, layer[1]), None), x, (params, each))[0]

    def every(params: Params | tuple[Params, ...], x: Array, *shared: Any, each: Any = None) -> Array:
        if isinstance(params, tuple):
            states = [x]
            for layer, own in _unrolled(params, each):
                states.append(call(layer, states[-1], shared, own))
            return jnp.stack(states)

        def deeper(x: Array, layer: Any) -> tuple[Array, Array]:
            x = call(layer[0], x, shared, layer[1])
            return x, x

        return jnp.concatenate([x[None], lax.scan(deeper, x, (params, each))[1]])

    return Stack(init, last, every)


def _unrolled(params: tuple[Params, ...], each: Any) -> Iterator[tuple[Params, Any]]:
    for i, layer in enumerate(params):
        yield layer, jax.tree.map(lambda rows, i=i: rows[i], each)


def unstacked(params: Params) -> Params:
    """Params whose `blocks` are a tuple with one tree a layer, for encoders that only run forward.

    Any other part stays as it is, and so do params that are unstacked already.
    """
    blocks = params.get("blocks")
    if not isinstance(blocks, dict):
        return params
    layers = len(jax.tree.leaves(blocks)[0])
    return {**params, "blocks": tuple(jax.tree.map(lambda leaf, i=i: leaf[i], blocks) for i in range(layers))}
