"""Search results and judgements to one value a query."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from jaxemb.evaluate.metrics import Metric, Ranking, as_trec_eval, mrr, ndcg, recall, tied

Judgements = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade; 1 or more is relevant."""

Run = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score; larger is closer."""


@runtime_checkable
class Judged(Protocol):
    """The part of a task that judging reads: `data.Task` is one."""

    @property
    def name(self) -> str: ...
    @property
    def document_ids(self) -> Sequence[str]: ...
    @property
    def query_ids(self) -> Sequence[str]: ...
    @property
    def judgements(self) -> Judgements: ...


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "ndcg@10": partial(ndcg, k=10),
        "mrr@10": partial(mrr, k=10),
        "recall@10": partial(recall, k=10),
        "recall@100": partial(recall, k=100),
        "trec_eval_ndcg@10": partial(as_trec_eval(ndcg), k=10),
        "tied@10": partial(tied, k=10),
    }
)
"""What a retrieval task reports: expected values over ties, then trec_eval's number, then how often ties matter."""


class Retrieval(NamedTuple):
    """One value a judged query, in the task's order.

    query_ids: the judged queries.
    values: metric name -> one value for each of them.
    without_relevant: how many of them have no relevant document; each counts with 0, as in trec_eval.
    unjudged: how many of the task's queries have no judgement at all; they count nowhere, as in trec_eval.
    """

    query_ids: tuple[str, ...]
    values: dict[str, Float[np.ndarray, " q"]]
    without_relevant: int
    unjudged: int


def retrieval(
    task: Judged,
    run: tuple[Int[np.ndarray, "b k"], Float[np.ndarray, "b k"]] | Run,
    metrics: Mapping[str, Metric] = METRICS,
) -> Retrieval:
    """Judge what every query of a task found.

    Args:
      run: rows into the task's documents and their scores, one line a query in
        the task's order, in which row -1 stands for no document; or ids to
        scores, in which a missing query found nothing.
      metrics: name -> function of one ranking.
    Raises: ValueError that names the query for a NaN score, a document found
      twice or a row outside the documents; for a run of another size; and for a
      task without any judgement.
    """
    rankings = _from_run(task, run) if isinstance(run, Mapping) else _from_rows(task, *run)
    judged, lists = [], []
    for query_id, ranking in rankings:
        if np.isnan(ranking.scores).any():
            raise ValueError(f"{task.name}: query {query_id!r} has NaN among its scores")
        judged.append(query_id)
        lists.append(ranking)
    if not judged:
        raise ValueError(f"{task.name}: not one of its {len(task.query_ids)} queries has a judgement")
    values = {name: np.array([metric(one) for one in lists], np.float64) for name, metric in metrics.items()}
    return Retrieval(
        tuple(judged),
        values,
        without_relevant=sum(not (one.judged >= 1).any() for one in lists),
        unjudged=len(task.query_ids) - len(judged),
    )


def as_run(task: Judged, rows: Int[np.ndarray, "b k"], scores: Float[np.ndarray, "b k"]) -> dict[str, dict[str, float]]:
    """Rows and scores to ids and scores, the form that files hold; row -1 is left out."""
    _same_queries(task, rows, scores)
    return {
        query_id: {task.document_ids[row]: float(score) for row, score in zip(*line, strict=True) if row >= 0}
        for query_id, *line in zip(task.query_ids, rows, scores, strict=True)
    }


def _judged(task: Judged) -> Iterator[tuple[int, str, Int[np.ndarray, " j"]]]:
    for place, query_id in enumerate(task.query_ids):
        grades = task.judgements.get(query_id)
        if grades:
            yield place, query_id, np.fromiter(grades.values(), np.int64, len(grades))


def _same_queries(task: Judged, rows: Int[np.ndarray, "b k"], scores: Float[np.ndarray, "b k"]) -> None:
    if rows.shape != scores.shape or rows.shape[0] != len(task.query_ids):
        raise ValueError(
            f"{task.name}: {len(task.query_ids)} queries need as many lines of rows and of scores, "
            f"got rows {rows.shape} and scores {scores.shape}"
        )


def _from_rows(
    task: Judged, rows: Int[np.ndarray, "b k"], scores: Float[np.ndarray, "b k"]
) -> Iterator[tuple[str, Ranking]]:
    _same_queries(task, rows, scores)
    n = len(task.document_ids)
    row_of = {document_id: row for row, document_id in enumerate(task.document_ids)}
    by_id = np.empty(n, np.int64)
    by_id[sorted(range(n), key=task.document_ids.__getitem__)] = np.arange(n)
    grade_of = np.zeros(n, np.int64)  # of the query at hand: one look-up an answer, however many it found
    for place, query_id, judged in _judged(task):
        found = rows[place] >= 0
        answer, score = rows[place][found], scores[place][found]
        if answer.size and answer.max() >= n:
            raise ValueError(f"{task.name}: query {query_id!r} found row {answer.max()} of {n} documents")
        if np.unique(answer).size != answer.size:
            raise ValueError(f"{task.name}: query {query_id!r} found a document twice")
        known = [(row_of[name], grade) for name, grade in task.judgements[query_id].items() if name in row_of]
        for row, grade in known:
            grade_of[row] = grade
        yield query_id, Ranking(score, grade_of[answer], judged, by_id[answer])
        for row, _ in known:
            grade_of[row] = 0


def _from_run(task: Judged, run: Run) -> Iterator[tuple[str, Ranking]]:
    for _, query_id, judged in _judged(task):
        found, grades = run.get(query_id, {}), task.judgements[query_id]
        by_id = np.empty(len(found), np.int64)
        by_id[sorted(range(len(found)), key=list(found).__getitem__)] = np.arange(len(found))
        yield (
            query_id,
            Ranking(
                np.fromiter(found.values(), np.float64, len(found)),
                np.fromiter((grades.get(name, 0) for name in found), np.int64, len(found)),
                judged,
                by_id,
            ),
        )
