"""The numbers of largest magnitude, and zeros for the rest."""

import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.compress.matrix.form import MatrixCompressor, made
from jaxemb.encode.tables import sparse
from jaxemb.types import Params


def pruned() -> MatrixCompressor:
    """Keep as many numbers as the budget holds, the largest by magnitude; the others become zero.

    They are stored by rows or by entries, in the layout that holds more: by entries where less than two places a row
    fit, which for columns of four bytes is at less than three numbers a row.  Its name is `pruned`.

    >>> keep = pruned()
    >>> kept = keep.compress(np.array([[0.1, -5.0, 0.2], [0.0, 3.0, 0.1]], np.float32), 18)
    >>> print(keep.decompress(kept))
    [[ 0. -5.  0.]
     [ 0.  3.  0.]]

    Raises: ValueError, in `compress`, for a budget below one number, or one of 2^31 numbers.
    Source: Deng et al. 2021, arXiv:2002.06987, sec. 4 (magnitude); the two layouts are those of compressed sparse rows
      and of coordinates.
    """

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        count = sparse.kept(n, d, budget)
        if count >= 2**31:
            raise ValueError(f"pruned: {count} numbers need 64-bit places; wanted fewer than 2**31")
        whole = np.asarray(matrix)
        return sparse.stored(whole, sparse.largest(whole, count))

    def rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        return sparse.rows_of(kept, ids, kept["shape"].shape[2])

    return made("pruned", lambda n, d: sparse.bytes_of(n, d, 1), fit, rows)
