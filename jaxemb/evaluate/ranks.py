"""Which systems the queries can tell apart, and so which ranks each may hold."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxemb.evaluate.bootstrap import AT_ONCE, finite, means


class Ranks(NamedTuple):
    """Ranks that each system may hold, 1 being best.

    best: 1 + how many systems are better than it.
    worst: `s` - how many systems it is better than.
    better: True at `[i, j]` where system `i` is better than `j`.
    """

    best: Int[np.ndarray, " s"]
    worst: Int[np.ndarray, " s"]
    better: Bool[np.ndarray, "s s"]

    @property
    def tied(self) -> Bool[np.ndarray, "s s"]:
        """True at `[i, j]` where two different systems cannot be told apart; not transitive."""
        return ~(self.better | self.better.T | np.eye(len(self.best), dtype=bool))


def ranks(values: Float[np.ndarray, "s q"], *, seed: int = 0, resamples: int = 10_000, level: float = 0.95) -> Ranks:
    """Rank intervals of `s` systems from their values on the same `q` queries.

    System `i` is better than `j` where the test of "the mean of `i` is not above
    that of `j`" rejects, in a family of all `s (s - 1)` such tests: with
    probability `level` not one of all these verdicts is wrong, and so *all* rank
    intervals hold their true ranks at once.  The statistic of a pair is its mean
    difference over the standard error of that; a verdict needs it above the
    `level` quantile of the largest centred statistic over the resamples; then
    the pairs decided leave the family and the rest is tried again, until no more
    fall (step-down).  Queries are resampled, and all systems with them, so what
    makes a query hard for everyone cancels.  The quantile is widened from the
    normal's tail to Student's: with 20 queries the standard error itself is a guess.
    Where one system beats another by the very same amount on every query, the sign
    test decides, at `level` over the whole family.

    Being tied is not transitive: `a` may be better than `c` though neither can be
    told from `b`; then their intervals are 1-2, 1-3 and 2-3.

    >>> steady = np.tile([0.2, 0.4, 0.6], 20)
    >>> found = ranks(np.stack([steady, steady + 0.3, steady]))
    >>> print(found.best, found.worst)
    [2 1 2] [3 1 3]

    Args:
      values: larger is better; a row a system.
    Returns: `Ranks`; with a handful of queries little can be told apart, with one nothing.
    Raises: ValueError when there is no query, or a value is NaN or infinite.
    Source: Mogstad, Romano, Shaikh & Wilhelm 2024, "Inference for ranks", with the step-down of Romano & Wolf 2005.
    """
    finite("ranks", values)
    values = values.astype(np.float64)
    s, q = values.shape
    mean, error = values.mean(axis=1), _errors(values)
    difference = mean[:, None] - mean[None, :]
    # A difference that is the same on every query leaves nothing to resample: there the sign test decides.
    scale = 1e-12 * np.abs(values).max()
    constant = error <= scale
    better = constant & (difference > scale) & (s * (s - 1) * 0.5**q <= 1 - level)
    open_ = ~constant
    drawn = means(values, resamples=resamples, seed=seed) - mean if open_.any() else np.zeros((0, s))
    unit = np.where(constant, 1.0, error)
    statistic = difference / unit * np.sqrt(max(0, q - 1) / q)  # `error` has q under the root, the honest one q - 1
    while open_.any():
        critical = _student(np.quantile(np.concatenate(list(_largest(drawn, unit, open_))), level), q - 1)
        fallen = open_ & (statistic > critical)
        if not fallen.any():
            break
        better |= fallen
        open_ &= ~fallen
    return Ranks(1 + better.sum(axis=0), s - better.sum(axis=1), better)


def _errors(values: Float[np.ndarray, "s q"]) -> Float[np.ndarray, "s s"]:
    """Standard deviation of each mean difference under resampling; row by row, so that `s * s * q` is never held."""
    return np.stack([(row - values).std(axis=1) for row in values]) / np.sqrt(values.shape[1])


def _student(z: float, degrees: int) -> float:
    """The quantile of Student's t where the normal has `z`.  Source: Abramowitz & Stegun 1964, 26.7.5, three terms."""
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(z + first / degrees + second / degrees**2 + third / degrees**3)


def _largest(
    drawn: Float[np.ndarray, "r s"], unit: Float[np.ndarray, "s s"], open_: Bool[np.ndarray, "s s"]
) -> Iterator[Float[np.ndarray, " c"]]:
    """The largest centred statistic of each resample, over the pairs still open."""
    first, second = np.nonzero(open_)
    step = max(1, AT_ONCE // first.size)
    for start in range(0, len(drawn), step):
        some = drawn[start : start + step]
        yield ((some[:, first] - some[:, second]) / unit[first, second]).max(axis=1)
