"""Scores by products of smaller numbers than float32, where a matrix unit is quicker at them."""

from collections.abc import Callable
from functools import lru_cache

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int8

from jaxemb.types import Compressor, Params

Score = Callable[[Params, Array, Array], Array]
"""(what a compressor learnt, queries `[b, d]`, codes `[n, c]`) -> scores `[b, n]`."""

PRODUCTS = ("float32", "bfloat16", "int8")


@lru_cache(maxsize=64)
def scored(compressor: Compressor, products: str) -> Score:
    """How a compressor's codes are scored by such products; the same function for the same two, so that JAX knows it.

    Raises: ValueError for products that its codes have not.
    """
    stem = compressor.name.partition("-")[0]
    if products not in PRODUCTS:
        raise ValueError(f"exact: wanted products of {', '.join(PRODUCTS)}, got {products!r}")
    if products == "float32":
        return compressor.asymmetric
    if "+" in compressor.name or stem not in ("float32", "truncate", "int8")[2 if products == "int8" else 0 :]:
        wanted = "int8" if products == "int8" else "float32, truncate or int8"
        raise ValueError(f"exact: products of {products} take codes of {wanted}, got {compressor.name}")
    if products == "int8":
        return _whole
    return _affine_bfloat16 if stem == "int8" else _of(compressor)


def _of(compressor: Compressor) -> Score:
    def score(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n e"]) -> Float[Array, "b n"]:
        return _rounded(compressor.apply(state, query), codes)

    return score


def _rounded(query: Float[Array, "b d"], rows: Float[Array, "n d"] | Int8[Array, "n d"]) -> Float[Array, "b n"]:
    """Whole numbers up to 256 are bfloat16 exactly."""
    sides = (((1,), (1,)), ((), ()))
    return lax.dot_general(
        query.astype(jnp.bfloat16), rows.astype(jnp.bfloat16), sides, preferred_element_type=jnp.float32
    )


def _affine_bfloat16(state: Params, query: Float[Array, "b d"], codes: Int8[Array, "n d"]) -> Float[Array, "b n"]:
    """Of `int8`: the step is folded into the query before it is rounded; offsets are added in float32."""
    return _rounded(query * state["step"][None, :], codes) + _offsets(state, query)


def _whole(state: Params, query: Float[Array, "b d"], codes: Int8[Array, "n d"]) -> Float[Array, "b n"]:
    """Of `int8`: the query's products with the steps become whole numbers up to 127, too, with one scale a query."""
    folded = query * state["step"][None, :]
    scale = jnp.max(jnp.abs(folded), axis=1, keepdims=True) / 127
    levels = jnp.round(folded / jnp.where(scale > 0, scale, 1)).astype(jnp.int8)
    products = lax.dot_general(levels, codes, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
    return products.astype(jnp.float32) * scale + _offsets(state, query)


def _offsets(state: Params, query: Float[Array, "b d"]) -> Float[Array, "b 1"]:
    return jnp.sum(query * state["offset"][None, :], axis=1, keepdims=True)
