"""The full table, and one that ids share by their remainder: the two ends that all methods are compared with."""

import math

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
    global_ids,
    near,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params


def full() -> Method:
    """A row of its own for every id: what the others are measured against; its budget is 1."""

    def plan(fields: Fields, ratio: float) -> Table:
        checked_budget("full", fields, ratio)
        if ratio < 1:
            raise BelowFloor("full", ratio, 1.0, "a row of its own for every id")

        def init(key: Array) -> Params:
            return {"rows": uniform(key, (fields.ids, fields.dim), fields)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return params["rows"][global_ids(fields, ids)]

        return checked(
            Table("full", fields, {"rows": fields.ids}, fields.bytes, None, init, lookup, same, lookup, ("rows",))
        )

    return plan


def hash_rows() -> Method:
    """As many rows a field as the budget has, and an id takes the one of its remainder: `e = E_f[x mod rows_f]`.

    Rows are shared out in proportion to the ids of the fields, one a field at least.

    >>> table = hash_rows()(Fields((6, 2), 4), 0.5)
    >>> print(table.decided["rows"], table.bytes)
    (3, 1) 64
    """

    def plan(fields: Fields, ratio: float) -> Table:
        rows = shared_out("hash", fields, ratio, fields.dim * FLOAT_BYTES)
        begin = jnp.asarray(starts(rows), jnp.int32)

        def init(key: Array) -> Params:
            return {"rows": uniform(key, (sum(rows), fields.dim), fields)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return params["rows"][begin[None, :] + ids % jnp.asarray(rows, ids.dtype)[None, :]]

        spent = sum(rows) * fields.dim * FLOAT_BYTES
        larger = None if near(fields, ratio, spent) else spent + fields.dim * FLOAT_BYTES
        return checked(Table("hash", fields, {"rows": rows}, spent, larger, init, lookup, same, lookup, ("rows",)))

    return plan


def shared_out(what: str, fields: Fields, ratio: float, row_bytes: int) -> tuple[int, ...]:
    """Rows a field that together fill the budget, in proportion to its ids, at least one and at most one an id.

    Raises: BelowFloor where there is not one row a field.
    """
    rows, each = checked_budget(what, fields, ratio) // row_bytes, len(fields.sizes)
    if rows < each:
        raise BelowFloor(what, ratio, each * row_bytes / fields.bytes, "one row a field")
    exact = [(rows - each) * (ids - 1) / max(1, fields.ids - each) for ids in fields.sizes]
    whole = [math.floor(one) for one in exact]
    left = min(rows, fields.ids) - each - sum(whole)
    for field in sorted(range(each), key=lambda one: whole[one] - exact[one])[:left]:  # the largest remainders first
        whole[field] += 1
    return tuple(1 + one for one in whole)
