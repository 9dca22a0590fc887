from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb.data import masking
from jaxemb.types import Tokens

WORDS = jnp.array([[-1, 0, 0, 1, 2, 2, 2, 3, -1], [-1, 0, 1, 2, 3, 4, 5, -1, -1]])
MASK = jnp.array([[1] * 9, [1] * 8 + [0]])


def drawn(rate, seeds=200):
    some = jax.jit(jax.vmap(lambda seed: masking.covered(jax.random.key(seed), WORDS, rate)))
    return np.asarray(some(jnp.arange(seeds)))


def test_whole_words_are_covered_up_to_the_rate():
    some = drawn(0.3)
    assert not some[:, np.asarray(WORDS) < 0].any()
    words = np.asarray(WORDS)
    for row, tokens in zip(words, some.swapaxes(0, 1), strict=True):
        for word in range(row.max() + 1):
            together = tokens[:, row == word]
            assert (together.all(axis=1) == together.any(axis=1)).all()
            assert together.any()  # sometimes
    assert some[:, 1].sum(axis=1).tolist() == [2] * 200  # 0.3 of 6 tokens
    first = some[:, 0].sum(axis=1)
    assert set(first.tolist()) <= {1, 2, 3}  # 0.3 of 7 tokens is 2, but a word of three may come first
    assert ((first <= 2) | some[:, 0, 4:7].all(axis=1)).all()


def test_a_texts_draw_does_not_depend_on_how_many_there_are():
    key = jax.random.key(3)
    some = jax.jit(lambda words: masking.covered(key, words, 0.5))
    np.testing.assert_array_equal(some(WORDS)[:1], some(WORDS[:1]))


def test_corrupted_tokens_are_mostly_masked():
    ids = jnp.broadcast_to(jnp.arange(5, 15), (200, 10))
    chosen = jnp.broadcast_to(jnp.arange(10) < 5, ids.shape)
    change = jax.jit(partial(masking.corrupted, mask=4, first=5, vocabulary=15))
    changed = np.asarray(change(jax.random.key(0), ids, chosen))
    assert (changed[:, 5:] == np.asarray(ids)[:, 5:]).all()
    first = changed[:, :5]
    assert abs((first == 4).mean() - 0.8) < 0.04
    assert abs((first == np.asarray(ids)[:, :5]).mean() - 0.11) < 0.03  # those kept, and those drawn that are the same
    assert first.min() == 4


def test_what_a_place_sees():
    seen = np.asarray(jax.jit(lambda key: masking.visible(key, WORDS, MASK, 0.5))(jax.random.key(1)))
    assert not seen[:, np.arange(9), np.arange(9)].any()
    assert seen[:, 1:, 0].all()
    assert not seen[1, :, 8].any()
    assert len({tuple(row[[3, 4, 7]]) for row in seen[0, 1:]}) > 1  # each place hides words of its own
    hidden = ~seen[1][:, 1:7] & ~np.eye(9, dtype=bool)[:, 1:7]
    assert 2 <= hidden.sum(axis=1).mean() <= 3  # half of six, less what is the place itself


def test_words_are_numbered_from_pieces():
    ids = np.array([[2, 5, 6, 6, 7, 3, 0], [2, 6, 5, 3, 0, 0, 0]], np.int32)
    mask = (ids > 0).astype(np.int32)
    got = masking.word_numbers(Tokens(ids, mask), np.arange(8) < 5, np.arange(8) == 6)
    np.testing.assert_array_equal(got, [[-1, 0, 0, 0, 1, -1, -1], [-1, 0, 1, -1, -1, -1, -1]])


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_are_between_0_and_1(rate):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        masking.covered(jax.random.key(0), WORDS, rate)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        masking.visible(jax.random.key(0), WORDS, MASK, rate)


def test_texts_without_words_and_ids_outside_are_refused():
    special = np.arange(8) < 5
    bare = Tokens(np.array([[2, 5], [2, 3]]), np.ones((2, 2), np.int32))
    with pytest.raises(ValueError, match="text 1 has no token but special ones"):
        masking.word_numbers(bare, special)
    with pytest.raises(ValueError, match="ids from 0 to 7, got 2 to 8"):
        masking.word_numbers(Tokens(np.array([[2, 8]]), np.ones((1, 2), np.int32)), special)
    with pytest.raises(ValueError, match="mask and first below 8"):
        masking.corrupted(jax.random.key(0), WORDS, WORDS > 0, mask=8, first=5, vocabulary=8)


def test_chosen_positions_stand_first():
    chosen = jnp.array([[False, True, False, True], [True, False, False, False]])
    ids, states = jnp.arange(8).reshape(2, 4), jnp.arange(16.0).reshape(2, 4, 2)
    got, rows, some = masking.chosen_first(chosen, 2, ids, states, chosen)
    assert got.tolist() == [[1, 3], [4, 5]]
    assert rows[0].tolist() == [[2, 3], [6, 7]]
    assert some.tolist() == [[True, True], [True, False]]
    with pytest.raises(ValueError, match="from 1 to 4, got 5"):
        masking.chosen_first(chosen, 5, ids)
