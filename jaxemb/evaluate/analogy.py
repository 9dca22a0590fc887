"""Analogies: `a` is to `b` as `c` is to which word?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb.evaluate.answers import answer_ranks
from jaxemb.evaluate.checks import finite_vectors, rows_of
from jaxemb.evaluate.pairwise import unit_rows

Rule = Callable[
    [Float[np.ndarray, "b m"], Float[np.ndarray, "b m"], Float[np.ndarray, "b m"]], Float[np.ndarray, "b m"]
]
"""Cosines of every word with `a`, `b` and `c` to one score a word; larger is closer."""


class Analogy(NamedTuple):
    """What was answered.

    rank: of the right word, one a question, from 1; infinite where a word of the question has no vector.
    accuracy: share of all questions with rank 1.
    by_group: group -> the same of its questions, in the order in which groups first stand.
    unknown: how many questions have a word without a vector; each counts as wrong.
    """

    rank: Float[np.ndarray, " n"]
    accuracy: float
    by_group: dict[str, float]
    unknown: int


def three_cos_add(
    a: Float[np.ndarray, "b m"], b: Float[np.ndarray, "b m"], c: Float[np.ndarray, "b m"]
) -> Float[np.ndarray, "b m"]:
    """`cos(x, b) - cos(x, a) + cos(x, c)`.  Source: Mikolov et al. 2013, arXiv:1301.3781."""
    return b - a + c


def three_cos_mul(
    a: Float[np.ndarray, "b m"], b: Float[np.ndarray, "b m"], c: Float[np.ndarray, "b m"]
) -> Float[np.ndarray, "b m"]:
    """`cos'(x, b) cos'(x, c) / (cos'(x, a) + 1e-6)` with `cos' = (1 + cos) / 2`.  Source: Levy & Goldberg 2014."""
    return (1 + b) / 2 * (1 + c) / 2 / ((1 + a) / 2 + 1e-6)


def analogy(
    vectors: Float[np.ndarray, "m d"],
    questions: Int[np.ndarray, "n 4"],
    groups: Sequence[str],
    *,
    rule: Rule = three_cos_add,
    block: int = 1 << 22,
) -> Analogy:
    """Rank all words but the three of each question; `data.analogies` reads questions.

    >>> words = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    >>> found = analogy(words, np.array([[0, 1, 2, 3], [0, 1, 2, 4]]), ["up", "down"])
    >>> found.rank.tolist(), found.by_group
    ([1.0, 2.0], {'up': 1.0, 'down': 0.0})

    Args:
      vectors: of all words that may be the answer, scaled to length one here.
      questions: rows of the words `a`, `b`, `c` and the answer; -1 for a word without a vector.
      groups: what each question is about.
      rule: `three_cos_add` or `three_cos_mul`.
      block: how many scores are held at once, at some 40 bytes each.
    Returns: ranks behind all words whose score is as high.
    Raises: ValueError for no question, a row outside, a vector that is not finite, groups of another number, or an
      answer that is a word of its question and so could never be given.
    """
    finite_vectors("analogy", word=vectors)
    rows_of("analogy", "questions", questions, len(vectors), lowest=-1)
    if len(questions) == 0 or len(groups) != len(questions):
        raise ValueError(f"analogy: wanted a group for each question, got {len(questions)} and {len(groups)} groups")
    known = (questions >= 0).all(axis=1)
    given = np.flatnonzero(known & (questions[:, :3] == questions[:, 3:]).any(axis=1))
    if given.size:
        raise ValueError(f"analogy: the answer of question {given[0]} is a word of the question, which cannot be given")
    rank = np.full(len(questions), np.inf)
    rank[known] = _ranks(unit_rows(vectors), questions[known], rule, block)
    first = rank == 1
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    by_group = {group: float(first[of].mean()) for group, of in rows.items()}
    return Analogy(rank, float(first.mean()), by_group, int((~known).sum()))


def _ranks(
    vectors: Float[np.ndarray, "m d"], questions: Int[np.ndarray, "n 4"], rule: Rule, block: int
) -> Int[np.ndarray, " n"]:
    m, ranks = len(vectors), [np.zeros(0, np.int64)]
    step = max(1, block // m)
    for some in (questions[start : start + step] for start in range(0, len(questions), step)):
        a, b, c = (vectors[some[:, word]] @ vectors.T for word in range(3))
        scores = rule(a, b, c)
        np.put_along_axis(scores, some[:, :3], -np.inf, axis=1)
        ranks.append(answer_ranks(scores, np.arange(m)[None, :] == some[:, 3:]))
    return np.concatenate(ranks)
