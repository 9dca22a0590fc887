"""Blocks of a matrix kept once for all that are nearly alike."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.compress.matrix.form import FLOAT, INDEX, MatrixCompressor, made
from jaxemb.encode.tables import blocks
from jaxemb.types import Params


def dedup(rows: int = 1, columns: int | None = None) -> MatrixCompressor:
    """Cut the matrix into blocks of `rows` by `columns`, and keep one of those that are alike, and which stands where.

    As many blocks are merged as the budget asks for, the most alike first as far as hashing finds them; for matrices
    without near copies of rows or parts of rows that loses much.  Its name is `dedup-<rows>x<columns>`, without
    `x<columns>` where blocks are as wide as the matrix.

    Raises: ValueError for blocks of nothing; in `compress` for a budget below one block and the map.
    Source: as `encode.tables.blocks`.
    """
    if rows < 1 or (columns is not None and columns < 1):
        raise ValueError(f"dedup: wanted blocks of 1 row and 1 column or more, got {rows} x {columns}")
    name = f"dedup-{rows}" + (f"x{columns}" if columns else "")

    def width(d: int) -> int:
        return d if columns is None else min(columns, d)

    def counted(n: int, d: int) -> tuple[int, int]:
        return -(-n // rows) * -(-d // width(d)), min(rows, n) * width(d)

    def floor(n: int, d: int) -> int:
        count, held = counted(n, d)
        return count * INDEX + held * FLOAT

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        count, held = counted(n, d)
        kept = min(count, (budget - count * INDEX) // (held * FLOAT))
        whole = blocks.cut(np.asarray(matrix), min(rows, n), width(d))
        found = blocks.merged(whole, count - kept)
        unique = whole[found.unique].reshape(-1, min(rows, n), width(d))
        return {"blocks": jnp.asarray(unique), "standing": jnp.asarray(found.standing)}

    def looked_up(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        _, high, wide = kept["blocks"].shape
        _, n, d = kept["shape"].shape
        across = jnp.arange(-(-d // wide), dtype=ids.dtype) * -(-n // high)
        standing = kept["standing"][(ids // high)[:, None] + across[None, :]]
        return kept["blocks"][standing, (ids % high)[:, None]].reshape(len(ids), -1)[:, :d]

    return made(name, floor, fit, looked_up)
