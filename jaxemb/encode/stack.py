"""Blocks of one kind, one after another: their params stacked, their layers scanned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from jaxemb.encode.functional import functional
from jaxemb.encode.layers import NARROW_PRODUCT
from jaxemb.types import Params


class Stack(NamedTuple):
    """Layers of one kind.

    init: key -> params, every leaf with a leading layer axis.
    last: (params, x, *shared, each=None) -> what leaves the last layer, with the shape of `x`.
    every: the same inputs -> `[layers + 1, ...]`: `x`, then what leaves each layer.

    `shared` goes to every block as it is.  `each` is a pytree of arrays with a leading layer axis; every block gets its
    own row as its last argument.  The layers are scanned: compile time does not grow with depth.

    For gradients a layer keeps the products of its weights, and makes the rest again (attention, norms, activations):
    that is less work than to write all of it down and read it, and takes half of the memory.
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
        return _scanned(lambda x, layer: (call(layer[0], x, shared, layer[1]), None), x, (params, each))[0]

    def every(params: Params, x: Array, *shared: Any, each: Any = None) -> Array:
        def deeper(x: Array, layer: Any) -> tuple[Array, Array]:
            x = call(layer[0], x, shared, layer[1])
            return x, x

        return jnp.concatenate([x[None], _scanned(deeper, x, (params, each))[1]])

    return Stack(init, last, every)


def _scanned(step: Callable[[Array, Any], tuple[Array, Any]], x: Array, layers: Any) -> tuple[Array, Any]:
    # A scan keeps its steps apart by itself, so the guard against merging them is not needed.
    return lax.scan(jax.checkpoint(step, policy=_kept(), prevent_cse=False), x, layers)


def _kept() -> Callable[..., Any]:
    saved = jax.checkpoint_policies
    if jax.default_backend() == "cpu":  # where making a narrow product again is quicker than fetching its float32 rows
        return saved.dots_with_no_batch_dims_saveable
    return saved.save_from_both_policies(
        saved.dots_with_no_batch_dims_saveable, saved.save_only_these_names(NARROW_PRODUCT)
    )
