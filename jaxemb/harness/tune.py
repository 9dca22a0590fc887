"""The smallest or the fastest pipeline that keeps a share of the quality, found by successive halving.

Every pipeline meets a few queries, the better half meets twice as many, and so on; where there are very many documents,
so do they grow.  Who is left meets all queries, and is taken only if the paired bootstrap says that it keeps the share.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb import index, progress
from jaxemb.evaluate import METRICS, Interval, Neighbours, fidelity, retrieval
from jaxemb.evaluate.bootstrap import means
from jaxemb.harness.job import batched
from jaxemb.harness.pipeline import Pipeline, space
from jaxemb.harness.vectors import Vectors, sample

FEWEST = 30
"""Queries that such a claim needs: fewer may all agree by chance."""
WHOLE = 20_000
"""Up to so many documents, every round has all of them."""
RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a pipeline has to keep, and what it may cost.

    quality: the share of the mean of `metric` that it keeps; above 0 and at most 1.
    of: the compressor whose exact search has that mean.
    metric: a name of `evaluate.METRICS`, or `fidelity@k`; by default nDCG@10, or `fidelity@10` without judgements.
    max_bytes: of a vector, all that the index keeps for it.
    least: what is to be as little as can be: bytes of a vector, or the median milliseconds of one search.
    level: of the confidence.

    Raises: ValueError for a number outside its range.
    """

    quality: float = 0.98
    of: str = "float32"
    metric: str | None = None
    max_bytes: int | None = None
    least: Literal["bytes", "ms"] = "bytes"
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.quality <= 1 or not 0.5 <= self.level < 1:
            raise ValueError(
                f"tune: wanted a quality above 0 and up to 1 and a level from 0.5 to below 1, "
                f"got {self.quality} and {self.level}"
            )
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError(f"tune: wanted 1 byte or more for a vector, got {self.max_bytes}")
        if self.metric is not None and self.metric not in METRICS and self.metric.partition("@")[0] != "fidelity":
            raise ValueError(f"tune: wanted a metric of {sorted(METRICS)} or fidelity@k, got {self.metric!r}")

    def metric_of(self, given: Vectors) -> str:
        """The metric, for these vectors.  Raises: ValueError for one of judgements, where there are none."""
        judged = any(given.judgements.values())
        found = self.metric or ("ndcg@10" if judged else "fidelity@10")
        if found in METRICS and not judged:
            raise ValueError(f"tune: {found} needs judgements, and {given.name}/{given.split} has none")
        return found


class Seen(NamedTuple):
    """A pipeline on some of the queries.

    task: with the revision and the split.
    round: from 1; 0 for what is reported at the end on other queries.
    bytes_per_vector: all that the index keeps for one.
    ms: median of one search, one query at a time.
    share: of the quality that is kept, with the end that the floor is compared with and the one above.
    values, reference: the metric of every query, of it and of what it is compared with.
    verdict: what became of it.
    """

    pipeline: Pipeline
    task: str
    round: int
    queries: int
    documents: int
    bytes_per_vector: int
    ms: float
    share: Interval
    values: tuple[float, ...]
    reference: tuple[float, ...]
    verdict: str


class Tuned(NamedTuple):
    """What was chosen, and all that was seen on the way.

    metric: what quality is measured in.
    chosen: at the size of what was tuned on; None where nothing met the floor.
    refused: pipelines that were not tried, and why.
    tested: the chosen one on the test split, which had no part in the choice.
    """

    wanted: Wanted
    metric: str
    chosen: Pipeline | None
    seen: tuple[Seen, ...]
    refused: tuple[tuple[Pipeline, str], ...]
    tested: Seen | None = None

    @property
    def last(self) -> list[Seen]:
        """Every pipeline as it was seen last, on most queries."""
        return list({one.pipeline.label: one for one in self.seen}.values())


class Unmet(Exception):  # noqa: N818, an outcome rather than a mistake
    """No pipeline meets the floor.

    tuned: all that was seen.
    """

    def __init__(self, message: str, tuned: Tuned) -> None:
        super().__init__(message)
        self.tuned = tuned


def tune(
    given: Vectors,
    wanted: Wanted | None = None,
    *,
    test: Vectors | None = None,
    pipelines: Callable[[int, int], Sequence[Pipeline]] = space,
    rounds: int = 4,
    seed: int = 0,
    calls: int = 50,
) -> Tuned:
    """Find the smallest, or the fastest, pipeline that keeps the quality.

    In each round a pipeline is out when even the upper end of its share is below the floor; of the rest the half goes
    on that costs least among those that seem to meet it, and with them the one of the best share.  In the last round
    all queries are asked, and the lower end decides: that of a bootstrap over the queries, paired with what it is
    compared with, at `level` for all that are in the last round together.  Should none meet the floor, those that were
    left behind get a chance, the cheapest first.

    With `least="bytes"` the same seed gives the same choice; milliseconds differ from run to run.

    Args:
      given: of a validation split.
      test: the chosen pipeline is built and judged on these at the end.
      pipelines: (documents, dimensions) -> what to try; the same place stands for the same idea whatever the numbers.
      calls: one-query searches that are timed of each.
    Raises: Unmet when no pipeline meets the floor, with the best that was seen; ValueError for fewer than 30 queries
      (of a metric of judgements: judged ones), no round, or a reference that finds nothing.
    """
    wanted = wanted or Wanted()
    metric = wanted.metric_of(given)
    asked = sum(bool(found) for found in given.judgements.values()) if metric in METRICS else len(given.query)
    if asked < FEWEST or rounds < 1:
        raise ValueError(f"tune: wanted {FEWEST} queries and 1 round or more, got {asked} and {rounds}")
    search = _Search(given, wanted, metric, pipelines, seed, calls)
    alive = search.start()
    for turn in range(1, rounds + 1):
        share = 2.0 ** (turn - rounds)
        queries = asked if turn == rounds else max(FEWEST, math.ceil(share * asked))
        documents = len(given.document) if turn == rounds else max(WHOLE, math.ceil(share**2 * len(given.document)))
        together = len(alive) if turn == rounds else 1
        found = search.round(alive, turn, queries, documents, together)
        if turn < rounds:
            alive = search.half(found, turn)
    place = search.chosen(found)
    place = search.second_chance(rounds, asked) if place is None else place
    if place is None:
        raise Unmet(*search.unmet())
    chosen = pipelines(len(given.document), given.dim)[place]
    tuned = search.tuned(chosen)
    if test is None:
        return tuned
    of_test = pipelines(len(test.document), test.dim)[place]
    progress.say(f"tune: {chosen.label} chosen; now on {test.name}/{test.split}")
    return tuned._replace(tested=_seen(test, of_test, wanted, metric, seed=seed, calls=calls, verdict="reported"))


Place = int
"""Of a pipeline in the list of all."""


@dataclass(eq=False)
class _Search:
    """The state of one search: what was seen, and indexes that further rounds may use again."""

    given: Vectors
    wanted: Wanted
    metric: str
    pipelines: Callable[[int, int], Sequence[Pipeline]]
    seed: int
    calls: int
    seen: list[Seen] = field(default_factory=list)
    refused: list[tuple[Pipeline, str]] = field(default_factory=list)
    last: dict[Place, Seen] = field(default_factory=dict)
    kept: dict[tuple[str, int], index.Index] = field(default_factory=dict)
    out: set[Place] = field(default_factory=set)

    def start(self) -> list[Place]:
        """All that may be small enough, before anything is built."""
        some = list(self.pipelines(len(self.given.document), self.given.dim))
        alive = []
        for place, pipeline in enumerate(some):
            try:
                least = pipeline.least_bytes(self.given.dim)
            except ValueError as error:
                self.refused.append((pipeline, str(error)))
                continue
            if self.wanted.max_bytes is not None and least > self.wanted.max_bytes:
                self.refused.append((pipeline, f"{least} bytes a vector or more"))
            else:
                alive.append(place)
        return alive

    def round(self, alive: Sequence[Place], turn: int, queries: int, documents: int, together: int) -> list[Place]:
        """Measure those that are left; who is too large or refuses is out."""
        some = sample(self.given, queries=queries, documents=documents, seed=self.seed)
        reference = _reference(some, self.wanted, self.metric)
        listed = self.pipelines(len(some.document), some.dim)
        measured = []
        with progress.bar(f"tune, round {turn}: {len(alive)} pipelines, {queries} queries", len(alive)) as advance:
            for place in alive:
                try:
                    found = self._one(listed[place], some, reference, turn, together)
                except (ValueError, ImportError, RuntimeError) as error:  # the last is how FAISS refuses
                    self.refused.append((listed[place], str(error)))
                    self.out.add(place)
                else:
                    if self.wanted.max_bytes is None or found.bytes_per_vector <= self.wanted.max_bytes:
                        measured.append(place)
                        self.last[place] = found
                    else:
                        self.refused.append((found.pipeline, f"{found.bytes_per_vector} bytes a vector"))
                        self.out.add(place)
                advance(1, listed[place].label)
        for place in measured:
            self.seen.append(self.last[place])
        return measured

    def _one(self, pipeline: Pipeline, some: Vectors, reference: "_Reference", turn: int, together: int) -> Seen:
        key = pipeline.untuned.key(), len(some.document)
        if key not in self.kept:
            self.kept[key] = pipeline.untuned.built(np.asarray(some.document))
        opened = pipeline.tuned(self.kept[key])
        values, ms = _values(opened, some, reference, self.calls)
        share = shares(values, reference.values, level=1 - (1 - self.wanted.level) / together, seed=self.seed)
        verdict = "meets the floor" if share.low >= self.wanted.quality else "below the floor"
        if share.low < self.wanted.quality <= share.high:
            verdict = "may meet the floor"
        return Seen(
            pipeline, _task(some), turn, len(some.query), len(some.document), int(opened.bytes_per_vector), ms, share,
            tuple(values.tolist()), tuple(reference.values.tolist()), verdict,
        )  # fmt: skip

    def cost(self, place: Place) -> tuple[float, float, float]:
        """What is to be little, and what decides between equals."""
        one = self.last[place]
        cost = float(one.bytes_per_vector) if self.wanted.least == "bytes" else one.ms
        return cost, -one.share.estimate, float(place)

    def half(self, found: Sequence[Place], turn: int) -> list[Place]:
        """Who goes on."""
        hopeful = [place for place in found if self.last[place].share.high >= self.wanted.quality]
        self.out |= set(found) - set(hopeful)

        def order(place: Place) -> tuple[float, ...]:
            share = self.last[place].share.estimate
            return (0.0, *self.cost(place)) if share >= self.wanted.quality else (1.0, -share, float(place))

        best = sorted(hopeful, key=order)
        going = best[: max(1, math.ceil(len(found) / 2))]
        safest = max(hopeful, key=lambda one: (self.last[one].share.low, -one), default=None)
        if safest is not None and safest not in going:
            going = [*going[:-1], safest] if len(going) > 1 else [*going, safest]
        needed = {self.last[place].pipeline.untuned.key() for place in going}
        self.kept = {key: one for key, one in self.kept.items() if key[0] in needed}
        may = f"{len(hopeful)} may keep {self.wanted.quality:g}"
        progress.say(f"tune: round {turn}: {len(found)} seen, {may}, {len(going)} go on")
        return going

    def chosen(self, found: Sequence[Place]) -> Place | None:
        """Of those seen last, the one that costs least and meets the floor."""
        met = [place for place in found if self.last[place].share.low >= self.wanted.quality]
        return min(met, key=self.cost, default=None)

    def second_chance(self, rounds: int, queries: int) -> Place | None:
        """Those that were left behind without being refuted, on all queries, the cheapest first."""
        tried = sum(one.round == rounds for one in self.seen)
        waiting = [place for place, one in self.last.items() if one.round < rounds and place not in self.out]
        for place in sorted(waiting, key=self.cost):
            tried += 1
            found = self.round([place], rounds, queries, len(self.given.document), tried)
            if (met := self.chosen(found)) is not None:
                return met
        return None

    def tuned(self, chosen: Pipeline | None) -> Tuned:
        return Tuned(self.wanted, self.metric, chosen, tuple(self.seen), tuple(self.refused))

    def unmet(self) -> tuple[str, Tuned]:
        """What to say when there is none."""
        limit = "" if self.wanted.max_bytes is None else f" within {self.wanted.max_bytes} bytes a vector"
        said = f"no pipeline keeps {self.wanted.quality:g} of {self.wanted.of}'s {self.metric}{limit}"
        tuned = self.tuned(None)
        if not tuned.seen:
            why = "; ".join(f"{one.label}: {reason}" for one, reason in self.refused[:3])
            return f"{said}: none could be tried ({why})", tuned
        best = max(tuned.last, key=lambda one: one.share.estimate)
        share = f"{best.share.estimate:.4f} [{best.share.low:.4f}, {best.share.high:.4f}]"
        return f"{said}; the best seen is {best.pipeline.label}: {share} at {best.bytes_per_vector} bytes", tuned


class _Reference(NamedTuple):
    """What a pipeline is compared with: one value a query.

    truth: for fidelity; None for metrics of judgements.
    """

    metric: str
    values: Float[np.ndarray, " q"]
    truth: Neighbours | None


def _reference(some: Vectors, wanted: Wanted, metric: str) -> _Reference:
    k = int(metric.rpartition("@")[2])
    truth = None if metric in METRICS else some.truth(k)
    opened = Pipeline(compressor=wanted.of).built(np.asarray(some.document))
    values = _quality(opened, some, _Reference(metric, np.zeros(0), truth))
    if not values.mean() > 0:
        raise ValueError(f"tune: the {metric} of {wanted.of} is 0 on {len(values)} queries: there is nothing to keep")
    return _Reference(metric, values, truth)


def _quality(opened: index.Index, some: Vectors, reference: _Reference) -> Float[np.ndarray, " q"]:
    k = min(int(reference.metric.rpartition("@")[2]), opened.size)
    hits = batched(opened.search, np.asarray(some.query), k)
    if reference.truth is not None:
        return fidelity(hits[0], reference.truth, k=k)
    return retrieval(some.task, hits, {reference.metric: METRICS[reference.metric]}).values[reference.metric]


def _values(
    opened: index.Index, some: Vectors, reference: _Reference, calls: int
) -> tuple[Float[np.ndarray, " q"], float]:
    """The metric of every query, and the median milliseconds of one search for ten, each made once before untimed."""
    depth, milliseconds = min(10, opened.size), []
    for one in (np.asarray(some.query[at : at + 1]) for at in range(min(calls, len(some.query)))):
        opened.search(one, depth)
        start = time.perf_counter_ns()
        opened.search(one, depth)
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    return _quality(opened, some, reference), float(np.median(milliseconds))


def _seen(
    given: Vectors, pipeline: Pipeline, wanted: Wanted, metric: str, *, seed: int, calls: int, verdict: str
) -> Seen:
    """A pipeline on all queries that count."""
    reference = _reference(given, wanted, metric)
    opened = pipeline.built(np.asarray(given.document))
    values, ms = _values(opened, given, reference, calls)
    share = shares(values, reference.values, level=wanted.level, seed=seed)
    return Seen(
        pipeline, _task(given), 0, len(values), opened.size, int(opened.bytes_per_vector), ms, share,
        tuple(values.tolist()), tuple(reference.values.tolist()), verdict,
    )  # fmt: skip


def _task(given: Vectors) -> str:
    return f"{given.name}/{given.split}"


def shares(
    values: Float[np.ndarray, " q"],
    reference: Float[np.ndarray, " q"],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of `values` over that of `reference`, and both ends of it, each of which holds with `level`.

    The queries are resampled, and both with them: what makes a query hard for both cancels.

    >>> found = shares(np.tile([0.4, 0.9], 50), np.tile([0.5, 1.0], 50))
    >>> print(*(round(float(end), 3) for end in found))
    0.859 0.867 0.873

    Raises: ValueError when the two have not the same queries, or the reference is zero throughout.
    """
    if values.shape != reference.shape or not reference.mean() > 0:
        raise ValueError(f"shares: wanted values of the same queries, the reference above 0, got {values.shape}")
    drawn = means(np.stack([values, reference]).astype(np.float64), resamples=resamples, seed=seed)
    ratio = np.where(drawn[:, 1] > 0, drawn[:, 0] / np.maximum(drawn[:, 1], np.finfo(np.float64).tiny), 0.0)
    low, high = np.quantile(ratio, [1 - level, level])
    return Interval(float(low), float(values.mean() / reference.mean()), float(high))
