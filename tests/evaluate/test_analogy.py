import numpy as np
import pytest

from jaxemb import evaluate

#                 man         king        woman        queen        crown       boy
WORDS = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, 1.0], [0.0, 1.0], [0.9, -0.2]])


def test_by_hand():
    questions = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 5], [2, -1, 0, 1]])
    got = evaluate.analogy(WORDS, questions, ["royal", "things", "things", "royal"])
    # king - man + woman with words of length one is (0.707 - 2, 0.707): queen 1.414, crown 0.707, boy below.
    assert got.rank.tolist() == [1, 2, 3, np.inf]
    assert (got.accuracy, got.by_group, got.unknown) == (0.25, {"royal": 0.5, "things": 0.0}, 1)


def test_words_of_the_question_are_not_answers():
    table = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.5, 0.5]])
    got = evaluate.analogy(table, np.array([[0, 1, 2, 3]]), ["near"])
    assert got.rank.tolist() == [1]
    cosines = table @ (table[1] / np.hypot(1, 0.1) - table[0] + table[2]) / np.linalg.norm(table, axis=1)
    assert cosines.argmax() == 2  # `c` itself is nearer than the answer


def test_rules_differ():
    chance = np.random.default_rng(0)
    table, questions = chance.normal(size=(30, 4)), np.array([chance.permutation(30)[:4] for _ in range(50)])
    add = evaluate.analogy(table, questions, ["a"] * 50)
    multiply = evaluate.analogy(table, questions, ["a"] * 50, rule=evaluate.three_cos_mul)
    assert (add.rank != multiply.rank).any()
    np.testing.assert_array_equal(add.rank, evaluate.analogy(3 * table, questions, ["a"] * 50, block=1).rank)
    one = evaluate.three_cos_mul(np.array([[-1.0]]), np.array([[0.0]]), np.array([[1.0]]))
    assert one[0, 0] == pytest.approx(0.5 * 1 / 1e-6)


def test_equal_scores_do_not_count_as_found():
    got = evaluate.analogy(np.ones((6, 2)), np.array([[0, 1, 2, 3]]), ["same"])
    assert got.rank.tolist() == [3]  # behind the two others


@pytest.mark.parametrize(
    ("questions", "groups", "vectors", "told"),
    [
        ([[0, 1, 2, 2]], ["a"], WORDS, "the answer of question 0 is a word of the question"),
        ([[0, 1, 2, 6]], ["a"], WORDS, "rows from -1 to 5, got 6"),
        ([[0, 1, 2, 3]], [], WORDS, "got 1 and 0 groups"),
        (np.zeros((0, 4), int), [], WORDS, "got 0 and 0 groups"),
        ([[0, 1, 2, 3]], ["a"], np.where(WORDS == 0.9, np.nan, WORDS), "word vector 5 is not finite"),
    ],
)
def test_bad_questions_are_refused(questions, groups, vectors, told):
    with pytest.raises(ValueError, match=told):
        evaluate.analogy(vectors, np.array(questions), groups)
