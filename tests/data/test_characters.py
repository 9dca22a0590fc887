"""Characters and bytes as tokens."""

import string

import numpy as np
import pytest

from jaxemb.data import Tokenizer, byte_tokenizer, character_tokenizer


def test_no_character_shares_an_id_with_padding_or_the_unknown():
    tokenizer = character_tokenizer()
    ids = tokenizer([string.printable]).ids[0, :100]
    assert sorted(ids) == list(range(2, 102))
    assert tokenizer.size == 102
    np.testing.assert_array_equal(tokenizer.ids(["0é0"]).rows[0], [2, 1, 2])


def test_the_raw_text_is_read_line_ends_spaces_and_markers_too():
    text = " A\n[PAD]\t a  \x00"
    rows = character_tokenizer(string.printable + "\x00").ids([text, text.lower()]).rows
    assert len(rows[0]) == len(text)
    assert (rows[0] != rows[1]).sum() == 4
    assert (rows[0] > 1).all()


def test_every_byte_has_its_id():
    text = "".join(map(chr, range(0x180))) + "€𝄞\n "
    tokenizer = byte_tokenizer()
    np.testing.assert_array_equal(tokenizer.ids([text]).rows[0], np.frombuffer(text.encode(), np.uint8) + 1)
    assert tokenizer.size == 257


@pytest.mark.parametrize("make", [character_tokenizer, byte_tokenizer])
def test_long_texts_lose_their_end_and_empty_ones_have_no_tokens(make):
    tokenizer = make(max_length=4)
    rows, truncated, *_ = tokenizer.ids(["owls", "swift", ""])
    assert [len(row) for row in rows] == [4, 4, 0]
    np.testing.assert_array_equal(truncated, [False, True, False])


@pytest.mark.parametrize("make", [character_tokenizer, byte_tokenizer])
def test_the_file_reads_the_same(make, tmp_path):
    (tmp_path / "tokenizer.json").write_text(make().to_json(), encoding="utf-8")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    np.testing.assert_array_equal(loaded.ids(["Zü\r\n€"]).rows[0], make().ids(["Zü\r\n€"]).rows[0])


@pytest.mark.parametrize("alphabet", ["", "aba"])
def test_an_alphabet_has_different_characters(alphabet):
    with pytest.raises(ValueError, match="alphabet must be different characters"):
        character_tokenizer(alphabet)
