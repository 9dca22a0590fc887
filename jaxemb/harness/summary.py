"""Records to what a leaderboard says: one row a system, an interval a number, and ranks that the queries can bear."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb import evaluate
from jaxemb.harness.record import Record

Kind = Literal["share", "percent", "bytes", "size", "ms", "per_s", "s", "count"]


DASH = "\N{EN DASH}"  # between two ends, and where nothing was measured


class Cell(NamedTuple):
    """A number and its 95 % interval; an end is None where there is none, as for what was measured once."""

    low: float | None
    value: float
    high: float | None


class Column(NamedTuple):
    """What a column shows.

    key: its name in the CSV file and in the page's JSON.
    title, about: for people: a heading, and a sentence.
    metric: of the records it is made from.
    statistic: one of `STATISTICS`, over the record's values.
    kind: how it is written.
    better: which end is good.
    brief: whether it is shown where there is little room.
    """

    key: str
    title: str
    about: str
    metric: str
    statistic: str
    kind: Kind
    better: Literal["high", "low"]
    brief: bool = False


def _quality(metric: str, title: str, about: str, *, brief: bool = False) -> Column:
    return Column(metric, title, about, metric, "mean", "share", "high", brief)


def _cost(key: str, title: str, about: str, kind: Kind, *, brief: bool = False) -> Column:
    return Column(key, title, about, key, "only", kind, "low", brief)


def _wait(key: str, title: str, about: str, metric: str, statistic: str, *, brief: bool = False) -> Column:
    return Column(key, title, f"{about}, milliseconds.", metric, statistic, "ms", "low", brief)


def _rate(key: str, title: str, about: str, *, brief: bool = False) -> Column:
    return Column(
        key, title, f"{about} a second in batches; median of the repeats.", key, "p50", "per_s", "high", brief
    )


def _threads(threads: int) -> tuple[Column, ...]:
    """What a sweep measures of a process of so many threads."""
    end, on = f"_{threads}t", f"on {threads} thread{'s' if threads > 1 else ''}"
    waits = [
        _wait(f"search_ms_{at}{end}", f"{at} ms {on}", f"One search at a time {on}", f"search_ms{end}", at)
        for at in ("p50", "p95", "p99")
    ]
    once = Column(
        f"search_one_per_s{end}",
        f"one by one/s {on}",
        f"Searches a second, one after another, {on}: 1000 over their mean milliseconds.",
        f"search_ms{end}",
        "rate",
        "per_s",
        "high",
        brief=threads == 1,
    )
    compiled = f"Seconds that JAX compiled for the search {on}, counted nowhere else."
    return (
        *waits,
        once,
        _rate(f"search_queries_per_s{end}", f"searches/s {on}", f"Searches {on}"),
        _cost(f"search_compile_s{end}", f"compile s {on}", compiled, "s"),
    )


THREADS = (1, 2, 4, 8)
EXPECTED = "expected value over the orders of tied documents, mean over queries."
COLUMNS = (
    _quality("ndcg@10", "nDCG@10", f"Discounted gain of the first 10: {EXPECTED}", brief=True),
    _quality(
        "fidelity@10", "fidelity@10", "Share of the 10 exact float32 neighbours among the first 10 found.", brief=True
    ),
    _cost("bytes_per_vector", "B/vector", "Bytes that one document takes in the index.", "bytes", brief=True),
    _wait(
        "query_ms_p50",
        "query p50 ms",
        "One query at a time, encoding and search together",
        "query_ms",
        "p50",
        brief=True,
    ),
    _wait("search_ms_p50", "search p50 ms", "One search at a time, median", "search_ms", "p50", brief=True),
    _wait("search_ms_p95", "search p95 ms", "One search at a time, 19 of 20 are faster", "search_ms", "p95"),
    _wait(
        "search_ms_p99", "search p99 ms", "One search at a time, 99 of 100 are faster", "search_ms", "p99", brief=True
    ),
    _rate("search_queries_per_s", "searches/s", "Searches", brief=True),
    *(column for threads in THREADS for column in _threads(threads)),
    _quality("mrr@10", "MRR@10", f"Reciprocal rank of the first answer, 0 beyond 10: {EXPECTED}"),
    _quality("recall@10", "recall@10", f"Share of the relevant documents among the first 10: {EXPECTED}"),
    _quality("recall@100", "recall@100", f"Share of the relevant documents among the first 100: {EXPECTED}"),
    _quality("trec_eval_ndcg@10", "nDCG@10 of trec_eval", "With ties in the one order that trec_eval gives them."),
    Column(
        "tied@10",
        "ties",
        "Share of queries whose nDCG@10 hangs on the order of ties.",
        "tied@10",
        "mean",
        "percent",
        "low",
    ),
    _quality("fidelity@1", "fidelity@1", "Share of queries whose exact float32 nearest neighbour comes first."),
    _quality("fidelity@100", "fidelity@100", "Share of the 100 exact float32 neighbours among the first 100 found."),
    _wait("encode_ms_p50", "encode p50 ms", "Encoding one query at a time, median", "encode_ms", "p50"),
    _rate("encode_queries_per_s", "encoded/s", "Queries encoded"),
    _cost("index_bytes_disk", "on disk", "Bytes of the index as saved.", "size"),
    _cost("index_bytes_resident", "in memory", "Bytes of the index while it searches.", "size"),
    Column("build_s", "build s", "Seconds from the documents' vectors to the index.", "build_s", "p50", "s", "low"),
    _cost(
        "search_compile_s", "compile search s", "Seconds that JAX compiled for the search, counted nowhere else.", "s"
    ),
    _cost(
        "encode_compile_s", "compile encoder s", "Seconds that JAX compiled for the encoder, counted nowhere else.", "s"
    ),
)
TOLD = ("documents", "queries_without_relevant", "queries_unjudged")  # said in words


def _range(values: Float[np.ndarray, " n"]) -> Cell:
    return Cell(float(values.min()), float(values.mean()), float(values.max()))  # few seeds: their range, no interval


def _only(values: Float[np.ndarray, " n"]) -> Cell:
    return Cell(None, float(values.mean()), None)


def _quantile(values: Float[np.ndarray, " n"], *, share: float) -> Cell:
    low, value, high = evaluate.quantile(values, share)
    return Cell(low if math.isfinite(low) else None, value, high if math.isfinite(high) else None)


def _rate_of(values: Float[np.ndarray, " n"]) -> Cell:
    """Searches a second from the milliseconds of each, with the interval of their mean."""
    low, mean, high = evaluate.interval(values, resamples=1000)
    return Cell(1e3 / high, 1e3 / mean, 1e3 / low)


STATISTICS: Mapping[str, Callable[[Float[np.ndarray, " n"]], Cell]] = {
    "mean": _range,  # over queries it is an interval: see `_intervals`
    "p50": partial(_quantile, share=0.5),
    "p95": partial(_quantile, share=0.95),
    "p99": partial(_quantile, share=0.99),
    "only": _only,
    "rate": _rate_of,
}


class Row(NamedTuple):
    """A system.

    label: its recipe, with what of its config tells it from others of that name.
    group: what its config says, or else its encoder, or its recipe; rows of a group share a colour.
    cells: column key -> cell; None where it was not measured.
    best, worst: the ranks it may hold; None where the ranked metric is missing.
    tied: labels of the systems it cannot be told from.
    """

    label: str
    group: str
    config: dict[str, Any]
    cells: dict[str, Cell | None]
    best: int | None
    worst: int | None
    tied: tuple[str, ...]

    @property
    def rank(self) -> str:
        """`1`, or `2–4` where it ties."""
        if self.best is None or self.worst is None:
            return DASH
        return str(self.best) if self.best == self.worst else f"{self.best}{DASH}{self.worst}"


class Board(NamedTuple):
    """All that a leaderboard shows, best first."""

    task: str
    ranked_by: Column
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    devices: tuple[str, ...]
    versions: tuple[dict[str, str], ...]
    notes: tuple[str, ...]


Systems = dict[str, dict[str, Record]]
"""Label -> metric -> record."""


def summarise(records: Sequence[Record], *, ranked_by: str = "ndcg@10", seed: int = 0) -> Board:
    """One board of one task.

    Args:
      ranked_by: key of a column of means over queries, larger better.
      seed: of the resampling.
    Raises: ValueError for no record, records of several tasks (make a board of
      each), a metric recorded twice for one system, an unknown `ranked_by`, or
      systems with other numbers of queries.
    """
    tasks = sorted({record.task for record in records})
    if len(tasks) != 1:
        raise ValueError(f"a leaderboard is of one task, got {len(tasks)}: {', '.join(tasks) or 'no record'}")
    by_key = {column.key: column for column in COLUMNS}
    if ranked_by not in by_key or by_key[ranked_by].statistic != "mean":
        means = [column.key for column in COLUMNS if column.statistic == "mean"]
        raise ValueError(f"ranked_by must be one of {means}, got {ranked_by!r}")
    systems = _systems(records)
    column = by_key[ranked_by]
    cells = _cells(systems, seed)
    shown = tuple(one for one in COLUMNS if any(of[one.key] for of in cells.values()))
    best, worst, tied = _ranked(column, systems, seed)
    rows = [
        Row(
            label=label,
            group=_group(found),
            config=next(iter(found.values())).config,
            cells={one.key: cells[label][one.key] for one in shown},
            best=best.get(label),
            worst=worst.get(label),
            tied=tied.get(label, ()),
        )
        for label, found in systems.items()
    ]
    return Board(
        task=tasks[0],
        ranked_by=column,
        columns=shown,
        rows=tuple(sorted(rows, key=partial(_place, key=ranked_by))),
        devices=tuple(dict.fromkeys(record.device for record in records)),
        versions=tuple(dict(pairs) for pairs in dict.fromkeys(tuple(record.versions.items()) for record in records)),
        notes=tuple(_notes(systems, shown, column)),
    )


def as_json(board: Board) -> dict[str, Any]:
    """The board as plain JSON: what the page embeds."""
    return {
        "task": board.task,
        "ranked_by": board.ranked_by.key,
        "columns": [column._asdict() for column in board.columns],
        "rows": [
            {
                "label": row.label,
                "group": row.group,
                "rank": [row.best, row.worst],
                "tied_with": list(row.tied),
                "config": row.config,
                "cells": {key: cell and list(cell) for key, cell in row.cells.items()},
            }
            for row in board.rows
        ],
        "devices": list(board.devices),
        "versions": list(board.versions),
        "notes": list(board.notes),
    }


def _place(row: Row, *, key: str) -> tuple[float, float, float, str]:
    cell = row.cells.get(key)
    if row.best is None or row.worst is None or cell is None:
        return math.inf, math.inf, math.inf, row.label
    return float(row.best), float(row.worst), -cell.value, row.label


def _systems(records: Sequence[Record]) -> Systems:
    """Records by system, in the order they came, and the systems labelled apart."""
    keys = {(record.recipe, json.dumps(record.config, sort_keys=True)): record.config for record in records}
    labels = _labels(list(keys), list(keys.values()))
    systems: Systems = defaultdict(dict)
    for record in records:
        label = labels[record.recipe, json.dumps(record.config, sort_keys=True)]
        if record.metric in systems[label]:
            raise ValueError(f"{label}: {record.metric} is recorded twice for the same config; keep the run you mean")
        systems[label][record.metric] = record
    return dict(systems)


def _labels(keys: Sequence[tuple[str, str]], configs: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    flat = [dict(_flat(config)) for config in configs]
    labels = {}
    for (recipe, text), own in zip(keys, flat, strict=True):
        others = [other for (name, _), other in zip(keys, flat, strict=True) if name == recipe]
        differing = [name for name in own if any(other.get(name) != own[name] for other in others)]
        apart = ", ".join(f"{name.rpartition('.')[2]}={own[name]}" for name in differing)
        labels[recipe, text] = f"{recipe} ({apart})" if apart else recipe
    twice = [label for label, times in Counter(labels.values()).items() if times > 1]
    if twice:
        raise ValueError(f"two systems would both be called {twice[0]!r}: give them other names")
    return labels


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(before + name, value)]
    return found


def _group(found: Mapping[str, Record]) -> str:
    record = next(iter(found.values()))
    return str(record.config.get("group", record.config.get("encoder", record.recipe)))


def _cells(systems: Systems, seed: int) -> dict[str, dict[str, Cell | None]]:
    """Label -> column key -> cell; None where there is no record, or one of its values is missing."""
    cells: dict[str, dict[str, Cell | None]] = {label: dict.fromkeys(one.key for one in COLUMNS) for label in systems}
    means: dict[int, list[tuple[str, Column, Record]]] = defaultdict(list)
    for label, found in systems.items():
        for column in COLUMNS:
            record = found.get(column.metric)
            if record is None or any(map(math.isnan, record.values)):
                continue
            if column.statistic == "mean" and record.each == "query":
                means[len(record.values)].append((label, column, record))
            else:
                cells[label][column.key] = STATISTICS[column.statistic](np.array(record.values))
    for some in means.values():  # those of as many queries are resampled together
        ends = evaluate.intervals(np.array([record.values for *_, record in some]), seed=seed)
        for (label, column, _), found_ in zip(some, ends, strict=True):
            cells[label][column.key] = Cell(*found_)
    return cells


def _ranked(
    column: Column, systems: Systems, seed: int
) -> tuple[dict[str, int], dict[str, int], dict[str, tuple[str, ...]]]:
    values = {
        label: found[column.metric].values
        for label, found in systems.items()
        if column.metric in found
        and found[column.metric].each == "query"
        and not any(map(math.isnan, found[column.metric].values))
    }
    if not values:
        return {}, {}, {}
    sizes = {len(of) for of in values.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"{column.key}: systems are compared on the same queries, got "
            + ", ".join(f"{len(of)} for {label}" for label, of in values.items())
        )
    labels = list(values)
    found = evaluate.ranks(np.array(list(values.values())), seed=seed)
    tied = {
        label: tuple(labels[j] for j in np.flatnonzero(line)) for label, line in zip(labels, found.tied, strict=True)
    }
    best, worst = (dict(zip(labels, map(int, of), strict=True)) for of in (found.best, found.worst))
    return best, worst, tied


def _notes(systems: Systems, shown: Sequence[Column], ranked_by: Column) -> list[str]:
    def counts(metric: str) -> list[float]:
        return sorted({found[metric].values[0] for found in systems.values() if metric in found})

    queries = {len(found[ranked_by.metric].values) for found in systems.values() if ranked_by.metric in found}
    notes = [f"{count:,.0f} documents" for count in counts("documents")]
    notes += [f"{count:,} queries that count for {ranked_by.title}" for count in sorted(queries)]
    notes += [
        f"{count:,.0f} of these have no relevant document; each counts 0 in every row, as in trec_eval"
        for count in counts("queries_without_relevant")
        if count
    ]
    notes += [
        f"{count:,.0f} further queries have no judgement and count nowhere"
        for count in counts("queries_unjudged")
        if count
    ]
    for label, found in systems.items():
        for record in found.values():
            if missing := sum(map(math.isnan, record.values)):
                notes.append(f"{label}: {missing} of {len(record.values)} values of {record.metric} are missing")
    read = {column.metric for column in shown} | set(TOLD)
    if others := sorted({metric for found in systems.values() for metric in found} - read):
        notes.append(f"also recorded, shown nowhere here: {', '.join(others)}")
    return notes
