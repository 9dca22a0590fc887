"""What searches find: checked, put together, and rid of what answers the query."""

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

Search = Callable[[Any, int], tuple[np.ndarray, np.ndarray]]
"""(`b` queries, k) -> rows of documents and their scores, both `[b, k]`, best first; row -1 where there is no more.

`search` of every index is one, for vectors."""


def hybrid(*searches: Search, constant: float = 60.0) -> Search:
    """One search of several, as of words and of vectors: the best of all that they find.

    Scores of different kinds do not compare, so ranks count: a document has the sum of `1 / (constant + rank)` over the
    searches that find it.  Such scores tell nothing of margins: rules want a teacher beside them.

    Args:
      searches: all read the same queries and know documents by the same rows.
      constant: above 0; the larger, the less the first ranks count.
    Source: Cormack, Clarke, Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet".
    """
    if not searches or not constant > 0:
        raise ValueError(f"hybrid: wanted searches and a constant above 0, got {len(searches)} and {constant}")

    def search(queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
        each = [np.asarray(one(queries, k)[0]) for one in searches]
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf)
        for query in range(len(queries)):
            fused: dict[int, float] = {}
            for found in each:
                for rank, row in enumerate(found[query].tolist(), start=1):
                    if row >= 0:
                        fused[row] = fused.get(row, 0.0) + 1 / (constant + rank)
            best = sorted(fused.items(), key=lambda item: (-item[1], item[0]))[:k]
            for place, (row, score) in enumerate(best):
                rows[query, place], scores[query, place] = row, score
        return rows, scores

    return search


def keys(what: str, texts: Iterable[str], count: int) -> UInt64[np.ndarray, " n"]:
    """A number for each of `count` texts: 64 bits of a hash that depends on nothing else.

    Raises: ValueError for an empty text, or one that no file can hold, by its place.
    """
    found = np.empty(count, np.uint64)
    for row, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"{what} {row}: wanted a text that is not empty, got {text!r}")
        try:
            found[row] = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
        except UnicodeEncodeError as broken:
            raise ValueError(f"{what} {row}: wanted Unicode text, got {broken.reason}") from broken
    return found


def hits(found: Any, b: int, size: int) -> tuple[Int64[np.ndarray, "b k"], Float64[np.ndarray, "b k"]]:
    """What a search gave for `b` queries over `size` documents.

    Raises: ValueError for another shape, rows that are not there, and scores that are not finite or rise, as distances
      do: rules with a margin would keep what is nearest.
    """
    rows, scores = np.asarray(found[0]), np.asarray(found[1])
    if rows.ndim != 2 or len(rows) != b or scores.shape != rows.shape or rows.dtype.kind not in "iu":
        raise ValueError(
            f"search: wanted whole rows and scores, both [{b}, k], got {rows.dtype} {list(rows.shape)} "
            f"and {scores.dtype} {list(scores.shape)}"
        )
    rows, scores = rows.astype(np.int64), scores.astype(np.float64)
    if ((rows < -1) | (rows >= size)).any():
        raise ValueError(f"search: wanted rows from 0 to {size - 1}, or -1 for none, got {rows.min()} to {rows.max()}")
    if not np.isfinite(scores[rows >= 0]).all():
        raise ValueError("search: wanted finite scores, got NaN or infinity")
    lowest = np.minimum.accumulate(np.where(rows >= 0, scores, np.inf), axis=1)
    if (rising := (rows >= 0) & (scores > lowest)).any():
        query, place = np.argwhere(rising)[0]
        raise ValueError(
            f"search: wanted the best first, larger scores for closer documents, got {scores[query, place]:.4g} after "
            f"{lowest[query, place]:.4g}; give distances another sign"
        )
    return rows, scores


class Answers:
    """What answers a query, by text: the documents of all pairs that ask it."""

    def __init__(self, query: UInt64[np.ndarray, " n"], document: UInt64[np.ndarray, " n"]) -> None:
        order = np.argsort(query, kind="stable")
        self._query, self._document = query[order], document[order]
        self.most = int(np.unique(query, return_counts=True)[1].max())

    def __call__(self, query: np.uint64) -> UInt64[np.ndarray, " a"]:
        """Keys of the documents that answer the query with this key."""
        first, end = np.searchsorted(self._query, query, "left"), np.searchsorted(self._query, query, "right")
        return self._document[first:end]


class Candidates(NamedTuple):
    """Documents that may be negatives of one query: rows, keys of their texts, scores, and ranks in the search."""

    rows: Int64[np.ndarray, " c"]
    keys: UInt64[np.ndarray, " c"]
    scores: Float64[np.ndarray, " c"]
    ranks: Int64[np.ndarray, " c"]

    def at(self, which: Bool[np.ndarray, " c"] | Int64[np.ndarray, " m"]) -> "Candidates":
        """Some of them."""
        return Candidates(*(part[which] for part in self))


def candidates(
    rows: Int64[np.ndarray, " k"],
    scores: Float64[np.ndarray, " k"],
    keys: UInt64[np.ndarray, " k"],
    *,
    answers: UInt64[np.ndarray, " a"],
    ranks: tuple[int, int],
) -> tuple[Candidates, Counter[str]]:
    """What is left of one query's hits, and how many were dropped for which reason.

    Answers go first, then later copies of a text; what is left is ranked, from 0.
    """
    answering = np.isin(keys, answers)
    copies = np.ones(len(keys), bool)
    copies[np.unique(keys, return_index=True)[1]] = False
    stay = ~answering & ~copies
    order = np.cumsum(stay) - 1
    early, late = stay & (order < ranks[0]), stay & (order >= ranks[1])
    dropped = {
        "answers the query": answering,
        "repeats a text": copies & ~answering,
        f"before rank {ranks[0]}": early,
        f"after rank {ranks[1] - 1}": late,
    }
    kept = Candidates(rows, keys, scores, order).at(stay & ~early & ~late)
    return kept, Counter({reason: int(which.sum()) for reason, which in dropped.items() if which.any()})
