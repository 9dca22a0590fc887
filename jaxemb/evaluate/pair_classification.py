"""Pair classification: does a threshold on the similarity tell pairs that belong together from those that do not?"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from jaxemb.evaluate.checks import finite_vectors, same_length
from jaxemb.evaluate.pairwise import PAIRWISE, Pairwise
from jaxemb.evaluate.thresholds import Thresholds, area, thresholds


class PairClassification(NamedTuple):
    """What one similarity tells of the pairs.

    ap: average precision, over all thresholds; MTEB's main score is the largest of all similarities.
    accuracy: at the threshold that is best for it.
    f1, precision, recall: at the threshold that is best for `f1`.
    accuracy_threshold, f1_threshold: the two, half way between the scores they part; NaN where all are equal.
    similarities: one a pair, larger is closer, for `resampled_interval`.
    """

    ap: float
    accuracy: float
    f1: float
    precision: float
    recall: float
    accuracy_threshold: float
    f1_threshold: float
    similarities: Float[np.ndarray, " n"]


def pair_classification(
    first: Float[np.ndarray, "n d"],
    second: Float[np.ndarray, "n d"],
    labels: Num[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    similarities: Mapping[str, Pairwise] = PAIRWISE,
) -> dict[str, PairClassification]:
    """Judge pairs by each similarity.

    The best thresholds are picked on the very pairs they are told of, so accuracy and F1 are the most that could be
    had; as in MTEB a threshold lies between two different similarities, so all pairs or none are never let through.

    >>> right, up = [1.0, 0.0], [0.0, 1.0]
    >>> found = pair_classification(np.array([right, right]), np.array([right, up]), np.array([1, 0]))
    >>> list(found), found["cosine"].ap, found["cosine"].f1_threshold
    (['cosine', 'dot', 'euclidean', 'manhattan'], 1.0, 0.5)

    Args:
      labels: 1 for pairs that belong together, else 0.
    Returns: name of the similarity -> what it tells; `max(one.ap for one in found.values())` is MTEB's main score.
    Raises: ValueError for no pair, sides of different lengths, a vector that is not finite, a label other than 0 and 1,
      or pairs of one kind only.
    Source: Muennighoff et al. 2023, "MTEB", arXiv:2210.07316.
    """
    same_length("pair_classification", first=first, second=second, labels=labels)
    finite_vectors("pair_classification", first=first, second=second)
    odd = labels[(labels != 0) & (labels != 1)]
    if odd.size:
        raise ValueError(f"pair_classification: a label is 0 or 1, got {odd[0]}")
    positive = labels == 1
    if positive.all() or not positive.any():
        raise ValueError(f"pair_classification: wanted labels of both kinds, all {labels.size} are {labels[0]}")
    return {name: _judged(positive, similarity(first, second)) for name, similarity in similarities.items()}


def _judged(positive: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> PairClassification:
    found = thresholds(positive, scores)
    total, n = int(positive.sum()), positive.size
    between = Thresholds(*(column[:-1] for column in found))  # the last one lets all through
    if between.taken.size == 0:
        return PairClassification(area(found), 0.0, 0.0, 0.0, 0.0, np.nan, np.nan, scores)
    middle = (found.score[:-1] + found.score[1:]) / 2
    accuracy = (2 * between.right - between.taken + n - total) / n
    precision, recall = between.right / between.taken, between.right / total
    f1 = 2 * between.right / (between.taken + total)
    exact, balanced = int(np.argmax(accuracy)), int(np.argmax(f1))
    return PairClassification(
        area(found),
        float(accuracy[exact]),
        float(f1[balanced]),
        float(precision[balanced]),
        float(recall[balanced]),
        float(middle[exact]),
        float(middle[balanced]),
        scores,
    )
