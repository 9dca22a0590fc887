"""How far a mean over the queries at hand may be from the mean over all queries like them.

The queries are the sample: another hundred of the same kind would have given
other values.  Nothing here speaks of other corpora, other seeds of training or
queries of another kind.
"""

from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

NORMAL = NormalDist()
AT_ONCE = 1 << 21  # numbers drawn or held at once: some tens of megabytes


class Interval(NamedTuple):
    """An estimate, and the interval that holds the truth about `level` of the time."""

    low: float
    estimate: float
    high: float


def finite(what: str, values: Float[np.ndarray, "*s q"]) -> None:
    """Raises: ValueError when there is no query, or a value is NaN or infinite."""
    if values.shape[-1] == 0:
        raise ValueError(f"{what}: wanted values of one query or more, got none")
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: {int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite")


def counts(q: int, *, resamples: int, seed: int) -> Iterator[Int[np.ndarray, "c q"]]:
    """How often each of `q` queries is drawn in each resample of `q` with replacement, a few resamples at a time."""
    chance = np.random.default_rng(seed)
    step = max(1, AT_ONCE // q)
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        drawn = chance.integers(0, q, (some, q)) + np.arange(some)[:, None] * q
        yield np.bincount(drawn.ravel(), minlength=some * q).reshape(some, q)


def means(values: Float[np.ndarray, "s q"], *, resamples: int, seed: int) -> Float[np.ndarray, "r s"]:
    """Mean of every system over the same resamples of the queries, so that systems stay paired."""
    q = values.shape[1]
    chunks = [drawn.astype(np.float64) @ values.T for drawn in counts(q, resamples=resamples, seed=seed)]
    return np.concatenate(chunks) / q


def interval(
    values: Float[np.ndarray, " q"], *, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Bootstrap interval of the mean, bias-corrected and accelerated (BCa).

    Quality a query is bounded and skewed: BCa lets the interval be longer on one
    side, as it should be, and never leaves the range of the values.  Values that
    are all the same give an interval without width: the sample shows no spread,
    which is not a proof that there is none.

    >>> print(*(round(float(end), 2) for end in interval(np.array([0.0, 0.5, 1.0, 1.0, 1.0, 1.0]))))
    0.33 0.75 1.0

    Raises: ValueError when there is no value, or one is NaN or infinite.
    Source: Efron 1987, "Better bootstrap confidence intervals"; the acceleration is a sixth of the mean's skewness.
    """
    return intervals(values[None], seed=seed, resamples=resamples, level=level)[0]


def intervals(
    values: Float[np.ndarray, "s q"], *, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> list[Interval]:
    """`interval` of each row, over the same resamples of the queries: far quicker than one by one."""
    finite("interval", values)
    values = values.astype(np.float64)
    drawn = np.sort(means(values, resamples=resamples, seed=seed), axis=0)
    return [_bca(row, sample, level) for row, sample in zip(values, drawn.T, strict=True)]


def _bca(values: Float[np.ndarray, " q"], drawn: Float[np.ndarray, " r"], level: float) -> Interval:
    """The interval of the mean of `values` from the sorted means of its resamples."""
    mean, rounding = float(values.mean()), 1e-12 * np.abs(values).max()
    off = values - mean
    if np.abs(off).max() <= rounding:
        return Interval(mean, mean, mean)
    # A resample whose mean is the same counts half; two sums of the same values may differ in the last digit.
    below = np.searchsorted(drawn, [mean - rounding, mean + rounding]).mean() / drawn.size
    smallest = 1 / (drawn.size + 1)
    bias = NORMAL.inv_cdf(min(max(float(below), smallest), 1 - smallest))
    acceleration = float((off**3).sum() / (6 * (off**2).sum() ** 1.5))

    def end(share: float) -> float:
        z = bias + NORMAL.inv_cdf(share)
        return float(np.quantile(drawn, NORMAL.cdf(bias + z / (1 - acceleration * z))))

    tail = (1 - level) / 2
    return Interval(end(tail), mean, end(1 - tail))


def paired_difference(
    a: Float[np.ndarray, " q"],
    b: Float[np.ndarray, " p"],
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Interval of the mean of `a - b` over the same queries: clear of zero where one of them is better.

    One comparison, chosen before looking, deserves this; for many systems at once take `ranks`.

    Raises: ValueError when the two have not the same queries, or a value is NaN or infinite.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired_difference: both need the same queries, got {a.size} and {b.size} values")
    return interval(a.astype(np.float64) - b.astype(np.float64), seed=seed, resamples=resamples, level=level)


def quantile(values: Float[np.ndarray, " n"], share: float, *, level: float = 0.95) -> Interval:
    """A quantile (0.5 is the median, 0.99 is p99) and its interval, from order statistics alone.

    The number of values below the true quantile is binomial, whatever their
    distribution, so two of the sorted values bracket it.  Where too few values
    were taken for an end, that end is infinite: 368 are needed for both ends of p99.

    >>> print(*quantile(np.arange(1.0, 101.0), 0.5))
    40.0 50.5 61.0

    Raises: ValueError when there is no value, one is NaN or infinite, or `share` is not inside (0, 1).
    Source: David & Nagaraja 2003, "Order statistics", sec. 7.1.
    """
    finite("quantile", values)
    if not 0 < share < 1:
        raise ValueError(f"quantile: the share must be inside (0, 1), got {share}")
    ordered, n, tail = np.sort(values.astype(np.float64)), values.size, (1 - level) / 2
    below = _binomial(n, share)
    low = int(np.searchsorted(below, tail, side="right"))  # P(fewer than `low` values below the quantile) <= tail
    high = int(np.searchsorted(below, 1 - tail)) + 1
    return Interval(
        float(ordered[low - 1]) if low >= 1 else -np.inf,
        float(np.quantile(ordered, share)),
        float(ordered[high - 1]) if high <= n else np.inf,
    )


def _binomial(n: int, p: float) -> Float[np.ndarray, " m"]:
    """P(at most i of n) for i = 0 to n."""
    i = np.arange(1, n + 1)
    steps = np.concatenate([[n * np.log1p(-p)], np.log(n - i + 1) - np.log(i) + np.log(p) - np.log1p(-p)])
    return np.cumsum(np.exp(np.cumsum(steps)))
