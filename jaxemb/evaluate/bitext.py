"""Bitext mining: which sentence of the other language says the same?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxemb.evaluate.answers import blocks_of_cosines
from jaxemb.evaluate.checks import finite_vectors, rows_of, same_length
from jaxemb.evaluate.labels import by_label, weighted


class Bitext(NamedTuple):
    """How well nearest neighbours are translations.

    f1, precision, recall: each second sentence is a label; their mean, weighed by how often it is the right one.
    accuracy: share of first sentences whose nearest is right.
    nearest: row of the second side, one a first sentence.
    right: whether it is the right one, for `interval`.
    """

    f1: float
    precision: float
    recall: float
    accuracy: float
    nearest: Int[np.ndarray, " n"]
    right: Bool[np.ndarray, " n"]


def bitext(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"], gold: Int[np.ndarray, " n"] | None = None
) -> Bitext:
    """Take the nearest by cosine for every first sentence.

    >>> found = bitext(np.array([[1.0, 0.1], [0.9, 0.3], [0.0, 1.0]]), np.eye(3, 2)[[0, 1, 2]], np.array([0, 1, 1]))
    >>> found.nearest.tolist(), round(found.accuracy, 3), round(found.f1, 3)
    ([0, 0, 1], 0.667, 0.667)

    Args:
      gold: row of `second` that is right for each first sentence; the row beside it if it is left out.
    Returns: f1 is MTEB's main score; where several second sentences are as near, one of them is taken.
    Raises: ValueError for an empty side, vectors that are not finite, sides of different lengths without `gold`, or a
      row outside the second side.
    Source: Muennighoff et al. 2023, "MTEB", arXiv:2210.07316.
    """
    finite_vectors("bitext", first=first, second=second)
    if gold is None:
        same_length("bitext without gold", first=first, second=second)
        gold = np.arange(len(first))
    same_length("bitext", first=first, gold=gold)
    rows_of("bitext", "gold", gold, len(second))
    nearest = blocks_of_cosines(first, second, lambda _, scores: scores.argmax(axis=1))
    found, right = by_label(gold, nearest), nearest == gold
    f1, precision, recall = (weighted(values, found.support) for values in (found.f1, found.precision, found.recall))
    return Bitext(f1, precision, recall, float(right.mean()), nearest, right)
