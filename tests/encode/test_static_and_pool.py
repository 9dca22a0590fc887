"""The token table and the poolings, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.types import Tokens

STATES = jnp.array([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[5.0, 6.0], [7.0, 8.0], [0.0, 1.0]]])
MASK = jnp.array([[1, 1, 0], [1, 1, 1]], jnp.int32)


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        (encode.mean, [[2.0, -3.0], [4.0, 5.0]]),
        (encode.cls, [[1.0, -4.0], [5.0, 6.0]]),
        (encode.maximum, [[3.0, -2.0], [7.0, 8.0]]),
        (encode.last, [[3.0, -2.0], [0.0, 1.0]]),
        (encode.mean_sqrt_length, [[4 / 2**0.5, -6 / 2**0.5], [12 / 3**0.5, 15 / 3**0.5]]),
        (encode.weighted_mean, [[7 / 3, -8 / 3], [19 / 6, 25 / 6]]),
        (encode.joined(encode.last, encode.mean), [[3.0, -2.0, 2.0, -3.0], [0.0, 1.0, 4.0, 5.0]]),
    ],
)
def test_poolings(pooling, wanted):
    np.testing.assert_allclose(pooling(STATES, MASK), wanted, rtol=1e-6)


def test_left_padding_moves_the_first_and_the_last():
    left = jnp.array([[0, 1, 1], [1, 1, 0]], jnp.int32)
    np.testing.assert_allclose(encode.cls(STATES, left), [[3.0, -2.0], [5.0, 6.0]])
    np.testing.assert_allclose(encode.last(STATES, left), [[9.0, 9.0], [7.0, 8.0]])


def test_a_prompt_left_out_keeps_its_places():
    counted = jnp.array([[0, 1, 0], [0, 1, 1]], jnp.int32)
    np.testing.assert_allclose(encode.weighted_mean(STATES, counted), [[3.0, -2.0], [14 / 5, 19 / 5]], rtol=1e-6)
    np.testing.assert_allclose(encode.cls(STATES, counted), [[3.0, -2.0], [7.0, 8.0]])


@pytest.mark.parametrize(
    "pooling", [encode.mean, encode.cls, encode.maximum, encode.last, encode.mean_sqrt_length, encode.weighted_mean]
)
def test_a_text_without_tokens_is_zero(pooling):
    np.testing.assert_array_equal(pooling(STATES, jnp.zeros_like(MASK)), np.zeros((2, 2)))


def test_static_by_hand():
    encoder = encode.static(encode.StaticConfig(vocab_size=3, hidden_size=2))
    params = {"table": jnp.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]]), "weight": jnp.array([1.0, 3.0, 0.5])}
    tokens = Tokens(jnp.array([[0, 1, 2], [2, 0, 0], [0, 0, 0]]), jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(encoder.apply(params, tokens), [[0.5, 3.0], [2.0, 2.0], [0.0, 0.0]])
    plain = encode.from_table(encode.folded(params))
    np.testing.assert_allclose(encoder.apply(plain, tokens), encoder.apply(params, tokens))


def test_the_unknown_token_is_left_out_and_not_counted():
    encoder = encode.static(encode.StaticConfig(vocab_size=3, hidden_size=2, unknown=1))
    params = encode.from_table(jnp.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]]))
    tokens = Tokens(jnp.array([[0, 1, 2], [1, 1, 0]]), jnp.array([[1, 1, 1], [1, 1, 0]]))
    np.testing.assert_allclose(encoder.apply(params, tokens), [[2.5, 2.0], [0.0, 0.0]])


def test_static_leaves_out_what_pooling_does_not_count():
    encoder = encode.static(encode.StaticConfig(vocab_size=3, hidden_size=2))
    params = encode.from_table(jnp.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]]))
    tokens = Tokens(jnp.array([[2, 1, 0, 1]]), jnp.ones((1, 4), jnp.int32), counted=jnp.array([[0, 1, 1, 1]]))
    np.testing.assert_allclose(encoder.apply(params, tokens), [[1 / 3, 4 / 3]], rtol=1e-6)
    binary = encode.reading(encoder, encode.distinct)
    np.testing.assert_allclose(binary.apply(params, tokens), [[0.5, 1.0]])


def test_plain_folds_weights_and_keeps_what_stands_beside():
    params = {"table": jnp.ones((2, 3)), "weight": jnp.array([2.0, 3.0]), "module_0": {"kernel": jnp.ones(1)}}
    got = encode.plain(params)
    assert got.keys() == {"table", "module_0"}
    np.testing.assert_array_equal(got["table"][:, 0], [2.0, 3.0])


def test_normalized_has_length_one_and_keeps_zero():
    encoder = encode.normalized(encode.static(encode.StaticConfig(vocab_size=2, hidden_size=2)))
    params = encode.from_table(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
    got = encoder.apply(params, Tokens(jnp.array([[0], [1]]), jnp.array([[1], [1]])))
    np.testing.assert_allclose(got, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
