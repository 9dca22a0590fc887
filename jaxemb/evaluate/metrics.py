"""Metrics of one ranked list, as their expected value over every order of the documents that tie.

A sort has to put tied documents in some order, and codes of a few bits tie
often: whichever order it picks, the number depends on the sort and not on the
system.  The expectation over all orders does not, and where nothing ties it is
the ordinary metric.

Source: McSherry & Najork 2008, "Computing information retrieval performance
measures efficiently in the presence of tied scores".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

Gain = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
"""Grades, 0 or more, to gains; 0 must give 0."""


class Ranking(NamedTuple):
    """What one query found, in any order, and what is known to answer it.

    scores: of the documents found; larger is closer; equal ones tie.
    grades: of the same documents, 0 where nobody judged them; below 1 is not relevant.
    judged: grades of all documents judged for the query, found or not.
    by_id: place of the same documents when sorted by their ids; only `as_trec_eval` reads it.
    """

    scores: Num[np.ndarray, " n"]
    grades: Int[np.ndarray, " n"]
    judged: Int[np.ndarray, " j"]
    by_id: Int[np.ndarray, " n"]


Metric = Callable[..., float]
"""A ranking to one number; what else it needs, such as `k`, comes by keyword."""


def linear(grades: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The grade itself: trec_eval's gain, and so that of ir-measures' `nDCG`."""
    return grades


def exponential(grades: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """`2^grade - 1`.  Source: Burges et al. 2005, "Learning to rank using gradient descent"."""
    return np.exp2(grades) - 1.0


class _Groups(NamedTuple):
    order: Int[np.ndarray, " n"]  # best first
    starts: Int[np.ndarray, " g"]  # where in `order` each group of equal scores begins
    sizes: Int[np.ndarray, " g"]


def _groups(ranking: Ranking, k: int) -> _Groups:
    if k < 1:
        raise ValueError(f"a metric at k needs k of 1 or more, got {k}")
    scores = ranking.scores
    if np.isnan(scores).any():
        raise ValueError(f"NaN is no score: {int(np.isnan(scores).sum())} of {scores.size} documents have it")
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, ranked.size), bool), ranked[1:] != ranked[:-1]]))
    return _Groups(order, starts, np.diff(starts, append=ranked.size))


def _expected(values: Float[np.ndarray, " n"], groups: _Groups, k: int) -> Float[np.ndarray, " m"]:
    """At each rank to `k`, the mean of the values that may stand there."""
    if values.size == 0:
        return values
    means = np.add.reduceat(values[groups.order], groups.starts) / groups.sizes
    return np.repeat(means, groups.sizes)[:k]


def _discounted(gains: Float[np.ndarray, " m"]) -> float:
    return float(np.sum(gains / np.log2(np.arange(2, gains.size + 2))))


def _positive(grades: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.maximum(grades, 0).astype(np.float64)


def ndcg(ranking: Ranking, *, k: int, gain: Gain = linear) -> float:
    """Expected discounted gain of the first `k`, over that of the best list anyone could give.

    With `g_r` the mean gain of the documents that tie for rank `r`:

        ndcg = sum_{r<=k} g_r / log2(r + 1)  /  the same sum over all judged documents, best first

    >>> one = np.array([1])
    >>> second = Ranking(np.array([0.9, 0.8]), np.array([0, 1]), one, np.array([0, 1]))
    >>> print(round(ndcg(second, k=10), 4), round(ndcg(second._replace(scores=np.array([0.8, 0.8])), k=10), 4))
    0.6309 0.8155

    Args:
      k: how many documents a reader looks at, >= 1.
      gain: what a grade is worth; grades below 0 count as 0.
    Returns: in [0, 1]; 1 is the best possible order, and 0 a query for which nothing is relevant, as in trec_eval.
    Raises: ValueError when a score is NaN, or `k` is below 1.
    Source: Järvelin & Kekäläinen 2002, with McSherry & Najork 2008.
    """
    best = _discounted(np.sort(gain(_positive(ranking.judged)))[::-1][:k])
    found = _discounted(_expected(gain(_positive(ranking.grades)), _groups(ranking, k), k))
    return found / best if best > 0 else 0.0


def mrr(ranking: Ranking, *, k: int) -> float:
    """Expected reciprocal of the rank of the first relevant document (grade >= 1), 0 beyond rank `k`.

    Of `m` documents that tie behind `s` better ones, with `r` relevant among
    them, the first relevant one stands `j`-th with probability

        p_j = r / (m - j + 1) * prod_{i<j-1} (m - r - i) / (m - i)

    >>> tied = Ranking(np.array([0.5, 0.5]), np.array([0, 1]), np.array([1]), np.array([0, 1]))
    >>> mrr(tied, k=10)
    0.75

    Raises: ValueError when a score is NaN, or `k` is below 1.
    Source: McSherry & Najork 2008.
    """
    groups = _groups(ranking, k)
    relevant = (ranking.grades >= 1)[groups.order]
    if not relevant.any():
        return 0.0
    inside = np.searchsorted(groups.starts, np.argmax(relevant), side="right") - 1
    start, size = int(groups.starts[inside]), int(groups.sizes[inside])
    answers = int(relevant[start : start + size].sum())
    before = np.arange(max(0, min(size - answers + 1, k - start)))  # others of the group that stand ahead of the first
    none_yet = np.cumprod(np.concatenate([[1.0], (size - answers - before) / (size - before)]))[: before.size]
    return float(np.sum(none_yet * answers / (size - before) / (start + before + 1)))


def recall(ranking: Ranking, *, k: int) -> float:
    """Expected share of all relevant documents (grade >= 1) that is among the first `k`.

    >>> tied = Ranking(np.array([0.5, 0.5]), np.array([0, 1]), np.array([1, 1]), np.array([0, 1]))
    >>> recall(tied, k=1)
    0.25

    Returns: in [0, 1]; 0 for a query for which nothing is relevant, as in trec_eval.
    Raises: ValueError when a score is NaN, or `k` is below 1.
    Source: McSherry & Najork 2008.
    """
    found = _expected((ranking.grades >= 1).astype(np.float64), _groups(ranking, k), k)
    relevant = int((ranking.judged >= 1).sum())
    return float(found.sum()) / relevant if relevant else 0.0


def average_precision(ranking: Ranking, *, k: int) -> float:
    """Expected mean of the precision at each relevant document (grade >= 1), 0 for those beyond rank `k`.

    Of `m` documents that tie behind `s` better ones, `r` are relevant; with `a` relevant ones ahead of them, the
    `j`-th place of the group adds

        r / m * (a + 1 + (j - 1) (r - 1) / (m - 1)) / (s + j)

    >>> tied = Ranking(np.array([0.5, 0.5]), np.array([0, 1]), np.array([1]), np.array([0, 1]))
    >>> average_precision(tied, k=10)
    0.75

    Returns: in [0, 1]; its mean over queries is MAP; 0 for a query for which nothing is relevant, as in trec_eval.
    Raises: ValueError when a score is NaN, or `k` is below 1.
    Source: McSherry & Najork 2008.
    """
    groups, relevant = _groups(ranking, k), int((ranking.judged >= 1).sum())
    if ranking.scores.size == 0 or relevant == 0:
        return 0.0
    inside = np.add.reduceat((ranking.grades >= 1)[groups.order].astype(np.float64), groups.starts)
    ahead = np.cumsum(inside) - inside
    sizes, answers, before = (np.repeat(one, groups.sizes) for one in (groups.sizes, inside, ahead))
    rank = np.arange(1, sizes.size + 1)
    others = (rank - 1 - np.repeat(groups.starts, groups.sizes)) / np.maximum(sizes - 1, 1)
    adds = answers / sizes * (before + 1 + others * (answers - 1)) / rank
    return float(adds[:k].sum()) / relevant


def tied(ranking: Ranking, *, k: int) -> float:
    """1 where `ndcg` at `k` hangs on the order of ties, else 0; its mean over queries is the tie rate.

    That is where a group of equal scores holds a rank of `k` or better and two
    documents of different gain.
    """
    groups = _groups(ranking, k)
    worth = _positive(ranking.grades)[groups.order]
    if worth.size == 0:
        return 0.0
    mixed = np.maximum.reduceat(worth, groups.starts) != np.minimum.reduceat(worth, groups.starts)
    return float((mixed & (groups.starts < k)).any())


def as_trec_eval(metric: Metric) -> Metric:
    """`metric` of the one order that trec_eval would give the list: by score in float32, then by larger document id.

    Ids are compared byte by byte in UTF-8, which is the order of Python's `str`.
    """

    def broken(ranking: Ranking, **kwargs: Any) -> float:
        with np.errstate(over="ignore"):  # beyond float32 is infinite there too
            order = np.lexsort((-ranking.by_id, -ranking.scores.astype(np.float32)))
        distinct = -np.arange(order.size, dtype=np.float64)
        return metric(Ranking(distinct, ranking.grades[order], ranking.judged, ranking.by_id[order]), **kwargs)

    return broken
