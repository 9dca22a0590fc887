"""MDE: fields of many ids have short vectors, and a matrix makes them as long as the others."""

import math
from collections.abc import Sequence

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
    fits,
    in_order,
    near,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params

HALVINGS = 40


def mixed_dimensions() -> Method:
    """The more ids a field has, the shorter its own vectors: `e = E_f[x] @ P_f`, `E_f` of `d_f` columns.

        d_f = d (min n / n_f)^alpha, rounded to a power of two, 1 at least

    `alpha` in [0, 1] is the least that the budget has room for; where `d_f` is `d` there is no matrix.

    >>> mixed_dimensions()(Fields((1000, 10), 8), 0.6).decided
    {'dims': (4, 8)}

    Source: Ginart et al. 2019, arXiv:1909.11810, sec. 3.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("mixed-dimensions", fields, ratio)
        low, high = 0.0, 1.0
        if (least := _bytes(fields, _dims(fields, high))) > budget:
            raise BelowFloor("mixed-dimensions", ratio, least / fields.bytes, "alpha 1")
        if _bytes(fields, _dims(fields, low)) <= budget:
            return _projected("mixed-dimensions", fields, ratio, _dims(fields, low), math.inf)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if _bytes(fields, _dims(fields, middle)) <= budget else (middle, high)
        return _projected("mixed-dimensions", fields, ratio, _dims(fields, high), _bytes(fields, _dims(fields, low)))

    return plan


def given_dimensions(dims: Sequence[int]) -> Method:
    """As `mixed_dimensions`, with the columns of every field given, each in 1 to `dim`.

    Raises: ValueError for columns that do not fit the fields; BelowFloor where they take more than the budget.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        checked_budget("given-dimensions", fields, ratio)
        if len(dims) != len(fields.sizes) or not all(1 <= dim <= fields.dim for dim in dims):
            raise ValueError(
                f"given-dimensions: wanted {len(fields.sizes)} numbers in [1, {fields.dim}], got {tuple(dims)}"
            )
        spent = _bytes(fields, tuple(dims))
        if not fits(fields, ratio, spent):
            raise BelowFloor("given-dimensions", ratio, spent / fields.bytes, f"columns {tuple(dims)}")
        return _projected("given-dimensions", fields, ratio, tuple(dims), math.inf)

    return plan


def _projected(name: str, fields: Fields, ratio: float, dims: tuple[int, ...], larger: int | float) -> Table:
    widths = sorted(set(dims))
    groups = {width: [field for field, dim in enumerate(dims) if dim == width] for width in widths}
    begins = {width: starts([fields.sizes[field] for field in group]) for width, group in groups.items()}
    entries = [f"rows_{width}" for width in widths] + [f"project_{width}" for width in widths if width < fields.dim]

    def init(key: Array) -> Params:
        params: Params = {}
        for at, (width, group) in enumerate(groups.items()):
            one, other = jax.random.split(jax.random.fold_in(key, at))
            params[f"rows_{width}"] = uniform(one, (sum(fields.sizes[field] for field in group), width), fields)
            if width < fields.dim:
                drawn = jax.random.normal(other, (len(group), width, fields.dim), jnp.float32)
                params[f"project_{width}"] = drawn / math.sqrt(width)  # vectors are then as long as those of others
        return params

    def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
        parts = []
        for width, group in groups.items():
            at = jnp.asarray(begins[width], ids.dtype)[None, :] + ids[:, jnp.asarray(group)]
            rows = params[f"rows_{width}"][at]
            if width < fields.dim:
                rows = jnp.einsum("bfk,fkd->bfd", rows, params[f"project_{width}"])
            parts.append((group, rows))
        return in_order(parts)

    spent = _bytes(fields, dims)
    return checked(
        Table(name, fields, {"dims": dims}, spent, None if near(fields, ratio, spent) else larger,
              init, lookup, same, lookup, tuple(entries))
    )  # fmt: skip


def _dims(fields: Fields, alpha: float) -> tuple[int, ...]:
    least = min(fields.sizes)
    exact = [fields.dim * (least / size) ** alpha for size in fields.sizes]
    return tuple(min(fields.dim, 2 ** round(math.log2(max(one, 1)))) for one in exact)


def _bytes(fields: Fields, dims: tuple[int, ...]) -> int:
    numbers = sum(
        size * dim + (dim * fields.dim if dim < fields.dim else 0) for size, dim in zip(fields.sizes, dims, strict=True)
    )
    return numbers * FLOAT_BYTES
