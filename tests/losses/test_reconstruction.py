"""Texts read out of their states, by hand and against all logits at once."""

from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

LOGITS = jnp.array(
    [[[1.0, 0.0, 2.0], [0.5, 0.5, 0.0], [9.0, 9.0, 9.0]], [[0.0, 3.0, 0.0], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]]
)
IDS = jnp.array([[2, 0, 1], [1, 1, 2]])
COUNTED = jnp.array([[1, 1, 0], [0, 1, 1]])


def surprise(row, word):
    return log(sum(exp(x) for x in row)) - row[word]


def test_token_cross_entropy_is_the_mean_over_what_counts():
    got = losses.token_cross_entropy(LOGITS, IDS, COUNTED)
    first = (surprise([1, 0, 2], 2) + surprise([0.5, 0.5, 0], 0)) / 2
    second = (surprise([1, 2, 4], 1) + log(3)) / 2
    np.testing.assert_allclose(got, [first, second], rtol=1e-6)


def test_lexical_pool():
    np.testing.assert_allclose(losses.lexical_pool(LOGITS, COUNTED), [[1, 0.5, 2], [1, 2, 4]])


def test_bag_of_words_counts_each_word_once():
    words = jnp.array([[1, 1, 0], [1, 1, 1]])
    got = losses.bag_of_words(LOGITS, IDS, COUNTED, words=words)
    first = (surprise([1, 0.5, 2], 2) + surprise([1, 0.5, 2], 0)) / 2
    second = surprise([1, 2, 4], 1) + surprise([1, 2, 4], 2)
    np.testing.assert_allclose(got, [first, second / 3], rtol=1e-6)
    plain = losses.bag_of_words(LOGITS, IDS, COUNTED, words=words, norm="none")
    np.testing.assert_allclose(plain, [2 * first, second], rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.token_cross_entropy, losses.bag_of_words])
def test_some_positions_at_a_time_are_all_at_once(loss):
    draw = np.random.default_rng(0)
    states, table = (jnp.asarray(draw.normal(size=s), jnp.float32) for s in ((2, 7, 4), (9, 4)))
    ids, counted = jnp.asarray(draw.integers(0, 9, (2, 7))), jnp.asarray(draw.random((2, 7)) < 0.7)

    def run(positions, states, table):
        return loss(states, ids, counted, head=lambda h: h @ table.T, positions=positions).sum()

    wanted, got = (jax.jit(jax.value_and_grad(partial(run, p), argnums=(0, 1)))(states, table) for p in (7, 3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted)


def test_logits_of_all_positions_are_never_there():
    b, t, d, v = 4, 128, 8, 2000
    states, table = jax.ShapeDtypeStruct((b, t, d), jnp.float32), jax.ShapeDtypeStruct((v, d), jnp.float32)
    ids, counted = jnp.ones((b, t), jnp.int32), jnp.ones((b, t), bool)

    def loss(states, table):
        given = {"head": lambda h: h @ table.T, "positions": 16}
        each = losses.token_cross_entropy(states, ids, counted, **given)
        return (each + losses.bag_of_words(states, ids, counted, **given)).sum()

    memory = jax.jit(jax.grad(loss)).lower(states, table).compile().memory_analysis()
    assert memory.temp_size_in_bytes < b * t * v * 4


def test_a_text_without_words_has_no_loss_and_no_gradient():
    counted = jnp.array([[1, 1, 0], [0, 0, 0]])
    for loss in (losses.token_cross_entropy, losses.bag_of_words):
        run = jax.jit(jax.value_and_grad(lambda x, f=loss: f(x, IDS, counted)[1]))
        value, slope = run(LOGITS)
        assert value == 0
        assert (slope == 0).all()


def test_bfloat16_logits_are_summed_in_float32():
    assert losses.token_cross_entropy(LOGITS.astype(jnp.bfloat16), IDS, COUNTED).dtype == jnp.float32
    assert losses.bag_of_words(LOGITS.astype(jnp.bfloat16), IDS, COUNTED).dtype == jnp.float32


@pytest.mark.parametrize("loss", [losses.token_cross_entropy, losses.bag_of_words])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": IDS + 1}, "ids must be a token of the head's vocabulary, 0 to 2, got 3"),
        ({"ids": IDS[:, :2]}, r"ids must be \(2, 3\), got \(2, 2\)"),
        ({"counted": jnp.zeros((2, 3), bool)}, "no token counts in any text"),
        ({"counted": COUNTED[:1]}, r"counted must be \(2, 3\), got \(1, 3\)"),
        ({"positions": 0}, "one position at a time or more, got 0"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(loss, change, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        loss(**{"states": LOGITS, "ids": IDS, "counted": COUNTED} | change)


def test_an_unknown_norm_is_refused(as_users_call):
    with pytest.raises(ValueError, match="norm is tokens or none, got 'words'"):
        losses.bag_of_words(LOGITS, IDS, COUNTED, norm="words")
