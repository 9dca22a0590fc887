"""The pieces of `bench/train` that need no other library."""

import sys
from pathlib import Path

import pytest

from jaxemb.data import Pair
from jaxemb.harness import Record

sys.path.insert(0, str(Path(__file__).parents[2]))  # bench is no part of the package

from bench.train.__main__ import batches
from bench.train.table import spread, table
from bench.train.tiling import measured


def record(name, metric, values, each="repeat", **config):
    return Record(
        recipe=name,
        config=config,
        task="some@1",
        metric=metric,
        values=values,
        each=each,
        device="2-core CPU",
        versions={"jax": "1"},
    )


def test_ratios_are_taken_step_by_step():
    config = {"batch": 4, "tokens": 8, "precision": "float32"}
    told = table(
        [
            record("jaxemb float32", "step_s", (1.0, 2.0, 4.0), peer=False, **config),
            record("sentence-transformers float32", "step_s", (2.0, 6.0, 4.0), peer=True, **config),
            *(
                record(name, "loss", (0.5, 0.25, 0.125), peer=False, **config)
                for name in ("jaxemb float32", "sentence-transformers float32")
            ),
            record("jaxemb float32", "mrr@10", (1.0, 0.5, 1.0, 0.75), "query", peer=False, **config),
            record("sentence-transformers float32", "mrr@10", (1.0, 0.5, 1.0, 0.5), "query", peer=True, **config),
            record("before", "mrr@10", (0.5, 0.0, 0.5, 0.25), "query"),
        ]
    )
    (row,) = [line for line in told.splitlines() if line.startswith("| jaxemb float32")]
    assert "| 2.00 [1.00, 4.00] | 2.00 [1.00, 3.00] | 0.50000 |" in row
    assert row.endswith("| 0.500 [0.500, 0.500] |")  # every query gained as much


def test_tiles_are_compared_with_the_whole():
    told = table(
        [
            record("tiled", "loss_s", (1.0, 3.0, 2.0), rows=16, dimensions=4),
            record("naive", "loss_s", (4.0, 4.0, 8.0), rows=16, dimensions=4),
            record("tiled", "loss_peak_bytes", (2.0**30,), "once", rows=16, dimensions=4),
            record("naive", "loss_peak_bytes", (2.0**32,), "once", rows=16, dimensions=4),
        ]
    )
    assert "| 16 | 4 | 2.00 [1.00, 3.00] | 4.00 [4.00, 8.00] | 0.50 | 1.00 | 4.00 |" in told


def test_batches_have_every_pair_once():
    pairs = [Pair(str(i), f"d{i}") for i in range(10)]
    made = batches(pairs, 3, 3)
    told = [query for queries, _ in made for query in queries]
    assert len(told) == len(set(told)) == 9
    assert all(document == f"d{query}" for batch in made for query, document in zip(*batch, strict=True))
    with pytest.raises(ValueError, match="wanted 12 pairs, there are 10"):
        batches(pairs, 4, 3)


def test_the_spread_is_the_median_and_both_ends():
    assert spread([4.0, 1.0, 2.0]) == "2.00 [1.00, 4.00]"


@pytest.mark.slow
def test_a_tiled_loss_is_measured_in_a_process_of_its_own():
    got = measured("tiled", 64, 8, 2)
    assert len(got["seconds"]) == 2
    assert all(second > 0 for second in got["seconds"])
    assert got["bytes"] > 0
