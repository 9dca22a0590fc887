"""Vectors of fields to the chance of a click: the models that a table is trained inside of, as pure functions."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.types import Params

Layers = tuple[int, ...]


class ClickModel(NamedTuple):
    """A model of clicks above a table.

    init: (key, fields, dim, dense) -> params, `dense` being how many plain numbers an example has beside its ids.
    apply: (params, vectors `[b, f, d]`, dense `[b, m]`) -> logits `[b]`.
    """

    init: Callable[[Array, int, int, int], Params]
    apply: Callable[[Params, Float[Array, "b f d"], Float[Array, "b m"]], Float[Array, " b"]]


def dlrm(bottom: Layers = (512, 256, 64), top: Layers = (512, 256)) -> ClickModel:
    """Products of all pairs of vectors, and a network above them.

    Plain numbers become one more vector by a network of their own, which is also passed on as it is; without them there
    is none.

    Args:
      bottom, top: widths of the layers before the last of either network.
    Source: Naumov et al. 2019, arXiv:1906.00091.
    """

    def init(key: Array, fields: int, dim: int, dense: int) -> Params:
        one, other = jax.random.split(key)
        count = fields + (dense > 0)
        params = {"top": _layers(other, (count * (count - 1) // 2 + dim * (dense > 0), *top, 1))}
        return {**params, "bottom": _layers(one, (dense, *bottom, dim))} if dense else params

    def apply(params: Params, vectors: Float[Array, "b f d"], dense: Float[Array, "b m"]) -> Float[Array, " b"]:
        passed = []
        if "bottom" in params:
            made = jax.nn.relu(_through(params["bottom"], dense))
            vectors = jnp.concatenate([vectors, made[:, None, :]], axis=1)
            passed = [made]
        below = jnp.tril_indices(vectors.shape[1], -1)
        products = jnp.einsum("bfd,bgd->bfg", vectors, vectors)[:, below[0], below[1]]
        return _through(params["top"], jnp.concatenate([*passed, products], axis=1))[:, 0]

    return ClickModel(init, apply)


def wide_and_deep(deep: Layers = (256, 256)) -> ClickModel:
    """A linear map and a network of the same numbers, added.  Source: Cheng et al. 2016, arXiv:1606.07792."""

    def init(key: Array, fields: int, dim: int, dense: int) -> Params:
        one, other = jax.random.split(key)
        width = fields * dim + dense
        return {"deep": _layers(one, (width, *deep, 1)), "wide": _layers(other, (width, 1))}

    def apply(params: Params, vectors: Float[Array, "b f d"], dense: Float[Array, "b m"]) -> Float[Array, " b"]:
        numbers = _side_by_side(vectors, dense)
        return (_through(params["deep"], numbers) + _through(params["wide"], numbers))[:, 0]

    return ClickModel(init, apply)


def deep_cross(crosses: int = 3, deep: Layers = (256, 256, 256)) -> ClickModel:
    """Products of the numbers with themselves, one degree a layer, beside a network: `x' = x0 (x . w) + b + x`.

    Source: Wang et al. 2017, arXiv:1708.05123, eq. 3.
    """

    def init(key: Array, fields: int, dim: int, dense: int) -> Params:
        one, two, three = jax.random.split(key, 3)
        width = fields * dim + dense
        weight = jax.random.normal(two, (crosses, width), jnp.float32) * math.sqrt(2 / (width + 1))
        return {
            "deep": _layers(one, (width, *deep)),
            "cross": {"weight": weight, "bias": jnp.zeros((crosses, width))},
            "last": _layers(three, (width + deep[-1], 1)),
        }

    def apply(params: Params, vectors: Float[Array, "b f d"], dense: Float[Array, "b m"]) -> Float[Array, " b"]:
        numbers = _side_by_side(vectors, dense)
        crossed = numbers
        for weight, bias in zip(params["cross"]["weight"], params["cross"]["bias"], strict=True):
            crossed = numbers * (crossed @ weight)[:, None] + bias[None, :] + crossed
        beside = jax.nn.relu(_through(params["deep"], numbers))
        return _through(params["last"], jnp.concatenate([crossed, beside], axis=1))[:, 0]

    return ClickModel(init, apply)


def deep_factorization(deep: Layers = (256, 256)) -> ClickModel:
    """DeepFM: a weight an id, products of all pairs of vectors, and a network of all numbers, added.

    The first number of a vector is the weight; the others are multiplied:
    `sum_{f<g} <v_f, v_g> = (|sum_f v_f|^2 - sum_f |v_f|^2) / 2`.

    Source: Guo et al. 2017, arXiv:1703.04247, eq. 1 to 4.
    """

    def init(key: Array, fields: int, dim: int, dense: int) -> Params:
        if dim < 2:
            raise ValueError(f"deep_factorization: wanted 2 dimensions or more, a weight and a vector, got {dim}")
        return {"deep": _layers(key, (fields * (dim - 1) + dense, *deep, 1))}

    def apply(params: Params, vectors: Float[Array, "b f d"], dense: Float[Array, "b m"]) -> Float[Array, " b"]:
        weights, factors = vectors[:, :, 0], vectors[:, :, 1:]
        pairs = ((factors.sum(axis=1) ** 2) - (factors**2).sum(axis=1)).sum(axis=1) / 2
        return weights.sum(axis=1) + pairs + _through(params["deep"], _side_by_side(factors, dense))[:, 0]

    return ClickModel(init, apply)


def _side_by_side(vectors: Float[Array, "b f d"], dense: Float[Array, "b m"]) -> Float[Array, "b w"]:
    return jnp.concatenate([vectors.reshape(len(vectors), -1), dense], axis=1)


def _layers(key: Array, widths: Sequence[int]) -> Params:
    """Layers by number, from Glorot's normal distribution, biases 0."""
    made = {}
    for at, (inside, outside) in enumerate(itertools.pairwise(widths)):
        drawn = jax.random.normal(jax.random.fold_in(key, at), (inside, outside), jnp.float32)
        made[f"{at}"] = {"kernel": drawn * math.sqrt(2 / (inside + outside)), "bias": jnp.zeros(outside)}
    return made


def _through(layers: Params, rows: Float[Array, "b i"]) -> Float[Array, "b o"]:
    """ReLU between layers, none after the last."""
    for at in range(len(layers)):
        layer = layers[f"{at}"]
        rows = (jax.nn.relu(rows) if at else rows) @ layer["kernel"] + layer["bias"][None, :]
    return rows
