import numpy as np

from jaxemb.data import Remembered, Tokenizer, word_tokenizer

WORDS = word_tokenizer(["an owl hoots at night"], 16, 4)


def test_a_text_is_read_once(monkeypatch):
    read = []
    plain = Tokenizer.ids

    def counted(self, texts):
        read.append(list(texts))
        return plain(self, texts)

    monkeypatch.setattr(Tokenizer, "ids", counted)
    kept = Remembered(WORDS)
    first, second = ["an owl", "an owl hoots at night", "an owl"], ["night", "an owl"]
    for texts in (first, second):
        got, want = kept.ids(texts), plain(WORDS, texts)
        for ours, theirs in zip(got.rows, want.rows, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(got.truncated, want.truncated)
    assert read == [["an owl", "an owl hoots at night"], ["night"]]
    assert (kept.size, kept.max_length, kept.special) == (WORDS.size, 4, WORDS.special)
