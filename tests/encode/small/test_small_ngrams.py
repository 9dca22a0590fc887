"""N-grams by hand: which tokens stand together, their hashes, and the ids of those that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.data import character_tokenizer
from jaxemb.encode.small.ngrams import murmur
from jaxemb.types import Tokens

TOKENS = Tokens(
    jnp.array([[5, 6, 9, 5, 6], [7, 5, 6, 3, 3], [5, 4, 4, 4, 4]]),
    jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
)


def read(tokens, known):
    """The grams of every text, in any order, by a `KnownGrams` that says what its ids are."""
    table = [tuple(int(i) for i in row) for rows in known.rows for row in rows]
    ids, mask, *_ = encode.known_ngrams(known)(tokens)
    return [sorted(table[i] for i, there in zip(*row, strict=True) if there) for row in zip(ids, mask, strict=True)]


def test_every_gram_of_a_text():
    bigrams = encode.count_ngrams([TOKENS], encode.Grams(orders=(2,)), least=1)
    assert read(TOKENS, bigrams) == [[(5, 6), (5, 6), (6, 9), (9, 5)], [(5, 6), (7, 5)], []]
    pairs = encode.count_ngrams([TOKENS], encode.Grams(skip=3), least=1)
    assert read(TOKENS, pairs) == [[(5, 5), (5, 9), (6, 5), (6, 6), (9, 6)], [(7, 6)], []]
    longer = encode.count_ngrams([TOKENS], encode.Grams(orders=(1, 3)), least=2)
    assert [len(rows) for rows in longer.rows] == [2, 0]  # 5 and 6; each trigram stands there once
    assert read(TOKENS, longer) == [[(5,), (5,), (6,), (6,)], [(5,), (6,)], [(5,)]]


def test_grams_do_not_cross_the_end_of_a_sentence():
    grams = encode.Grams(orders=(2,), skip=2, ends=(9,))
    known = encode.count_ngrams([TOKENS], grams, least=1)
    assert read(TOKENS, known)[0] == [(5, 6), (5, 6), (5, 9), (6, 9)]  # the 9 ends the sentence it stands in


def test_unknown_grams_are_left_out_and_counted_by_the_mask():
    known = encode.count_ngrams([TOKENS], encode.Grams(orders=(2,)), least=3)
    assert [rows.tolist() for rows in known.rows] == [[[5, 6]]]
    others = Tokens(jnp.array([[6, 5, 6, 6], [8, 8, 8, 8]]), jnp.ones((2, 4), jnp.int32))
    np.testing.assert_array_equal(encode.known_ngrams(known)(others).mask, [[0, 1, 0, 0], [0, 0, 0, 0]])


def test_a_gram_counts_where_all_its_tokens_do():
    prompted = TOKENS._replace(counted=TOKENS.mask.at[:, 0].set(0))
    changed = encode.hashed_ngrams(encode.Grams(orders=(1, 2)), 9)(prompted)
    np.testing.assert_array_equal(changed.mask[0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(changed.counted[0], [0, 1, 1, 1, 1, 0, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("words", "seed", "wanted"),
    [
        ([0], 0, 0x2362F9DE),
        ([0xFFFFFFFF], 0, 0x76293B50),
        ([0x87654321], 0, 0xF55B516B),
        ([0x87654321], 0x5082EDEE, 0x2362F9DE),
        ([], 1, 0x514E28B7),
    ],
)
def test_murmur_is_the_published_one(words, seed, wanted):
    ids = jnp.asarray(np.array(words, np.uint32).view(np.int32))
    assert int(murmur(ids, seed=seed)) == wanted


def test_hashes_spread_and_do_not_depend_on_the_place():
    ids = jnp.asarray(np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2), jnp.int32)
    filled = np.bincount(np.asarray(murmur(ids) % jnp.uint32(1000)), minlength=1000)
    assert abs(filled.std() - 10**0.5) < 0.3  # ten a bucket, thrown at random
    changed = encode.hashed_ngrams(encode.Grams(orders=(2,), skip=2), 10**6)(TOKENS)
    assert changed.ids[0, 0] == changed.ids[0, 3] == changed.ids[1, 1]  # (5, 6)
    alike = Tokens(jnp.array([[5, 6, 6]]), jnp.array([[1, 1, 1]]))
    ids = encode.hashed_ngrams(encode.Grams(orders=(2,), skip=2), 10**6)(alike).ids[0]
    assert ids[0] != ids[3]  # 5 beside a 6, and 5 with a gap before a 6


def test_subwords_give_an_unseen_word_a_vector_near_its_relatives():
    # fastText: a word is a text of characters, its vector the sum of the rows of its n-grams.
    subwords = encode.hashed_ngrams(encode.Grams(orders=(3, 4, 5, 6)), 2**12)
    encoder = encode.normalized(encode.reading(encode.pooled(encode.words(2**12, 32), encode.total), subwords))
    words = ["<walking>", "<talking>", "<evlerden>"]
    params = encoder.init(jax.random.key(0, impl="rbg"))
    vectors = jax.jit(encoder.apply)(params, character_tokenizer()(words))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


@pytest.mark.usefixtures("as_users_call")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode.Grams(), "wanted orders or skip"),
        (lambda: encode.Grams(orders=(0, 1)), r"above 0, got \[0, 1\]"),
        (lambda: encode.Grams(orders=(2, 2)), r"different whole numbers above 0, got \[2, 2\]"),
        (lambda: encode.Grams(skip=1), "got skip 1"),
        (lambda: encode.hashed_ngrams(encode.Grams(orders=(1,)), 0), "one bucket or more, got 0"),
        (lambda: encode.count_ngrams([TOKENS], encode.Grams(orders=(4,))), "stands 2 times or more"),
    ],
)
def test_bad_grams_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
