import numpy as np

from jaxemb.data import word_tokenizer
from jaxemb.data.bags import bags, holders, rarity, unit


def test_by_hand():
    texts = ["owl owl bat", "owl", "", "bat elk owl"]
    words = word_tokenizer(texts, 20)
    columns = [words.vocabulary[word] for word in ("owl", "bat", "elk")]
    counts = bags(texts, words)
    np.testing.assert_array_equal(counts.toarray()[:, columns], [[2, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert counts.sum() == 7
    np.testing.assert_array_equal(holders(counts)[columns], [3, 2, 1])
    np.testing.assert_allclose(rarity(counts)[columns], np.log([4 / 3, 2, 4]))
    np.testing.assert_allclose(unit(counts).toarray()[0, columns], np.array([2, 1, 0]) / 5**0.5)
    assert not unit(counts).toarray()[2].any()
