"""What a claim is: rows measured in one run with several seeds, and the margins between them that have to hold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxemb.evaluate import Interval
from jaxemb.harness.record import Each, Record
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

    A row that no seed changes has one value, which is compared with that of every seed.

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
    """A margin, what was seen of it, and whether it held.

    each: what one of the values is of: a seed, a timed repeat, or `once` where neither row depends on either.
    """

    margin: Margin
    values: tuple[float, ...]
    held: bool
    each: Each = "seed"


class Claim(NamedTuple):
    """A paper's central claim, at a scale that two cores reach in minutes.

    paper: title and number.
    says: what the paper claims, in one sentence.
    published: the paper's figures, with their source; or that there are none to be had.
    scale: data, model and steps that are measured here.
    differs: from the paper, beside the scale.
    minutes: how long it takes on two cores, roughly; each run measures its own.
    margins: what has to hold.
    measure: where -> records, each with one value a seed; `once` where no seed changes it.
    plan: the training step at the paper's scale, compiled for several devices and not run.
    legend: what rows are, where their names do not tell.
    devices: that a CPU's cores are, of which each trains on its share of every batch; a step of small arrays keeps no
      more than one core busy.
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
    legend: Mapping[str, str] = MappingProxyType({})
    devices: int = 1


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

    Raises: ValueError for a margin without a bound, one whose rows were not measured, with fewer than three seeds, with
      other numbers of them, or of which one was timed and the other trained.
    """
    return [_judged(one, records) for one in margins]


def _judged(margin: Margin, records: Sequence[Record]) -> Finding:
    if margin.least is None and margin.most is None and margin.every is None:
        raise ValueError(f"margin of {margin.row!r}: it has no bound, so nothing could break it")
    rows = [_row(margin.metric, name, records) for name in (margin.row, margin.over) if name is not None]
    each = _of_one(rows)
    first, *others = (np.asarray(one.values) for one in rows)
    values = first
    for other in others:
        values = first / other if margin.ratio else first - other
    mean = values.mean()
    held = (
        (margin.least is None or mean >= margin.least)
        and (margin.most is None or mean <= margin.most)
        and (margin.every is None or bool((values > margin.every).all()))
    )
    return Finding(margin, tuple(values.tolist()), bool(held), each)


def _row(metric: str, name: str, records: Sequence[Record]) -> Record:
    found = [one for one in records if one.metric == metric and one.recipe == name]
    if len(found) != 1:
        rows = sorted({one.recipe for one in records if one.metric == metric})
        raise ValueError(f"margin: wanted one record of {metric!r} of {name!r}, got {len(found)}; there are {rows}")
    (one,) = found
    enough = one.each == "once" or (one.each in ("seed", "repeat") and len(one.values) >= FEWEST_SEEDS)
    if not enough or not np.isfinite(one.values).all():
        raise ValueError(
            f"margin: {metric!r} of {name!r}: wanted {FEWEST_SEEDS} seeds or repeats or more, or one value once, all "
            f"finite, got {one.values} a {one.each}"
        )
    return one


def _of_one(rows: Sequence[Record]) -> Each:
    """What one difference of these rows is of."""
    several = [one for one in rows if one.each != "once"]
    if len({(one.each, len(one.values)) for one in several}) > 1:
        found = " and ".join(f"{len(one.values)} {one.each}s of {one.recipe!r}" for one in several)
        raise ValueError(f"margin: wanted as many values of both rows, and of the same kind, got {found}")
    return several[0].each if several else "once"
