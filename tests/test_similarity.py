"""Scores by hand, and at the ends of the range of numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import similarity

QUERY = jnp.array([[3.0, 4.0], [0.0, -2.0]])
DOCUMENT = jnp.array([[1.0, 0.0], [5.0, 12.0], [0.0, 0.0]])


def test_dot_and_cosine_by_hand():
    np.testing.assert_allclose(similarity.dot(QUERY, DOCUMENT), [[3, 63, 0], [0, -24, 0]])
    np.testing.assert_allclose(similarity.cosine(QUERY, DOCUMENT), [[0.6, 63 / 65, 0], [0, -12 / 13, 0]], rtol=1e-6)


def test_hamming_counts_bits_and_larger_is_closer():
    query = jnp.array([[0b11110000, 0b1]], jnp.uint8)
    document = jnp.array([[0b11110000, 0b1], [0b11110001, 0b0], [0b00001111, 0b11111110]], jnp.uint8)
    np.testing.assert_array_equal(similarity.hamming(query, document), [[0, -2, -16]])


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_a_direction_survives_every_length(scale):
    np.testing.assert_allclose(similarity.unit(QUERY * scale), [[0.6, 0.8], [0.0, -1.0]], rtol=1e-6)


def test_zero_has_no_direction_and_a_finite_gradient():
    assert (similarity.unit(jnp.zeros((2, 3))) == 0).all()
    assert jnp.isfinite(jax.grad(lambda x: similarity.unit(x).sum())(jnp.zeros((2, 3)))).all()


def test_the_gradient_of_a_direction_is_at_right_angles_to_it():
    gradient = jax.grad(lambda x: (similarity.unit(x) * jnp.array([[1.0, 2.0]])).sum())(QUERY[:1])
    np.testing.assert_allclose((gradient * QUERY[:1]).sum(), 0.0, atol=1e-6)
    # d/dx of (x + 2y)/r at (3, 4): (1 - 3 * 11/25) / 5, (2 - 4 * 11/25) / 5
    np.testing.assert_allclose(gradient, [[(1 - 33 / 25) / 5, (2 - 44 / 25) / 5]], rtol=1e-5)


def test_half_precision_is_summed_in_float32():
    ones = jnp.ones((1, 4096), jnp.bfloat16)
    assert similarity.dot(ones, ones).dtype == jnp.float32
    np.testing.assert_array_equal(similarity.dot(ones, ones), [[4096.0]])
