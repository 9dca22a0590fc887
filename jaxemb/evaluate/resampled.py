"""How far a statistic that is no mean may be from that of all items like those at hand."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from jaxemb.evaluate.bootstrap import Interval


def resampled_interval(
    statistic: Callable[[Int[np.ndarray, " n"]], float],
    n: int,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of what `statistic` says of the rows it is handed, drawn with replacement.

    For correlations, average precision or F1; means have the better `interval`.  What is drawn must be what was
    sampled: of the pairs of 50 documents, the documents.

    >>> values = np.arange(9.0)
    >>> print(*resampled_interval(lambda rows: float(np.median(values[rows])), 9))
    1.0 4.0 7.0

    Raises: ValueError for fewer than two items, no resample, a level outside (0, 1), or a statistic that is not finite.
    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", ch. 13.
    """
    if n < 2 or resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"resampled_interval: wanted 2 items or more, 1 resample or more and a level inside (0, 1), got n {n}, "
            f"resamples {resamples} and level {level}"
        )
    chance, tail = np.random.default_rng(seed), (1 - level) / 2
    whole = statistic(np.arange(n))
    drawn = np.array([statistic(chance.integers(0, n, n)) for _ in range(resamples)])
    bad = int((~np.isfinite(np.append(drawn, whole))).sum())
    if bad:
        raise ValueError(f"resampled_interval: the statistic is NaN or infinite for {bad} of {resamples + 1} samples")
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(whole), float(high))
