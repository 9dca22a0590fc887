from functools import partial

import numpy as np
import pytest

from jaxemb import data, evaluate


class Toy:
    name = "toy@1"
    document_ids = ("a", "b", "c", "d")
    query_ids = ("q1", "q2", "q3", "q4")
    judgements = {"q1": {"a": 2, "c": 1, "gone": 1}, "q2": {"d": 0}, "q4": {"b": 1}}  # noqa: RUF012


ROWS = np.array([[2, 1, 0], [3, 0, 1], [0, 1, 2], [3, -1, -1]])
SCORES = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, -np.inf, -np.inf]], np.float32)


def test_rows_by_hand():
    got = evaluate.retrieval(Toy(), (ROWS, SCORES))
    assert got.query_ids == ("q1", "q2", "q4")
    np.testing.assert_allclose(got.values["mrr@10"], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(got.values["recall@10"], [2 / 3, 0.0, 0.0])  # a judged document outside the task counts
    np.testing.assert_allclose(
        got.values["ndcg@10"], [(1 + 2 / 2) / (2 + 1 / np.log2(3) + 1 / 2), 0.0, 0.0], rtol=1e-12
    )
    assert (got.without_relevant, got.unjudged) == (1, 1)


def test_rows_and_ids_say_the_same():
    scores = np.round(np.random.default_rng(0).normal(size=(4, 3)), 0).astype(np.float32)
    rows = np.array([[2, 1, 0], [3, 0, 1], [0, 1, 2], [3, 1, -1]])
    by_rows = evaluate.retrieval(Toy(), (rows, scores)).values
    by_ids = evaluate.retrieval(Toy(), evaluate.as_run(Toy(), rows, scores)).values
    for name in evaluate.METRICS:
        np.testing.assert_array_equal(by_rows[name], by_ids[name])


def test_a_run_without_a_query_found_nothing_for_it():
    got = evaluate.retrieval(Toy(), {"q4": {"b": 0.1}, "unknown": {"a": 1.0}})
    np.testing.assert_array_equal(got.values["ndcg@10"], [0.0, 0.0, 1.0])


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("rows", "scores", "message"),
    [
        (ROWS, changed(SCORES, (3, 0), np.nan), "toy@1: query 'q4' has NaN"),
        (changed(ROWS, (1, 0), 4), SCORES, "query 'q2' found row 4 of 4 documents"),
        (changed(ROWS, (0, 1), 0), SCORES, "query 'q1' found a document twice"),
        (ROWS[:3], SCORES[:3], r"4 queries need as many lines.*\(3, 3\)"),
    ],
)
def test_bad_runs_are_refused_by_name(rows, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate.retrieval(Toy(), (rows, scores))


def test_a_task_without_judgements_is_refused():
    task = Toy()
    task.judgements = {"q1": {}}
    with pytest.raises(ValueError, match="not one of its 4 queries has a judgement"):
        evaluate.retrieval(task, {})


def test_grades_of_a_beir_folder_weigh(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(f'{{"_id": "d{i}", "text": "text {i}"}}\n' for i in range(4)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "which?"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\nq\td1\t3\nq\td2\t0\n")
    task = data.read_beir(tmp_path)
    good, bad = ({"q": dict.fromkeys(["d3"], 0.1) | scores} for scores in ({"d1": 3, "d0": 2}, {"d0": 3, "d1": 2}))
    discount = 1 / np.log2(3)
    metrics = {**evaluate.METRICS, "exponential": partial(evaluate.ndcg, k=10, gain=evaluate.exponential)}
    values = [evaluate.retrieval(task, run, metrics).values for run in (good, bad)]
    assert [one["ndcg@10"][0] for one in values] == pytest.approx([1.0, (1 + 3 * discount) / (3 + discount)])
    assert values[1]["exponential"][0] == pytest.approx((1 + 7 * discount) / (7 + discount))
    assert values[0]["recall@10"] == values[1]["mrr@10"] == [1.0]
