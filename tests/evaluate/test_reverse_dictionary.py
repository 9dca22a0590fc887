import numpy as np
import pytest

from jaxemb import evaluate

ENTRY = np.array([[2.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
DEFINITION = np.array([[1.0, 0.0], [1.0, 0.1], [0.1, 1.0], [0.0, 3.0]])


def test_by_hand():
    got = evaluate.reverse_dictionary(DEFINITION, ENTRY, np.array([[0], [1], [3], [1]]), ks=(1, 2, 4))
    assert got.rank.tolist() == [1, 2, 4, 2]
    assert got.recall == {1: 0.25, 2: 0.75, 4: 1.0}
    assert (got.median_rank, got.mrr) == (2.0, (1 + 1 / 2 + 1 / 4 + 1 / 2) / 4)


def test_the_best_of_several_answers_counts():
    got = evaluate.reverse_dictionary(DEFINITION, ENTRY, np.array([[3, 1], [2, -1], [1, 3], [0, 3]]), ks=(1,))
    # The last: 0 with both, behind the two others but not behind the other right one.
    assert got.rank.tolist() == [2, 3, 2, 3]


def test_equal_vectors_know_nothing():
    got = evaluate.reverse_dictionary(np.ones((2, 3)), np.ones((5, 3)), np.array([[0], [4]]), ks=(1,))
    assert got.rank.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ks": (1, 5)}, "k must be from 1 to the 4 entries, got 5"),
        ({"ks": (0,)}, "got 0"),
        ({"answer": np.array([[0], [1], [4], [1]])}, "rows from -1 to 3, got 4"),
        ({"answer": np.array([[0], [-1], [1], [1]])}, "definition 1 has no answer"),
        ({"answer": np.array([[0]])}, "as many of each, got {'definition': 4, 'answer': 1}"),
        ({"definition": DEFINITION * np.nan}, "definition vector 0 is not finite"),
        ({"entry": ENTRY[:, :1]}, "wanted vectors of one size"),
        ({"entry": ENTRY[:0], "ks": ()}, "wanted one entry vector or more"),
    ],
)
def test_bad_input_is_refused(as_users_call, change, told):
    given = {"definition": DEFINITION, "entry": ENTRY, "answer": np.array([[0], [1], [2], [1]]), "ks": (1,)}
    with pytest.raises(ValueError, match=told):
        evaluate.reverse_dictionary(**{**given, **change})
