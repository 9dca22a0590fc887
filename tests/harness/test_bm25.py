from math import log

import numpy as np
import pytest

from jaxemb.data.task import Task
from jaxemb.harness import bm25


def task(documents, queries=("q",)):
    return Task(
        name="toy@1",
        split="test",
        document_ids=[f"d{i}" for i in range(len(documents))],
        documents=list(documents),
        query_ids=[f"q{i}" for i in range(len(queries))],
        queries=list(queries),
        judgements={},
    )


DOCUMENTS = ["red green red", "green", "blue blue blue blue", "green blue"]


def lucene(times, length, holding, n=4, average=2.5, k1=1.2, b=0.75):
    return log(1 + (n - holding + 0.5) / (holding + 0.5)) * times / (times + k1 * (1 - b + b * length / average))


def test_scores_by_hand():
    rows, scores = bm25.system(task(DOCUMENTS)).search(["Red, green!"], 4)
    want = {0: lucene(2, 3, 1) + lucene(1, 3, 3), 1: lucene(1, 1, 3), 3: lucene(1, 2, 3)}
    assert rows.tolist() == [[0, 1, 3, -1]]
    np.testing.assert_allclose(scores[0, :3], [want[row] for row in rows[0, :3]], rtol=1e-5)
    assert scores[0, 3] == -np.inf


def test_a_query_of_unknown_words_finds_nothing():
    rows, scores = bm25.system(task(DOCUMENTS)).search(["mauve", "!", "blue"], 2)
    assert rows.tolist() == [[-1, -1], [-1, -1], [2, 3]]
    assert np.isneginf(scores[:2]).all()


def test_equal_scores_come_by_row():
    rows, _ = bm25.system(task(["b a"] * 5)).search(["a"], 3)
    assert rows.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("read_csv", ["read", "csv"]),
        ("readCSVFile", ["readcsvfile", "read", "csv", "file"]),
        ("x1 of 3.5", ["x1", "x", "1", "of", "3", "5"]),
        ("Straße 日本 éA", ["straße", "日本", "éa", "é", "a"]),
        ("a_b", ["a", "b"]),
        ("", []),
    ],
)
def test_words(text, words):
    assert bm25.words(text) == words


def test_costs_are_told_and_true():
    system = bm25.system(task(DOCUMENTS))
    assert system.disk_bytes > 0
    assert system.bytes_per_vector == system.resident_bytes / 4
    assert len(system.build_s) == 1
    assert system.config["k1"] == 1.2


def test_no_word_anywhere_is_refused():
    with pytest.raises(ValueError, match="needs a word in some document, found none in 2"):
        bm25.system(task(["!", "?"]))
