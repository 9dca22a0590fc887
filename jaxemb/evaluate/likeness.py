"""Graded pairs of words, sentences or documents: does the similarity of their vectors follow what people said?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from jaxemb.evaluate.checks import finite_vectors, rows_of, same_length
from jaxemb.evaluate.pairwise import Pairwise, cosines
from jaxemb.evaluate.sts import pearson, spearman


class Likeness(NamedTuple):
    """How far similarities and people's scores go together, from -1 to 1, and what that is computed from.

    pearson: of the numbers; the one that is told of documents.
    spearman: of the ranks; the one that is told of words and sentences, and MTEB's.
    similarities: one a pair, for `resampled_interval`.
    """

    pearson: float
    spearman: float
    similarities: Float[np.ndarray, " p"]


def likeness(
    vectors: Float[np.ndarray, "n d"],
    first: Int[np.ndarray, " p"],
    second: Int[np.ndarray, " p"],
    scores: Num[np.ndarray, " p"],
    *,
    similarity: Pairwise = cosines,
) -> Likeness:
    """`sts` of pairs that are told by rows, so that each text is embedded once.

    `data.word_similarity` and `data.sentence_similarity` read such pairs: of words, of the news texts of Lee, and of
    sentences from files.

    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> found = likeness(vectors, np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([9, 1, 5]))
    >>> round(found.spearman, 3), found.similarities.tolist()
    (1.0, [0.8, 0.0, 0.6])

    Args:
      first, second: rows of `vectors`, one pair a place.
      scores: larger is more alike, in any unit.
      similarity: MTEB tells `cosines`, and `euclideans` and `manhattans` beside.
    Raises: ValueError for a vector that is not finite, a row outside, lists of different lengths; and as `pearson`.
    """
    finite_vectors("likeness", text=vectors)
    same_length("likeness", first=first, second=second, scores=scores)
    for name, rows in (("first", first), ("second", second)):
        rows_of("likeness", name, rows, len(vectors))
    alike = similarity(vectors[first], vectors[second])
    return Likeness(pearson(alike, scores), spearman(alike, scores), alike)
