"""Whole param trees as vectors: what merge operators share."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.types import Params


def by_path(tree: Params) -> dict[str, Array]:
    """Leaves by their dotted paths."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in found}


def same_shapes(name: str, *trees: Params) -> None:
    """Raise ValueError that names the first leaf that is not the same, in place and shape, in every tree."""
    first = by_path(trees[0])
    for i, tree in enumerate(trees[1:], start=1):
        other = by_path(tree)
        if odd := sorted(first.keys() ^ other.keys()):
            raise ValueError(f"{name}: model {i} and model 0 do not both have {odd[0]}")
        for path, leaf in first.items():
            if leaf.shape != other[path].shape:
                raise ValueError(f"{name}: {path} is {leaf.shape} in model 0, {other[path].shape} in model {i}")


def inner(a: Params, b: Params) -> Float[Array, ""]:
    """The inner product of two trees as flat vectors, summed in float32."""
    products = jax.tree.map(lambda x, y: jnp.vdot(x.astype(jnp.float32), y.astype(jnp.float32)), a, b)
    return sum(jax.tree.leaves(products), start=jnp.zeros((), jnp.float32))


def combination(trees: Sequence[Params], weights: Sequence[float | Float[Array, ""]]) -> Params:
    """`sum_k w_k tree_k`, summed in float32 and rounded once to the dtype of the first tree."""

    def leaf(*values: Array) -> Array:
        total = sum(w * v.astype(jnp.float32) for w, v in zip(weights, values, strict=True))
        return jnp.asarray(total).astype(values[0].dtype)

    return jax.tree.map(leaf, *trees)
