import math

import numpy as np
import pytest
from synthetic_records import quickstart, record, system

from jaxemb import evaluate
from jaxemb.harness import summarise


def rows(board):
    return {row.label: row for row in board.rows}


def test_numbers_and_their_intervals():
    found = quickstart()
    board = summarise(found)
    values = next(np.array(one.values) for one in found if (one.recipe, one.metric) == ("BM25", "ndcg@10"))
    cells = rows(board)["BM25"].cells
    assert tuple(cells["ndcg@10"]) == pytest.approx(tuple(evaluate.interval(values)), abs=1e-12)
    waits = next(np.array(one.values) for one in found if (one.recipe, one.metric) == ("BM25", "search_ms"))
    assert tuple(cells["search_ms_p95"]) == tuple(evaluate.quantile(waits, 0.95))
    assert tuple(cells["bytes_per_vector"]) == (None, 230.0, None)
    assert cells["fidelity@10"] is None
    assert "120 queries that count for nDCG@10" in board.notes


def test_ranks_are_shared_where_systems_cannot_be_told_apart():
    found = rows(summarise(quickstart()))
    assert found["MiniLM"].rank == found["MiniLM int8"].rank == "1\N{EN DASH}3"
    assert found["MiniLM"].tied == ("MiniLM int8", "MiniLM ScaNN")
    assert (found["token average"].rank, found["token average"].tied) == ("10", ())


def test_order_of_records_does_not_matter():
    found = quickstart()
    board, again = summarise(found), summarise(found[::-1])
    assert [row.label for row in board.rows] == [row.label for row in again.rows]
    assert {row.label: row.rank for row in board.rows} == {row.label: row.rank for row in again.rows}


def test_a_value_that_is_missing_is_missing_and_told():
    found = [
        *system("a", 0.5, 8, 1),
        record("b", "ndcg@10", [0.5] * 119 + [math.nan], "query"),
        record("b", "loss", [0.1]),
    ]
    board = summarise(found)
    last = board.rows[-1]
    assert (last.label, last.best, last.rank) == ("b", None, "\N{EN DASH}")
    assert last.cells["ndcg@10"] is None
    assert "b: 1 of 120 values of ndcg@10 are missing" in board.notes
    assert "also recorded, shown nowhere here: loss" in board.notes


def test_values_of_seeds_show_their_range():
    found = summarise([record("a", "ndcg@10", [0.1, 0.4, 0.2], "seed")])
    assert tuple(found.rows[0].cells["ndcg@10"]) == pytest.approx((0.1, 0.7 / 3, 0.4))
    assert found.rows[0].best is None


def test_too_few_values_leave_an_end_open():
    cell = summarise([record("a", "search_ms", range(1, 101), "query")]).rows[0].cells["search_ms_p99"]
    assert cell.high is None
    assert cell.low is not None


def test_systems_of_one_name_are_labelled_by_what_differs():
    found = [
        record("student", "ndcg@10", [0.1, 0.2], "query", {"bits": bits, "fixed": 3, "measured": {"cores": cores}})
        for bits, cores in ((8, 1), (8, 2), (1, 1))
    ]
    assert {row.label for row in summarise(found).rows} == {
        "student (bits=8, cores=1)",
        "student (bits=8, cores=2)",
        "student (bits=1, cores=1)",
    }


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "of one task, got 0: no record"),
        ([record("a", "m", [1]), record("a", "m", [1], task="toy@2/test")], "got 2: toy@1/test, toy@2/test"),
        ([record("a", "ndcg@10", [1]), record("a", "ndcg@10", [0])], "a: ndcg@10 is recorded twice"),
        (
            [record("a", "ndcg@10", [1, 1], "query"), record("b", "ndcg@10", [0], "query")],
            "the same queries, got 2 for a, 1 for b",
        ),
    ],
)
def test_records_that_make_no_table_are_refused(found, message):
    with pytest.raises(ValueError, match=message):
        summarise(found)


def test_only_a_mean_can_rank():
    with pytest.raises(ValueError, match="ranked_by must be one of"):
        summarise(quickstart(), ranked_by="search_ms_p50")
    assert summarise(quickstart(), ranked_by="recall@100").ranked_by.key == "recall@100"
