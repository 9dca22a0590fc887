"""What a claim is: rows measured in one run with several seeds, and the margins between them that have to hold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxemb.evaluate import Interval
from jaxemb.harness.record import Record
from jaxemb.train import Plan

FEWEST_SEEDS = 3


class Where(NamedTuple):
    """Where a claim finds its data, and how often it is measured.

    data: the folder where prepared data is kept, and looked for.
    seeds: of training, one after another from 0.
    """

    data: Path
    seeds: int = FEWEST_SEEDS


class Margin(NamedTuple):
    """What must hold between two rows, or of one.

    metric: that is compared, as records have it.
    row: a recipe of the records.
    over: the row that it is compared with; None compares with nothing, so that the value itself has to be enough.
    least: what the mean over the seeds of the difference (or the value) has to reach.
    most: what it must not pass.
    every: what the difference has to be above for each seed.
    ratio: whether values are divided, not subtracted.
    """

    metric: str
    row: str
    over: str | None = None
    least: float | None = None
    most: float | None = None
    every: float | None = None
    ratio: bool = False


class Finding(NamedTuple):
    """A margin, what was seen of it for each seed, and whether it held."""

    margin: Margin
    values: tuple[float, ...]
    held: bool


class Claim(NamedTuple):
    """A paper's central claim, at a scale that two cores reach in minutes.

    paper: title and number.
    says: what the paper claims, in one sentence.
    published: the paper's figures, with their source; or that there are none to be had.
    scale: data, model and steps that are measured here.
    differs: from the paper, beside the scale.
    minutes: how long it takes on two cores.
    margins: what has to hold.
    measure: where -> records, each with one value a seed.
    plan: the training step at the paper's scale, compiled for several devices and not run.
    """

    paper: str
    says: str
    published: str
    scale: str
    differs: str
    minutes: float
    margins: tuple[Margin, ...]
    measure: Callable[[Where], Iterable[Record]]
    plan: Callable[[], Mapping[str, Plan]]


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of values of a few seeds, and the interval that Student's t gives it at 95 %.

    >>> print(*(round(end, 2) for end in over_seeds([1.0, 2.0, 3.0])))
    -0.48 2.0 4.48

    Raises: ValueError for fewer than two values, or one that is NaN or infinite.
    """
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or len(given) < 2 or not np.isfinite(given).all():
        raise ValueError(f"over_seeds: wanted two values or more, all finite, got {list(values)}")
    mean = float(given.mean())
    around = float(stats.t.ppf(0.975, len(given) - 1) * given.std(ddof=1) / np.sqrt(len(given)))
    return Interval(mean - around, mean, mean + around)


def judged(margins: Iterable[Margin], records: Sequence[Record]) -> list[Finding]:
    """Every margin against the records.

    Raises: ValueError for a margin without a bound, one whose rows were not measured, or with fewer than three seeds.
    """
    return [_judged(one, records) for one in margins]


def _judged(margin: Margin, records: Sequence[Record]) -> Finding:
    if margin.least is None and margin.most is None and margin.every is None:
        raise ValueError(f"margin of {margin.row!r}: it has no bound, so nothing could break it")
    values = _values(margin.metric, margin.row, records)
    if margin.over is not None:
        others = _values(margin.metric, margin.over, records)
        if len(others) != len(values):
            raise ValueError(f"margin: {margin.row!r} has {len(values)} seeds, {margin.over!r} has {len(others)}")
        values = values / others if margin.ratio else values - others
    mean = values.mean()
    held = (
        (margin.least is None or mean >= margin.least)
        and (margin.most is None or mean <= margin.most)
        and (margin.every is None or bool((values > margin.every).all()))
    )
    return Finding(margin, tuple(values.tolist()), bool(held))


def _values(metric: str, row: str, records: Sequence[Record]) -> np.ndarray:
    found = [one for one in records if one.metric == metric and one.recipe == row]
    if len(found) != 1:
        rows = sorted({one.recipe for one in records if one.metric == metric})
        raise ValueError(f"margin: wanted one record of {metric!r} of {row!r}, got {len(found)}; there are {rows}")
    values = np.asarray(found[0].values)
    if found[0].each not in ("seed", "repeat") or len(values) < FEWEST_SEEDS or not np.isfinite(values).all():
        raise ValueError(
            f"margin: {metric!r} of {row!r}: wanted {FEWEST_SEEDS} seeds or repeats or more, all finite, "
            f"got {found[0].values} a {found[0].each}"
        )
    return values
