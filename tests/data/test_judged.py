import numpy as np
import pytest

from jaxemb.data.judged import (
    Judged,
    Scores,
    check_judged,
    check_tokens,
    read_scores,
    taught,
    write_scores,
    yes_minus_no,
)
from jaxemb.data.words import word_tokenizer

PAIRS = [Judged("a", "one owl", "two owls", 0.5), Judged("b", "a swift", "an owl")]
SCORES = Scores(("a", "b"), np.array([[0.25, 1.0], [-2.0, 0.5]], np.float32))


def test_scores_go_to_their_pairs():
    assert [pair.scores for pair in taught(PAIRS, SCORES)] == [(0.25, 1.0), (-2.0, 0.5)]
    assert [pair.label for pair in taught(PAIRS, SCORES)] == [0.5, None]


def test_scores_are_kept_whole(tmp_path):
    write_scores(tmp_path / "scores.npz", SCORES)
    got = read_scores(tmp_path / "scores.npz")
    assert got.ids == SCORES.ids
    assert got.numbers.dtype == np.float32
    np.testing.assert_array_equal(got.numbers, SCORES.numbers)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (Scores(("b", "a"), SCORES.numbers[::-1]), "pair 0 is 'a', the teacher's scores there are of 'b'"),
        (Scores(("a",), SCORES.numbers[:1]), "2 pairs need as many scores, got 1"),
        (Scores(("a", "b"), SCORES.numbers[:1]), "a row for each of 2 ids"),
        (Scores(("a", "b"), SCORES.numbers * np.array([[1], [np.nan]], np.float32)), "pair 'b' has .*nan.*finite"),
    ],
)
def test_scores_of_other_pairs_are_refused(scores, said):
    with pytest.raises(ValueError, match=said):
        taught(PAIRS, scores)


def test_scores_in_another_precision_are_refused(as_users_call, tmp_path):
    with pytest.raises(ValueError, match=r"wanted float32 numbers.*float64"):
        write_scores(tmp_path / "scores.npz", Scores(SCORES.ids, SCORES.numbers.astype(np.float64)))
    assert not list(tmp_path.iterdir())


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", vectors=np.zeros(3))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for name in ("other.npz", "torn.npz"):
        with pytest.raises(ValueError, match=f"{name}: no scores"):
            read_scores(tmp_path / name)


def test_yes_against_no():
    np.testing.assert_allclose(yes_minus_no(SCORES).numbers, [[0.75], [2.5]])
    with pytest.raises(ValueError, match="two scores a pair, got 1"):
        yes_minus_no(Scores(SCORES.ids, SCORES.numbers[:, :1]))


@pytest.mark.parametrize(
    ("label", "classes", "said"),
    [
        (3, 3, "class from 0 to 2 as label, got 3"),
        (-1, 3, "got -1"),
        (0.5, 3, "got 0.5"),
        (float("nan"), None, "finite label, got nan"),
    ],
)
def test_labels_of_no_class_are_refused(label, classes, said):
    check_judged([PAIRS[0], PAIRS[1]._replace(label=2)])
    with pytest.raises(ValueError, match=f"pair 'b': wanted .*{said}"):
        check_judged([PAIRS[0]._replace(label=1), PAIRS[1]._replace(label=label)], classes=classes)


def test_an_id_twice_is_refused():
    with pytest.raises(ValueError, match="pair 'a': there are two"):
        check_judged([PAIRS[0], PAIRS[0]])


def test_texts_without_a_token_are_refused():
    tokenizer = word_tokenizer(["one owl"], 9, add_special=True)
    check_tokens(PAIRS, tokenizer)
    with pytest.raises(ValueError, match="pair 'b': no token in its second text, '  '"):
        check_tokens([PAIRS[0], PAIRS[1]._replace(second="  ")], tokenizer)
