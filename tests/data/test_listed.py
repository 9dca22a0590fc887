import numpy as np
import pytest

from jaxemb.data import Listed, Pair, check_listed, listed, of_labels

PAIRS = [Pair("a", "xx", ("y", "zzz")), Pair("b", "u", ("v", "ww"))]


def lengths(texts):
    return np.array([len(document) for _, document in texts], np.float32)


def test_a_teacher_scores_the_own_document_first():
    assert [one.scores for one in listed(PAIRS, lengths)] == [(2.0, 1.0, 3.0), (1.0, 1.0, 2.0)]
    assert listed(PAIRS) == [Listed(pair) for pair in PAIRS]
    check_listed(listed(PAIRS, lengths), 2, scored=True)
    check_listed(listed(PAIRS), 2, scored=False)


def test_texts_of_a_label_ask_for_each_other():
    texts, labels = ["a", "b", "c", "d", "e", "f"], ["x", "x", "x", "y", "y", "z"]
    found = of_labels(texts, labels, 2, seed=0)
    named = dict(zip(texts, labels, strict=True))
    assert [pair.query for pair in found] == ["a", "b", "c", "d", "e"]  # `f` is alone
    assert sorted(pair.document for pair in found) == ["a", "b", "c", "d", "e"]
    for pair in found:
        assert named[pair.query] == named[pair.document]
        assert pair.query != pair.document
        assert len(set(pair.negatives)) == 2
        assert named[pair.query] not in {named[text] for text in pair.negatives}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Listed(Pair("b", "u", ("v",)), (1.0, 2.0)), "pair 1, 'b': wanted 2 negatives, got 1"),
        (Listed(Pair("b", "u", ("v", "u")), (1.0, 2.0, 3.0)), "its own document is among its negatives"),
        (Listed(Pair("b", " ", ("v", "w")), (1.0, 2.0, 3.0)), "list 1, 'b': it has no document of its own, got ' '"),
        (Listed(Pair("b", "u", ("v", "v")), (1.0, 2.0, 3.0)), "a negative is there twice"),
        (Listed(PAIRS[1]), "wanted a teacher's score of each of 3 documents, got 0"),
        (Listed(PAIRS[1], (1.0, 2.0)), "wanted a teacher's score of each of 3 documents, got 2"),
        (Listed(PAIRS[1], (1.0, float("nan"), 2.0)), "wanted finite scores of the teacher"),
    ],
)
def test_lists_that_teach_nothing_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_listed([Listed(PAIRS[0], (1.0, 2.0, 3.0)), bad], 2, scored=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: listed(PAIRS, lambda texts: np.ones(3)), r"a score for each of 6 pairs, got \[3\]"),
        (lambda: of_labels(["a"], ["x", "y"], 1, seed=0), "1 texts need as many labels, got 2"),
        (lambda: of_labels(["a", "b"], ["x", "x"], 1, seed=0), "1 texts of other labels than 'x', got 0"),
        (lambda: of_labels(["a", "b"], ["x", "y"], 1, seed=0), "a label with two texts, got none"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
