"""Dedup: a full table is trained, then blocks of its rows that are nearly alike are kept once."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables import blocks
from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Method,
    Next,
    Score,
    Table,
    Training,
    checked,
    checked_budget,
    global_ids,
    near,
    same,
    uniform,
)
from jaxemb.types import Params

BLOCKS = 2048
"""Into how many blocks the rows are cut, where nobody says how many rows each has."""


def dedup(rows: int | None = None, share: float = 0.7) -> Method:
    """Train all rows; merge blocks of them until the budget is met; then train the blocks that are left.

        e = U[map[x div R]][x mod R],   x counted through all fields

    Rows that were hardly trained are hardly different, so whole blocks of them become one.  How blocks are found to be
    alike is told at `blocks.merged`.

    Args:
      rows: `R`, of a block; None for as many as make 2,048 blocks.
      share: of the run's steps for the full table.
    Raises: ValueError for blocks of no rows, or a share outside (0, 1).
    Source: Zhou et al. 2022, arXiv:2104.12500, as the benchmark uses it (Zhang et al. 2023, arXiv:2311.15578).
    """
    if not 0 < share < 1:
        raise ValueError(f"dedup: wanted a share of the run in (0, 1), got {share}")

    def plan(fields: Fields, ratio: float) -> Table:
        merged = shared_blocks(rows)(fields, ratio)
        unique, high = merged.decided["blocks"], merged.decided["rows"]

        def init(key: Array) -> Params:
            return {"rows": uniform(key, (fields.ids, fields.dim), fields)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return params["rows"][global_ids(fields, ids)]

        def then(params: Params, key: Array, score: Score) -> Next:
            whole = blocks.cut(np.asarray(params["rows"]), high, fields.dim)
            found = blocks.merged(whole, len(whole) - unique)
            kept = whole[found.unique].reshape(unique, high, fields.dim)
            standing = found.standing.astype(_kind(len(whole)))
            return Next(merged, {"blocks": jnp.asarray(kept), "standing": jnp.asarray(standing)})

        return checked(
            Table("dedup", fields, {"rows": high}, None, None, init, lookup, same, lookup, ("rows",),
                  training=Training(share=share, then=then))
        )  # fmt: skip

    return plan


def shared_blocks(rows: int | None = None) -> Method:
    """Blocks of rows, of which each stands in several places: the second stage of `dedup`.

    By itself it starts with each block in as many places as any other.
    """
    if rows is not None and rows < 1:
        raise ValueError(f"dedup: wanted blocks of 1 row or more, got {rows}")

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("dedup", fields, ratio)
        high = min(rows or -(-fields.ids // BLOCKS), fields.ids)
        count = -(-fields.ids // high)
        each, mapped = high * fields.dim * FLOAT_BYTES, count * _kind(count).itemsize
        unique = min(count, (budget - mapped) // each)
        if unique < 1:
            raise BelowFloor("dedup", ratio, (each + mapped) / fields.bytes, f"one block of {high} rows, and the map,")

        def init(key: Array) -> Params:
            standing = np.arange(count) % unique
            return {
                "blocks": uniform(key, (unique, high, fields.dim), fields),
                "standing": jnp.asarray(standing.astype(_kind(count))),
            }

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            at = global_ids(fields, ids)
            return params["blocks"][params["standing"][at // high].astype(jnp.int32), at % high]

        spent = unique * each + mapped
        larger = None if near(fields, ratio, spent) else spent + each if unique < count else math.inf
        decided = {"rows": high, "blocks": unique}
        return checked(
            Table("shared-blocks", fields, decided, spent, larger, init, lookup, same, lookup, ("blocks", "standing"))
        )

    return plan


def _kind(count: int) -> np.dtype:
    """The narrowest unsigned integer that tells so many blocks apart."""
    return np.min_scalar_type(count - 1)
