"""Reverse dictionary: from a definition to the word it defines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb.evaluate.answers import answer_ranks, blocks_of_cosines
from jaxemb.evaluate.checks import finite_vectors, rows_of, same_length


class ReverseDictionary(NamedTuple):
    """Where the right entries stand among all.

    rank: one a definition, from 1.
    recall: k -> share of definitions whose entry is among the first k.
    median_rank: of all definitions.
    mrr: mean of 1 / rank, without a cut.
    """

    rank: Int[np.ndarray, " n"]
    recall: dict[int, float]
    median_rank: float
    mrr: float


def reverse_dictionary(
    definition: Float[np.ndarray, "n d"],
    entry: Float[np.ndarray, "m d"],
    answer: Int[np.ndarray, "n a"],
    *,
    ks: Sequence[int] = (1, 10),
) -> ReverseDictionary:
    """Rank all entries by their cosine with each definition.

    >>> entry = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> found = reverse_dictionary(np.array([[1.0, 0.1], [0.9, 0.1]]), entry, np.array([[0], [1]]), ks=(1, 2))
    >>> found.rank.tolist(), found.recall, found.mrr
    ([1, 2], {1: 0.5, 2: 1.0}, 0.75)

    Args:
      entry: a vector for each word that could be meant.
      answer: rows of `entry` that are right; where a definition has fewer than `a`, -1 fills up.  The best counts.
      ks: ranks at which recall is told.
    Returns: ranks behind all entries whose cosine is as high.
    Raises: ValueError for a vector that is not finite, a definition without an answer, a row outside the entries, or a
      `k` that is below 1 or above their number.
    Source: Hill et al. 2016, "Learning to understand phrases by embedding the dictionary".
    """
    what, m = "reverse_dictionary", len(entry)
    finite_vectors(what, definition=definition, entry=entry)
    same_length(what, definition=definition, answer=answer)
    rows_of(what, "answer", answer, m, lowest=-1)
    missing = np.flatnonzero((answer < 0).all(axis=1))
    if missing.size:
        raise ValueError(f"{what}: definition {missing[0]} has no answer ({missing.size} of {len(answer)} have none)")
    wrong = [k for k in ks if not 1 <= k <= m]
    if wrong:
        raise ValueError(f"{what}: k must be from 1 to the {m} entries, got {wrong[0]}")

    def judge(span: slice, scores: Float[np.ndarray, "b m"]) -> Int[np.ndarray, " b"]:
        right = np.zeros((len(scores), m + 1), bool)  # the last column takes the -1
        np.put_along_axis(right, answer[span], True, axis=1)
        return answer_ranks(scores, right[:, :m])

    rank = blocks_of_cosines(definition, entry, judge)
    recall = {k: float((rank <= k).mean()) for k in ks}
    return ReverseDictionary(rank, recall, float(np.median(rank)), float((1 / rank).mean()))
