"""TT-Rec: a table as the product of three small cores."""

import math
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Method,
    Table,
    checked,
    checked_budget,
    in_order,
    near,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params

CORES = ("first", "second", "third")
TAILS_SQUARE = 1 + 2 * NormalDist().pdf(2) / (1 - NormalDist().cdf(2))
"""The mean square of a standard normal's draws beyond two deviations."""


class Shape(NamedTuple):
    """Three factors of the ids of a field, rounded up."""

    first: int
    second: int
    third: int


def tensor_train() -> Method:
    """An id is three digits, each picks a slice of a core, and the product of the slices is the vector.

        i1 = x mod n1,  i2 = (x div n1) mod n2,  i3 = x div (n1 n2)
        e  = vec( G1[i1] (d1, r) @ G2[i2] (r, d2 r) @ G3[i3] (r, d3) )

    The rank `r` is the greatest that the budget has room for, one for all fields; fields whose cores would be larger
    than their table keep the table.  Cores start from the tails of a normal distribution, beyond two deviations: the
    product of three then has few values near nothing, which those of whole normals are.  They are scaled so that
    vectors are as long as those of a full table, whatever the rank.

    >>> tensor_train()(Fields((1000, 5), 8), 0.1).decided
    {'rank': 5, 'whole': (1,)}

    Source: Yin et al. 2021, arXiv:2101.11714, eq. 3 and sec. 3.2.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("tensor-train", fields, ratio) // FLOAT_BYTES
        widths = _widths(fields.dim)
        shapes = [digits(size) for size in fields.sizes]
        numbers = partial(_numbers, fields, widths, shapes)
        if numbers(1) > budget:
            raise BelowFloor("tensor-train", ratio, numbers(1) * FLOAT_BYTES / fields.bytes, "a rank of 1")
        rank = 1
        while rank < max(fields.sizes) and numbers(rank + 1) <= budget:
            rank += 1
        cut = [
            field for field, shape in enumerate(shapes) if _core(shape, widths, rank) < fields.sizes[field] * fields.dim
        ]
        whole = [field for field in range(len(shapes)) if field not in cut]
        kept = [fields.sizes[field] for field in whole]
        cores = [shapes[field] for field in cut]
        spent = numbers(rank) * FLOAT_BYTES
        larger = None if near(fields, ratio, spent) else max(numbers(rank + 1) * FLOAT_BYTES, spent + 1)

        def init(key: Array) -> Params:
            one, other = jax.random.split(key)
            # Each number of a vector is a sum of rank^2 products of three draws, each of a mean square of 5.75.
            wanted = math.sqrt(1 / max(fields.sizes) / 3)
            scale = (wanted / (rank * TAILS_SQUARE**1.5)) ** (1 / 3)
            columns = (widths[0] * rank, widths[1] * rank * rank, widths[2] * rank)
            params = {
                name: scale * _tails(part, (sum(shape[digit] for shape in cores), columns[digit]))
                for digit, (name, part) in enumerate(zip(CORES, jax.random.split(one, 3), strict=True))
            }
            return {**params, "whole": uniform(other, (sum(kept), fields.dim), fields)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            parts = []
            if whole:
                at = jnp.asarray(starts(kept), ids.dtype)[None, :]
                parts.append((whole, params["whole"][at + ids[:, jnp.asarray(whole)]]))
            if cut:
                parts.append((cut, _products(params, cores, widths, rank, ids[:, jnp.asarray(cut)])))
            return in_order(parts)

        decided = {"rank": rank, "whole": tuple(whole)}
        return checked(
            Table("tensor-train", fields, decided, spent, larger, init, lookup, same, lookup,
                  (*CORES, "whole"))
        )  # fmt: skip

    return plan


def _products(
    params: Params, shapes: list[Shape], widths: Shape, rank: int, ids: Int[Array, "b g"]
) -> Float[Array, "b g d"]:
    """Vectors of fields that have cores.

    All slices of the first core are multiplied by all of the second once a batch: `n^(2/3)` products, which mostly are
    fewer than the ids of a batch.
    """
    begins = [starts([shape[digit] for shape in shapes]) for digit in range(3)]
    pairs, places, thirds, before = [], [], [], 0
    for at, shape in enumerate(shapes):
        first = params["first"][begins[0][at] : begins[0][at] + shape.first].reshape(-1, rank)
        second = params["second"][begins[1][at] : begins[1][at] + shape.second].reshape(shape.second, rank, -1)
        # [i1 d1, i2 d2 r] -> [i2, i1, d1 d2, r], so that the two digits are the row x mod (n1 n2)
        both = jnp.einsum("xr,yrs->yxs", first, second).reshape(-1, widths.first * widths.second * rank)
        pairs.append(both)
        column = ids[:, at]
        places.append(before + column % (shape.first * shape.second))
        thirds.append(int(begins[2][at]) + column // (shape.first * shape.second))
        before += shape.first * shape.second
    left = jnp.concatenate(pairs)[jnp.stack(places, axis=1)].reshape(*ids.shape, -1, rank)
    right = params["third"][jnp.stack(thirds, axis=1)].reshape(*ids.shape, rank, widths.third)
    return (left[..., None] * right[..., None, :, :]).sum(axis=-2).reshape(*ids.shape, -1)


def _tails(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Draws of a standard normal that are beyond two deviations."""
    size, sign = jax.random.split(key)
    far = jax.random.truncated_normal(size, 2.0, math.inf, shape, jnp.float32)
    return far * jax.random.rademacher(sign, shape, jnp.float32)


def digits(size: int) -> Shape:
    """Three factors whose product is `size` or a little more, the largest last.

    >>> digits(1000)
    Shape(first=10, second=10, third=10)
    """
    third = math.ceil(round(size ** (1 / 3), 9))
    second = math.ceil(math.sqrt(size / third))
    return Shape(math.ceil(size / third / second), second, third)


def _widths(dim: int) -> Shape:
    """Three factors of the dimensions, none 1, as even as can be: 2, 2 and 4 of 16."""
    for first in range(math.floor(round(dim ** (1 / 3), 9)), 1, -1):
        if dim % first:
            continue
        for second in range(math.isqrt(dim // first), 1, -1):
            if dim // first % second == 0:
                return Shape(first, second, dim // first // second)
    raise ValueError(f"tensor-train: wanted dimensions that have three factors above 1, as 8, 12 or 16, got {dim}")


def _core(shape: Shape, widths: Shape, rank: int) -> int:
    return (shape.first * widths.first + shape.second * widths.second * rank + shape.third * widths.third) * rank


def _numbers(fields: Fields, widths: Shape, shapes: list[Shape], rank: int) -> int:
    return sum(
        min(size * fields.dim, _core(shape, widths, rank)) for size, shape in zip(fields.sizes, shapes, strict=True)
    )
