"""Pairs that are fit to train on: those of a source that do not score lowest, and those with sound negatives."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from jaxemb.data.pairs import Pair


def above_quantile(
    scores: Float[np.ndarray, " n"], source: Sequence[str], quantile: float | Mapping[str, float]
) -> Bool[np.ndarray, " n"]:
    """Which pairs stay when those below a quantile of their own source's scores go.

    >>> above_quantile(np.array([0.9, 0.1, 0.3, 0.2]), ["a", "a", "b", "b"], 0.5).tolist()
    [True, False, True, False]

    Args:
      scores: how well a model finds each document to answer its query; larger is better.
      source: of each pair.
      quantile: the share that goes, in [0, 1); one for all, or one a source.
    Raises: ValueError for another number of sources than of scores, scores that are not finite, a quantile out of
      range, and a source without one.
    """
    if len(scores) != len(source):
        raise ValueError(f"above_quantile: {len(scores)} scores need as many sources, got {len(source)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"above_quantile: wanted finite scores, got {scores[~np.isfinite(scores)][0]}")
    names = sorted(set(source))
    shares = quantile if isinstance(quantile, Mapping) else dict.fromkeys(names, quantile)
    if unknown := [name for name in names if name not in shares]:
        raise ValueError(f"above_quantile: no quantile of the sources {unknown}; there are {sorted(shares)}")
    if odd := {name: share for name, share in shares.items() if not 0 <= share < 1}:
        raise ValueError(f"above_quantile: quantiles must be at least 0 and below 1, got {odd}")
    of = np.asarray(source)
    bounds = {name: np.quantile(scores[of == name], shares[name]) for name in names}
    return scores >= np.array([bounds[name] for name in source])


def check_negatives(pairs: Sequence[Pair], count: int) -> None:
    """Raises: ValueError that names the first pair with another number of negatives, or its own document among them."""
    for row, pair in enumerate(pairs):
        if len(pair.negatives) != count:
            raise ValueError(f"pair {row}, {pair.query[:60]!r}: wanted {count} negatives, got {len(pair.negatives)}")
        if pair.document in pair.negatives:
            raise ValueError(f"pair {row}, {pair.query[:60]!r}: its own document is among its negatives")
