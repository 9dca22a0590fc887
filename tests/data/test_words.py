import re

import pytest

from jaxemb.data import word_tokenizer
from jaxemb.data.words import SPECIAL

TEXTS = ["The owl, the Öwl: two owls.", "the swift swift", "Bats and ants"]


def test_the_most_frequent_words_are_kept():
    tokenizer = word_tokenizer(TEXTS, 11)
    words = sorted(tokenizer.vocabulary, key=tokenizer.vocabulary.get)
    assert words == [*SPECIAL.values(), "the", "owl", "swift", ",", ".", ":"]
    assert [row.tolist() for row in tokenizer.ids(["Swift, the bat", ""]).rows] == [[7, 8, 5, 1], []]
    assert tokenizer.size == 11
    assert tokenizer.unknown == 1


def test_texts_in_whatever_order_give_one_vocabulary():
    assert word_tokenizer(TEXTS, 9).vocabulary == word_tokenizer(TEXTS[::-1], 9).vocabulary


def test_special_tokens_stand_around_a_text_where_asked():
    tokenizer = word_tokenizer(TEXTS, 50, 4, add_special=True)
    assert tokenizer.ids(["the the the"]).rows[0].tolist() == [2, 5, 5, 3]
    assert tokenizer.limited(None, add_special=False).ids(["the [MASK]"]).rows[0].tolist() == [5, 4]
    assert tokenizer.special == SPECIAL
    assert tokenizer.size == 5 + 11


def test_too_small_a_size_or_no_text_is_refused():
    with pytest.raises(ValueError, match=re.escape("size must be above 5 (the special tokens), got 5")):
        word_tokenizer(TEXTS, 5)
    with pytest.raises(ValueError, match="no word in the texts"):
        word_tokenizer(["", " "], 9)
