import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import evaluate
from jaxemb.data.task import Task
from jaxemb.harness import Encoded, Settings, System, bm25, encode_queries, measure, time_queries

QUICK = Settings(calls=20, repeats=3, batch=4, depth=10, metrics={"ndcg@10": evaluate.METRICS["ndcg@10"]})


def toy(queries=7, documents=30):
    ids = [f"d{i}" for i in range(documents)]
    query_ids = [f"q{i}" for i in range(queries)]
    return Task(
        name="toy@1",
        split="test",
        document_ids=ids,
        documents=[f"text {i}" for i in range(documents)],
        query_ids=query_ids,
        queries=[f"about {i}" for i in range(queries)],
        judgements={query: {ids[i]: 1} for i, query in enumerate(query_ids)},
    )


def vectors(n, seed):
    rows = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact(document):
    def search(query, k):
        scores = query @ document.T
        rows = np.argsort(-scores, axis=1)[:, :k]
        return rows.astype(np.int64), np.take_along_axis(scores, rows, 1)

    return search


def row(search, **changed):
    content = {"name": "toy", "config": {"index": "exact"}, "search": search, "bytes_per_vector": 32}
    return System(**{**content, "disk_bytes": 960, "resident_bytes": None, "build_s": (0.5,), **changed})


def by_metric(records):
    return {record.metric: record for record in records}


def test_every_number_of_a_row():
    document = vectors(30, 0)
    query = document[:7] + 0.01 * vectors(7, 1)
    encoded = encode_queries(
        lambda texts: np.stack([query[int(text.split()[1])] for text in texts]), toy().queries, QUICK
    )
    truth = evaluate.neighbours(query, document, 10)
    found = by_metric(measure(row(exact(document)), toy(), encoded, truth, QUICK))
    assert {name: (record.each, len(record.values)) for name, record in found.items()} == {
        "ndcg@10": ("query", 7),
        "queries_without_relevant": ("once", 1),
        "queries_unjudged": ("once", 1),
        "fidelity@10": ("query", 7),
        "documents": ("once", 1),
        "bytes_per_vector": ("once", 1),
        "index_bytes_disk": ("once", 1),
        "build_s": ("once", 1),
        "search_ms": ("query", 20),
        "search_queries_per_s": ("repeat", 3),
        "search_compile_s": ("once", 1),
        "encode_ms": ("query", 20),
        "encode_queries_per_s": ("repeat", 3),
        "encode_compile_s": ("once", 1),
        "query_ms": ("query", 20),
    }
    assert found["ndcg@10"].values == found["fidelity@10"].values == (1.0,) * 7
    assert found["bytes_per_vector"].values == (32.0,)
    total = np.add(found["encode_ms"].values, found["search_ms"].values)
    np.testing.assert_allclose(found["query_ms"].values, total)
    one = found["ndcg@10"]
    assert (one.recipe, one.task, one.config["index"]) == ("toy", "toy@1/test", "exact")
    assert one.config["measured"]["depth"] == 10
    assert one.config["measured"]["pinned"] is False


def test_a_search_that_finds_the_wrong_documents_scores_low():
    document = vectors(30, 0)
    truth = evaluate.neighbours(document[:7], document, 10)

    def worst(query, k):
        rows = np.argsort(query @ document.T, axis=1)[:, :k]
        return rows.astype(np.int64), np.zeros((len(query), k), np.float32)

    found = by_metric(measure(row(worst), toy(), Encoded(document[:7]), truth, QUICK))
    assert found["ndcg@10"].values == found["fidelity@10"].values == (0.0,) * 7


def test_vectors_without_judgements_have_fidelity_alone():
    document = vectors(30, 0)
    truth = evaluate.neighbours(document[:7], document, 10)
    task = Task(**{**vars(toy()), "judgements": {}})
    found = by_metric(measure(row(exact(document)), task, Encoded(document[:7]), truth, QUICK))
    assert "ndcg@10" not in found
    assert found["fidelity@10"].values == (1.0,) * 7
    assert found["query_ms"].values == found["search_ms"].values


class Queued:
    """A result that is only there when somebody looks, as a JAX array may be."""

    def __array__(self, dtype=None, copy=None):
        time.sleep(0.004)
        return np.zeros((1, 1), dtype)


def test_queued_work_is_waited_for():
    timing = time_queries(lambda texts: (Queued(), Queued()), ["a", "b"], Settings(calls=5, repeats=2, batch=2))
    assert 8 <= min(timing.one_ms) <= np.median(timing.one_ms) < 40
    assert max(timing.per_s) <= 2 / 0.008


def test_compiling_is_told_apart():
    @jax.jit
    def slow_to_compile(query):
        for _ in range(60):
            query = jnp.sin(query @ query.T @ query)
        return query

    timing = time_queries(slow_to_compile, vectors(5, 0), Settings(calls=10, repeats=2, batch=2))
    assert timing.compile_s > 0.02
    assert np.median(timing.one_ms) < 1e3 * timing.compile_s
    again = time_queries(slow_to_compile, vectors(5, 0), Settings(calls=10, repeats=2, batch=2))
    assert again.compile_s == 0.0


def test_every_call_is_of_the_query_that_it_says():
    seen = []

    def call(texts):
        seen.append(list(texts))
        return np.zeros(1)

    time_queries(call, ["a", "b", "c", "d", "e"], Settings(calls=6, repeats=3, batch=2))
    singles, batches = [["a"], ["b"], ["c"], ["d"], ["e"]], [["a", "b"], ["c", "d"]]
    assert seen == singles + batches + [*singles, ["a"]] + [*batches, ["a", "b"]]


def test_fewer_queries_than_a_batch_are_one_batch():
    sizes = []
    time_queries(lambda texts: sizes.append(len(texts)), ["a", "b", "c"], Settings(calls=1, repeats=2, batch=256))
    assert sizes == [1, 3, 1, 3, 3]


def test_bm25_is_a_row():
    task = Task(
        name="code@1",
        split="test",
        document_ids=["a", "b", "c"],
        documents=["def read_file(path)", "class HTTPServer", "def write"],
        query_ids=["q", "r"],
        queries=["read a file", "an http server"],
        judgements={"q": {"a": 1}, "r": {"b": 1}},
    )
    settings = Settings(calls=5, repeats=2)
    found = by_metric(measure(bm25.system(task), task, Encoded(task.queries), None, settings))
    assert found["ndcg@10"].values == (1.0, 1.0)
    assert found["ndcg@10"].config["measured"]["depth"] == 3
    assert not {"fidelity@10", "encode_ms"} & set(found)


def test_bad_settings_and_hits_are_refused():
    with pytest.raises(ValueError, match="recall@100, fidelity@20 looks beyond the 10"):
        Settings(depth=10, metrics={"recall@100": evaluate.recall}, fidelity_at=(1, 20))
    with pytest.raises(ValueError, match="'calls': 0"):
        Settings(calls=0)
    with pytest.raises(ValueError, match="one query or more"):
        time_queries(len, [], QUICK)
    document = vectors(30, 0)
    short = lambda query, k: tuple(part[:, :5] for part in exact(document)(query, k))
    with pytest.raises(ValueError, match=r"toy: a search of 4 queries for 10 documents.*\(4, 10\), got \(4, 5\)"):
        measure(row(short), toy(), Encoded(document[:7]), None, QUICK)
    with pytest.raises(ValueError, match="fidelity@10 needs 10 neighbours, got 5"):
        measure(
            row(exact(document)), toy(), Encoded(document[:7]), evaluate.neighbours(document[:7], document, 5), QUICK
        )
