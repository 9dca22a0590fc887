"""Which candidates may be negatives, judged by their scores, and which of those are taken."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Rule(NamedTuple):
    """Says of candidates whether they may be negatives.

    name: what a report calls the candidates that it drops.
    keeps: (score of the query's own document, scores `[c]` of candidates) -> True for those that stay.
    adapts: whether it reads the first, so that it needs to be known.
    """

    name: str
    keeps: Callable[[float, Float[np.ndarray, " c"]], Bool[np.ndarray, " c"]]
    adapts: bool = True


def absolute_margin(margin: float) -> Rule:
    """Keep candidates that score at least `margin` below the query's own document; 0 drops those that beat it.

    >>> absolute_margin(0.25).keeps(1.0, np.array([0.875, 0.75, 0.5])).tolist()
    [False, True, True]

    Args:
      margin: in units of the scores; 0 or more.
    Source: Moreira et al. 2024, arXiv:2407.15831 (NV-Retriever), TopK-MarginPos.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"absolute_margin: wanted a margin of 0 or more, got {margin}")
    return Rule(f"absolute margin {margin}", lambda positive, scores: scores <= positive - margin)


def relative_margin(share: float) -> Rule:
    """Keep candidates that score at most `share` of what the query's own document does.

    It is for scores above 0, as cosines and sigmoids mostly are: a score below 0 would turn the rule round.  Sigmoids
    near 1 are hardly told apart by it: take logits with an absolute margin there.

    >>> relative_margin(0.75).keeps(1.0, np.array([0.875, 0.75, 0.5])).tolist()
    [False, True, True]

    Args:
      share: above 0, at most 1; 0.95 is the paper's.
    Raises: ValueError; the rule's own when a query's own document scores 0 or less.
    Source: Moreira et al. 2024, arXiv:2407.15831 (NV-Retriever), TopK-PercPos.
    """
    if not 0 < share <= 1:
        raise ValueError(f"relative_margin: wanted a share above 0 and at most 1, got {share}")

    def keeps(positive: float, scores: Float[np.ndarray, " c"]) -> Bool[np.ndarray, " c"]:
        if positive <= 0:
            raise ValueError(
                f"relative_margin: wanted the query's own document to score above 0, got {positive:.4g}; "
                "take an absolute margin"
            )
        return scores <= share * positive

    return Rule(f"relative margin {share}", keeps)


def at_most(score: float) -> Rule:
    """Keep candidates that score no more than `score`, whatever the query's own document does."""
    if not math.isfinite(score):
        raise ValueError(f"at_most: wanted a finite score, got {score}")
    return Rule(f"at most {score}", lambda _, scores: scores <= score, adapts=False)


Pick = Callable[[np.random.Generator, float, Float[np.ndarray, " c"], int], Int[np.ndarray, " n"]]
"""(draw, score of the query's own document, scores `[c]` best first, n) -> which `n` of them are taken, `n <= c`."""


def top(draw: np.random.Generator, positive: float, scores: Float[np.ndarray, " c"], n: int) -> Int[np.ndarray, " n"]:
    """The first `n`."""
    return np.arange(n)


def uniform(
    draw: np.random.Generator, positive: float, scores: Float[np.ndarray, " c"], n: int
) -> Int[np.ndarray, " n"]:
    """Any `n`, each as likely as another; the best first."""
    return np.sort(draw.choice(len(scores), n, replace=False))
