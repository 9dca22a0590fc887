"""How much of the exact float32 answer a search returns.

The truth is computed here, from the vectors, and never taken from the system
that is measured.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

ROUNDING = 1e-6  # of a product of two lengths: what summing a few hundred products in float32 may be off by


class Neighbours(NamedTuple):
    """The `k` documents with the largest inner products, and the vectors that say so.

    rows: best first; equal scores by row.
    scores: of the same documents, summed in float64 from the float32 vectors.
    """

    query: Float[np.ndarray, "b d"]
    document: Float[np.ndarray, "n d"]
    rows: Int[np.ndarray, "b k"]
    scores: Float[np.ndarray, "b k"]


def inner(
    query: Float[np.ndarray, "b d"], document: Float[np.ndarray, "n d"], rows: Int[np.ndarray, "b k"]
) -> Float[np.ndarray, "b k"]:
    """Inner products of each query with its rows, summed in float64; minus infinity at row -1."""
    wide = query.astype(np.float64)
    scores = [np.einsum("kd,d->k", document[row].astype(np.float64), one) for row, one in zip(rows, wide, strict=True)]
    return np.where(rows >= 0, np.array(scores, np.float64).reshape(rows.shape), -np.inf)


def neighbours(
    query: Float[np.ndarray, "b d"], document: Float[np.ndarray, "n d"], k: int, *, block: int = 1 << 22
) -> Neighbours:
    """The exact nearest documents by inner product; scale both to length one for the cosine.

    Args:
      k: how many, at most the number of documents.
      block: how many scores are held at once, at about 12 bytes each.
    Raises: ValueError when `k` is below 1 or above `n`, or a vector holds NaN or infinity.
    """
    n = document.shape[0]
    if not 1 <= k <= n:
        raise ValueError(f"neighbours: k must be from 1 to the {n} documents, got {k}")
    for what, vectors in (("query", query), ("document", document)):
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise ValueError(f"neighbours: {what} {bad[0]} is not finite ({bad.size} of {len(vectors)} are not)")
    query, document = query.astype(np.float32, copy=False), document.astype(np.float32, copy=False)
    spare = k + 16  # float32 may put a near-tie of rank k a few ranks too low; float64 then sorts it out
    chunk = max(1, block // max(1, query.shape[0]))
    rows = np.zeros((query.shape[0], 0), np.int64)
    scores = np.zeros((query.shape[0], 0), np.float32)
    for start in range(0, n, chunk):
        some = query @ document[start : start + chunk].T
        best = _largest(some, spare)
        rows = np.concatenate([rows, best + start], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(some, best, 1)], axis=1)
        best = _largest(scores, spare)
        rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
    exact = inner(query, document, rows)
    order = np.lexsort((rows, -exact), axis=1)[:, :k]
    return Neighbours(query, document, np.take_along_axis(rows, order, 1), np.take_along_axis(exact, order, 1))


def _largest(scores: Float[np.ndarray, "b n"], k: int) -> Int[np.ndarray, "b k"]:
    """Where the `k` largest of each row are, in no order; all of them where there are fewer."""
    n = scores.shape[1]
    return np.argpartition(scores, n - k, axis=1)[:, n - k :] if k < n else np.tile(np.arange(n), (len(scores), 1))


def fidelity(found: Int[np.ndarray, "b m"], truth: Neighbours, *, k: int) -> Float[np.ndarray, " b"]:
    """Share of the exact `k` nearest that is among the first `k` found, one value a query.

    A document found counts when its own exact score reaches that of the `k`-th
    nearest, so that it does not matter which of several equally near ones is
    returned; scores closer than float32 can tell apart are equal
    (`1e-6 |query| |document|`).

    >>> truth = neighbours(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 1)
    >>> print(fidelity(np.array([[0], [0]]), truth, k=1))
    [1. 0.]

    Args:
      found: rows, best first; row -1 stands for no document.
      truth: from `neighbours` with as many or more.
    Raises: ValueError for a row outside the documents, a document found twice, or `k` beyond `truth`.
    Source: Aumüller et al. 2020, "ANN-Benchmarks", recall by distance; the slack is ours.
    """
    if not 1 <= k <= truth.rows.shape[1]:
        raise ValueError(f"fidelity: k must be from 1 to the {truth.rows.shape[1]} neighbours known, got {k}")
    first = found[:, :k]
    if first.size and (first.max() >= len(truth.document) or first.min() < -1):
        wrong = first.max() if first.max() >= len(truth.document) else first.min()
        raise ValueError(f"fidelity: found row {wrong} of {len(truth.document)} documents")
    ordered = np.sort(first, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"fidelity: query {int(np.argmax(twice))} found a document twice")
    last = truth.rows[:, k - 1]
    slack = ROUNDING * np.linalg.norm(truth.query, axis=1) * np.linalg.norm(truth.document[last], axis=1)
    threshold = truth.scores[:, k - 1] - slack
    return (inner(truth.query, truth.document, first) >= threshold[:, None]).sum(axis=1) / k
