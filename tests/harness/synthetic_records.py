"""Records of made-up systems, with every metric that a run leaves."""

import numpy as np

from jaxemb.harness import Record

VERSIONS = {"jaxemb": "0.1.0", "jax": "0.10.2"}


def record(recipe, metric, values, each="once", config=None, **changed):
    content = {
        "recipe": recipe,
        "config": {} if config is None else config,
        "task": "toy@1/test",
        "metric": metric,
        "values": tuple(float(value) for value in values),
        "each": each,
        "device": "2-core CPU (toy)",
        "versions": VERSIONS,
    }
    return Record(**{**content, **changed})


def system(name, quality, width, ms, seed=0, queries=120, encoder=None, fidelity=None):
    """All records of one system; queries are as hard for every system, whatever its seed."""
    hard = np.random.default_rng(99).normal(scale=0.2, size=queries)
    chance = np.random.default_rng(seed)
    per_query = np.clip(quality + hard + chance.normal(scale=0.05, size=queries), 0, 1)
    config = {
        "encoder": encoder or name,
        "measured": {
            "depth": 100,
            "batch": 256,
            "calls": 400,
            "repeats": 7,
            "cores": 2,
            "pinned": False,
            "threads": {},
        },
    }
    found = [
        record(name, metric, np.clip(per_query * scale, 0, 1), "query", config)
        for metric, scale in (("ndcg@10", 1.0), ("mrr@10", 0.9), ("recall@10", 1.2), ("recall@100", 1.5))
    ]
    found.append(record(name, "trec_eval_ndcg@10", per_query, "query", config))
    found.append(record(name, "tied@10", chance.integers(0, 2, queries), "query", config))
    search = 0.1 * ms * chance.lognormal(sigma=0.3, size=400)
    found += [
        record(name, "search_ms", search, "query", config),
        record(name, "query_ms", search + 0.9 * ms * chance.lognormal(sigma=0.1, size=400), "query", config),
        record(name, "search_queries_per_s", 1e4 / ms * chance.lognormal(sigma=0.05, size=7), "repeat", config),
        record(name, "search_compile_s", [0.3], "once", config),
        record(name, "build_s", [1.5], "once", config),
        record(name, "documents", [1000], "once", config),
        record(name, "queries_without_relevant", [0], "once", config),
        record(name, "queries_unjudged", [0], "once", config),
    ]
    if width is not None:
        found += [
            record(name, "bytes_per_vector", [width], "once", config),
            record(name, "index_bytes_disk", [1000 * width], "once", config),
            record(name, "index_bytes_resident", [1100 * width], "once", config),
        ]
    if fidelity is not None:
        found.append(record(name, "fidelity@10", np.full(queries, fidelity), "query", config))
    return found


def quickstart():
    """What a quickstart measures: ten rows of three encoders."""
    rows = [
        ("MiniLM", 0.55, 1536, 9.0, 1, "MiniLM", 1.0),
        ("MiniLM int8", 0.55, 384, 9.1, 1, "MiniLM", 0.99),
        ("MiniLM truncate-128", 0.50, 512, 8.9, 2, "MiniLM", 0.7),
        ("MiniLM sign bits", 0.49, 48, 9.4, 3, "MiniLM", 0.6),
        ("MiniLM ScaNN", 0.548, 1920, 9.2, 4, "MiniLM", 0.97),
        ("static student", 0.42, 1024, 0.11, 5, "static", 1.0),
        ("static student int8", 0.42, 256, 0.12, 6, "static", 0.985),
        ("static student sign bits", 0.36, 32, 0.10, 7, "static", 0.55),
        ("token average", 0.30, 1024, 0.11, 8, "average", 1.0),
        ("BM25", 0.48, 230, 0.3, 9, "BM25", None),
    ]
    found = []
    for name, quality, width, ms, seed, encoder, fidelity in rows:
        found += system(name, quality, width, ms, seed, encoder=encoder, fidelity=fidelity)
    return found
