"""One system on one task to records: quality, fidelity, bytes, latency and throughput.

A system is a function from queries to hits and what it costs to keep.  Quality
and latency are of the same call: every search, timed or judged, asks for the
same number of documents, because an approximate index that is asked for more
looks further and finds more.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxemb.data.task import Task
from jaxemb.evaluate import METRICS, Metric, Neighbours, fidelity, retrieval
from jaxemb.harness import machine
from jaxemb.harness.record import Each, Record

Queries = Any
"""Vectors `[b, d]`, or texts for a system that reads them itself: anything that has a length and can be sliced."""

CALLS = 400  # both ends of an interval of p99 need 368
REPEATS = 7  # their range holds the true median 98 % of the time; with fewer than six there is no such interval


@dataclass(frozen=True, kw_only=True)
class System:
    """A row of the leaderboard.

    name: what tables call it; two systems of the same name need different configs.
    config: all that made it, plain JSON; `encoder`, if there, groups rows by colour.
    search: (queries, k) -> rows int64 `[b, k]` and scores float32 `[b, k]`, larger is closer; row -1 is no document.
    bytes_per_vector: what one document takes in the index, ids and shared tables apart; None if that means nothing.
    disk_bytes: of the whole index as saved; None if it is never saved.
    resident_bytes: of the whole index in memory while it searches; None if unknown.
    build_s: seconds from the documents' vectors (or texts, where there are none) to the index, one a build.
    """

    name: str
    config: Mapping[str, Any]
    search: Callable[[Queries, int], tuple[Any, Any]]
    bytes_per_vector: float | int | None
    disk_bytes: int | None
    resident_bytes: int | None
    build_s: tuple[float, ...] = ()


class Timing(NamedTuple):
    """How long a function of queries takes once it is warm.

    one_ms: milliseconds, one query a call; call `i` is of query `i` modulo their number.
    per_s: queries a second in batches, one value a batch; batches are of one size, and start over as calls do.
    compile_s: what JAX spent on tracing, lowering and compiling before that, apart from all of the above.
    """

    one_ms: tuple[float, ...]
    per_s: tuple[float, ...]
    compile_s: float


class Encoded(NamedTuple):
    """A task's queries as a search reads them, and what it took to make them so.

    timing: None where nothing was encoded, as for BM25 or for vectors that come as they are.
    """

    queries: Queries
    timing: Timing | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure; it becomes part of every record's config.

    depth: how many documents every search asks for; fewer where the task has fewer.
    batch: queries a call when the number of queries a second is measured, and for quality.
    calls: one-query calls that are timed.
    repeats: batches that are timed.
    cores: how many cores all threads are kept on while timing; None leaves them alone.
    metrics: of judged tasks; a name ends in the `@k` that it looks at.
    fidelity_at: every `k` of fidelity.

    Raises: ValueError for a number below 1, or a metric or fidelity that looks beyond `depth`.
    """

    depth: int = 100
    batch: int = 256
    calls: int = CALLS
    repeats: int = REPEATS
    cores: int | None = None
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    fidelity_at: tuple[int, ...] = (10,)

    def __post_init__(self) -> None:
        low = {name: getattr(self, name) for name in ("depth", "batch", "calls", "repeats") if getattr(self, name) < 1}
        if low:
            raise ValueError(f"settings need 1 or more, got {low}")
        looked_at = {name: int(name.rpartition("@")[2]) for name in self.metrics}
        looked_at |= {f"fidelity@{k}": k for k in self.fidelity_at}
        deep = [name for name, k in looked_at.items() if k > self.depth]
        if deep:
            raise ValueError(f"{', '.join(deep)} looks beyond the {self.depth} documents that a search asks for")


def time_queries(call: Callable[[Queries], Any], queries: Queries, settings: Settings) -> Timing:
    """Time a function of queries one by one and in batches, after every call to be timed was made once untimed.

    What it returns is turned into NumPy arrays before the clock is read, so that
    work which JAX has only queued is waited for.  The garbage collector is off
    while the clock runs.

    Raises: ValueError when there is no query.
    """
    if not len(queries):
        raise ValueError("time_queries: wanted one query or more, got none")
    singles = [queries[i : i + 1] for i in range(len(queries))][: settings.calls]
    size = min(settings.batch, len(queries))
    batches = [queries[i : i + size] for i in range(0, len(queries) - size + 1, size)][: settings.repeats]

    def passes(parts: Sequence[Queries], times: int) -> list[float]:
        return [_seconds(partial(call, parts[i % len(parts)])) for i in range(times)]

    with machine.pinned(settings.cores), _compiling() as compiled, _uncollected():
        passes(singles, len(singles))
        passes(batches, len(batches))
        compile_s = sum(compiled, start=0.0)
        one_ms = tuple(1e3 * seconds for seconds in passes(singles, settings.calls))
        per_s = tuple(size / seconds for seconds in passes(batches, settings.repeats))
    return Timing(one_ms, per_s, compile_s)


def encode_queries(
    encode: Callable[[Sequence[str]], Float[np.ndarray, "b d"]], texts: Sequence[str], settings: Settings
) -> Encoded:
    """Encode a task's queries, and time it: once an encoder, for all systems that share it.

    A slow encoder may want fewer calls and smaller batches than the searches are measured with.
    """
    vectors = np.asarray(encode(texts))
    return Encoded(vectors, time_queries(encode, texts, settings))


def measure(
    system: System,
    task: Task,
    encoded: Encoded,
    truth: Neighbours | None = None,
    settings: Settings | None = None,
) -> list[Record]:
    """All that is measured of one system: what a row of the leaderboard shows.

    Args:
      task: its judgements may be empty; then there is no quality, only fidelity.
      encoded: from `encode_queries`; or the texts, or vectors, as they are.
      truth: the exact neighbours of the uncompressed vectors, for fidelity; None
        where there are no vectors to be faithful to.
    Raises: ValueError for hits of another shape than asked for, and whatever `retrieval` and `fidelity` refuse.
    """
    settings = settings or Settings()
    depth = min(settings.depth, len(task.documents))
    hits = _hits(system, encoded.queries, depth, settings.batch)
    search = time_queries(lambda some: system.search(some, depth), encoded.queries, settings)
    numbers = [
        *_quality(task, hits, settings.metrics),
        *_fidelity(hits[0], truth, settings.fidelity_at),
        *_footprint(system, len(task.documents)),
        *_latency(search, encoded.timing),
    ]
    config = {**system.config, "measured": _described(settings, depth)}
    found, where, which = machine.versions(), machine.device(), f"{task.name}/{task.split}"
    return [
        Record(
            recipe=system.name,
            config=config,
            task=which,
            metric=metric,
            values=values,
            each=each,
            device=where,
            versions=found,
        )
        for metric, each, values in numbers
    ]


Number = tuple[str, Each, tuple[float, ...]]


def _quality(task: Task, hits: tuple[np.ndarray, np.ndarray], metrics: Mapping[str, Metric]) -> Iterator[Number]:
    if not any(task.judgements.values()):
        return
    found = retrieval(task, hits, metrics)
    for name, values in found.values.items():
        yield name, "query", tuple(values.tolist())
    yield "queries_without_relevant", "once", (float(found.without_relevant),)
    yield "queries_unjudged", "once", (float(found.unjudged),)


def _fidelity(rows: Int[np.ndarray, "b k"], truth: Neighbours | None, at: Sequence[int]) -> Iterator[Number]:
    if truth is None:
        return
    documents, known = len(truth.document), truth.rows.shape[1]
    for k in dict.fromkeys(min(k, documents) for k in at):
        if k > known:
            raise ValueError(f"fidelity@{k} needs {k} neighbours, got {known}: give evaluate.neighbours a larger k")
        yield f"fidelity@{k}", "query", tuple(fidelity(rows, truth, k=k).tolist())


def _footprint(system: System, documents: int) -> Iterator[Number]:
    kept = {
        "documents": documents,
        "bytes_per_vector": system.bytes_per_vector,
        "index_bytes_disk": system.disk_bytes,
        "index_bytes_resident": system.resident_bytes,
    }
    for name, value in kept.items():
        if value is not None:
            yield name, "once", (float(value),)
    if system.build_s:
        yield "build_s", "once" if len(system.build_s) == 1 else "repeat", system.build_s


def _latency(search: Timing, encode: Timing | None) -> Iterator[Number]:
    yield "search_ms", "query", search.one_ms
    yield "search_queries_per_s", "repeat", search.per_s
    yield "search_compile_s", "once", (search.compile_s,)
    if encode is None:
        yield "query_ms", "query", search.one_ms
        return
    yield "encode_ms", "query", encode.one_ms
    yield "encode_queries_per_s", "repeat", encode.per_s
    yield "encode_compile_s", "once", (encode.compile_s,)
    # Call i of either is of the same query, and their sum is what it waits for; one may have been called more often.
    yield "query_ms", "query", tuple(a + b for a, b in zip(encode.one_ms, search.one_ms, strict=False))


def _hits(system: System, queries: Queries, depth: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    parts = []
    for start in range(0, len(queries), batch):
        some = queries[start : start + batch]
        rows, scores = (np.asarray(part) for part in system.search(some, depth))
        if rows.shape != (len(some), depth) or scores.shape != rows.shape:
            raise ValueError(
                f"{system.name}: a search of {len(some)} queries for {depth} documents must give rows and scores of "
                f"shape {(len(some), depth)}, got {rows.shape} and {scores.shape}"
            )
        parts.append((rows.astype(np.int64), scores))
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])


def _described(settings: Settings, depth: int) -> dict[str, Any]:
    with machine.pinned(settings.cores) as cores:
        pass
    return {
        "depth": depth,
        "batch": settings.batch,
        "calls": settings.calls,
        "repeats": settings.repeats,
        "cores": cores,
        "pinned": settings.cores is not None,
        "threads": machine.threads(),
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    jax.tree.map(np.asarray, call())
    return (time.perf_counter_ns() - start) / 1e9


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def _compiling() -> Iterator[list[float]]:
    """Yield a list that gets the seconds of everything that JAX traces, lowers and compiles meanwhile."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
