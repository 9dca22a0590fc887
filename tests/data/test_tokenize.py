"""Texts and pairs to ids: what is cut, and which of two texts a token belongs to."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel

from jaxemb.data.tokenize import Tokenizer, pad

GOLDEN = Path(__file__).parent.parent / "golden" / "bert" / "new" / "tokenizer.json"
PAD, UNK, CLS, SEP, MASK, A, B, C, D, E = range(10)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.load(GOLDEN, 8)


def test_a_pair_by_hand(tokenizer):
    got = tokenizer.pairs([("a b", "c"), ("d", "")])
    assert [row.tolist() for row in got.rows] == [[CLS, A, B, SEP, C, SEP], [CLS, D, SEP, SEP]]
    assert [row.tolist() for row in got.segments] == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1]]
    assert got.truncated.tolist() == [False, False]


def test_the_longer_text_of_a_pair_is_cut_first(tokenizer):
    got = tokenizer.pairs([("a", "b b b b b b b"), ("a a a a a a a", "b"), ("a a a a a", "b b b b b")])
    assert [row.tolist() for row in got.rows] == [
        [CLS, A, SEP, B, B, B, B, SEP],
        [CLS, A, A, A, A, SEP, B, SEP],
        [CLS, A, A, SEP, B, B, B, SEP],
    ]
    assert got.truncated.tolist() == [True, True, True]


def test_padding_has_no_segment(tokenizer):
    got = tokenizer.pairs([["a", "b"], ["a b c", "d e"]])
    tokens = pad(got.rows, 9, got.segments)
    assert tokens.ids.tolist() == [[CLS, A, SEP, B, SEP, 0, 0, 0, 0], [CLS, A, B, C, SEP, D, E, SEP, 0]]
    assert tokens.segments.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 0]]
    np.testing.assert_array_equal(tokens.mask, tokens.ids > 0)
    assert pad(got.rows, 9).segments is None


@pytest.mark.parametrize("wrong", ["ab", ("a",), ("a", "b", "c"), ("a", None)])
def test_what_is_no_pair_is_named(tokenizer, wrong, as_users_call):
    with pytest.raises(TypeError, match=r"pair 1 is .*, wanted two texts"):
        tokenizer.pairs([("a", "b"), wrong])


def test_a_limit_without_room_for_a_pair_is_refused():
    with pytest.raises(ValueError, match=r"max_length must be above 3 \(a pair's special tokens\), got 3"):
        Tokenizer.load(GOLDEN, 3).pairs([("a", "b")])


def test_a_row_longer_than_the_batch_is_named(tokenizer):
    with pytest.raises(ValueError, match="pad: row 0 has 5 tokens, wanted 4 at most"):
        pad(tokenizer.pairs([("a", "b")]).rows, 4)


@pytest.mark.parametrize("texts", [["a\ud800"], ["a", "b", "\udc00"]])
def test_half_a_surrogate_pair_is_named(tokenizer, texts):
    with pytest.raises(ValueError, match=rf"text {len(texts) - 1}: wanted Unicode text, got '\\ud"):
        tokenizer.ids(texts)
    with pytest.raises(ValueError, match=rf"pair {len(texts) - 1}: wanted Unicode text, got '\\ud"):
        tokenizer.pairs([("a", text) for text in texts])


def test_an_empty_vocabulary_is_refused(tmp_path):
    file = tmp_path / "tokenizer.json"
    file.write_text(Backend(WordLevel({})).to_str())
    with pytest.raises(ValueError, match="wanted a vocabulary of one token or more, got an empty one"):
        Tokenizer.load(file)
