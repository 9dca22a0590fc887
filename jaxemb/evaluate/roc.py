"""The area under the curve of true against false positives."""

import numpy as np
from jaxtyping import Bool, Num

from jaxemb.evaluate.checks import same_length
from jaxemb.evaluate.sts import ranks_averaged


def roc_auc(positive: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"]) -> float:
    """How often a pair that belongs together scores higher than one that does not; a tie is half of it.

    >>> roc_auc(np.array([True, False, True]), np.array([0.9, 0.7, 0.7]))
    0.75

    Returns: 1 where all positives stand above, 0.5 by chance.
    Raises: ValueError for pairs of one kind only, a score that is NaN, or lists of different lengths.
    """
    same_length("roc_auc", positive=positive, scores=scores)
    if np.isnan(scores).any():
        raise ValueError(f"roc_auc: {int(np.isnan(scores).sum())} of {scores.size} scores are NaN")
    yes = int(positive.sum())
    no = positive.size - yes
    if not yes or not no:
        raise ValueError(f"roc_auc: wanted pairs of both kinds, got {yes} that belong together and {no} that do not")
    return float((ranks_averaged(scores)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))
