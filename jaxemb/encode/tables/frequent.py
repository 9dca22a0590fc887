"""AdaptEmb: frequent ids have rows of their own, the others share some."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables.hashed import shared_out
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
    needs_counts,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params


def adaptive(own: float | None = None) -> Method:
    """The most frequent ids of a field have a row each; the one of rank `r` after them shares row `r mod rows`.

    Rows are shared out to fields in proportion to their ids.  Which row an id has is saved as the narrowest unsigned
    integer, and counts.

    Args:
      own: share of the ids that have their own row, below the budget; None for half of the rows.
    Raises: ValueError without counts, or for a share of the budget's or more.
    Source: the benchmark's AdaptEmb (Zhang et al. 2023, arXiv:2311.15578), after Adaptive Embedding, sec. 3 there.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("adaptive", fields, ratio)
        counts = needs_counts("adaptive", fields)
        if own is not None and not 0 <= own < ratio:
            raise ValueError(f"adaptive: wanted a share of ids with their own row in [0, {ratio}), got {own}")
        rows, kind = _rows(fields, ratio, budget)
        alone = [_alone(size, held, own) for size, held in zip(fields.sizes, rows, strict=True)]
        if over := [at for at, (one, held) in enumerate(zip(alone, rows, strict=True)) if one > held]:
            raise ValueError(
                f"adaptive: wanted a row of their own for {own} of the ids, and one to share, but field {over[0]} has "
                f"{rows[over[0]]} rows"
            )
        places = [_places(*each) for each in zip(counts, alone, rows, strict=True)]
        remap = np.concatenate(places).astype(kind)
        begin = jnp.asarray(starts(rows), jnp.int32)

        def init(key: Array) -> Params:
            return {"rows": uniform(key, (sum(rows), fields.dim), fields), "place": jnp.asarray(remap)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return params["rows"][begin[None, :] + params["place"][global_ids(fields, ids)].astype(jnp.int32)]

        spent = sum(rows) * fields.dim * FLOAT_BYTES + remap.nbytes
        larger = None if near(fields, ratio, spent) else spent + fields.dim * FLOAT_BYTES
        decided = {"rows": rows, "own": tuple(alone)}
        return checked(Table("adaptive", fields, decided, spent, larger, init, lookup, same, lookup, ("place", "rows")))

    return plan


def _rows(fields: Fields, ratio: float, budget: int) -> tuple[tuple[int, ...], np.dtype]:
    """Rows a field, and the narrowest integer that holds a place among them."""
    each = fields.dim * FLOAT_BYTES
    for kind in (np.uint8, np.uint16, np.uint32):
        width = np.dtype(kind).itemsize
        floor = fields.ids * width + len(fields.sizes) * each
        if budget < floor:
            raise BelowFloor("adaptive", ratio, floor / fields.bytes, "one row a field, and each id's place,")
        # Half a row is added, so that the share comes out at the row it was made of.
        share = ((budget - fields.ids * width) // each + 0.5) * each / fields.bytes
        rows = shared_out("adaptive", fields, min(share, 1.0), each)
        if max(rows) <= np.iinfo(kind).max + 1:
            return rows, np.dtype(kind)
    raise AssertionError("2**32 rows")


def _alone(ids: int, rows: int, own: float | None) -> int:
    """How many ids of a field have a row of their own; one row at least is left to the others, if there are any."""
    if rows >= ids:
        return ids
    return rows // 2 if own is None else math.floor(own * ids)


def _places(counts: Int[np.ndarray, " n"], alone: int, rows: int) -> Int[np.ndarray, " n"]:
    order = np.argsort(-counts, kind="stable")
    rank = np.arange(len(counts))
    found = np.empty(len(counts), np.int64)
    found[order] = np.where(rank < alone, rank, alone + (rank - alone) % max(1, rows - alone))
    return found
