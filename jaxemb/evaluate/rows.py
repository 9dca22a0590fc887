"""Metrics of rows that were found, all queries at once: for choosing among many on the way, without ids or ties."""

import numpy as np
from jaxtyping import Float, Int


def row_ndcg(found: Int[np.ndarray, "q k"], relevant: Int[np.ndarray, "q r"]) -> Float[np.ndarray, " q"]:
    """nDCG of each query's list, as long as it is, in which every relevant row is worth the same.

    >>> print(row_ndcg(np.array([[7, 3], [1, 2]]), np.array([[3, -1], [2, 1]])).round(4))
    [0.6309 1.    ]

    Args:
      found: the nearest rows, best first; -1 where nothing was found.
      relevant: rows that answer the query, filled up with -1.
    Returns: in [0, 1]; 0 for a query without a relevant row.  Equal to `metrics.ndcg` where no scores tie.
    Raises: ValueError for lists of another number of queries.
    """
    if len(found) != len(relevant):
        raise ValueError(
            f"row_ndcg: wanted one list of relevant rows for each of {len(found)} queries, got {len(relevant)}"
        )
    worth = 1 / np.log2(np.arange(found.shape[1]) + 2)
    hit = ((found[:, :, None] == relevant[:, None, :]) & (relevant >= 0)[:, None, :]).any(axis=2)
    best = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum((relevant >= 0).sum(axis=1), found.shape[1])]
    return (hit * worth[None, :]).sum(axis=1) / np.where(best > 0, best, 1)
