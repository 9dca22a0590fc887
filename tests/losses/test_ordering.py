"""Losses of order, against the sum over all pairs written out."""

from math import exp, log, log1p

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_out_of_order_by_hand():
    score, label = jnp.array([0.5, 0.1, 0.9, -0.2]), jnp.array([2, 1, 0, 1])
    pairs = [(0.1, 0.5), (-0.2, 0.5), (0.9, 0.5), (0.9, 0.1), (0.9, -0.2)]  # lower label first
    wanted = log1p(sum(exp(low - high) for low, high in pairs))
    np.testing.assert_allclose(losses.out_of_order(score, label), wanted, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_out_of_order_is_the_sum_over_all_pairs(seed):
    draw = np.random.default_rng(seed)
    score, label = jnp.asarray(draw.normal(size=9) * 5, jnp.float32), jnp.asarray(draw.integers(0, 4, 9), jnp.float32)

    def written_out(score):
        terms = jnp.where(label[:, None] > label[None, :], score[None, :] - score[:, None], -jnp.inf)
        return jnp.logaddexp(0.0, jax.nn.logsumexp(terms))

    wanted, slope = jax.jit(jax.value_and_grad(written_out))(score)
    got, gradient = jax.jit(jax.value_and_grad(losses.out_of_order))(score, label)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_a_label_of_minus_infinity_leaves_an_item_out():
    score, label = jnp.array([0.5, 0.1, 9.0]), jnp.array([2.0, 1.0, -jnp.inf])
    np.testing.assert_allclose(losses.out_of_order(score, label), log(1 + exp(-0.4)), rtol=1e-6)


def test_cosent():
    query, document = jnp.eye(2), jnp.array([[3.0, 4.0], [4.0, 3.0], [1.0, 1.0]])  # cosines 0.6 and 0.6; one is spare
    apart = losses.cosent(query, document, label=jnp.array([1.0, 3.0]), temperature=0.5)
    np.testing.assert_allclose(apart, [log(2)] * 2, rtol=1e-6)
    equal = losses.cosent(query, document, label=jnp.array([1.0, 1.0]), temperature=0.5)
    np.testing.assert_allclose(equal, [0.0, 0.0])
    scores = losses.cosent(query, document, label=jnp.array([0, 1]), temperature=2.0, score=losses.row_dot)
    np.testing.assert_allclose(scores, [log(1 + exp((3.0 - 3.0) / 2))] * 2, rtol=1e-6)


def test_angle_score_is_the_real_and_the_imaginary_part_of_a_quotient():
    left, right = np.array([3.0, 1.0, -2.0, 0.5]), np.array([0.5, 2.0, 1.0, -1.0])
    z, w = left[:2] + 1j * left[2:], right[:2] + 1j * right[2:]
    product = (z * w.conj()).sum() / np.linalg.norm(left) / np.linalg.norm(right)
    got = losses.angle_score(jnp.asarray(left[None], jnp.float32), jnp.asarray(right[None], jnp.float32))
    np.testing.assert_allclose(got, [abs(product.real + product.imag)], rtol=1e-6)


def test_angle_of_an_odd_size_is_that_with_a_zero_behind():
    draw = np.random.default_rng(0)
    query, document = (jnp.asarray(draw.normal(size=(3, 3)), jnp.float32) for _ in range(2))
    label = jnp.array([0.0, 0.5, 1.0])
    wide = [jnp.pad(side, ((0, 0), (0, 1))) for side in (query, document)]
    got, wanted = losses.angle(query, document, label=label), losses.angle(*wide, label=label)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.cosent, losses.angle])
def test_bad_input_is_refused(loss, as_users_call):
    both = jnp.eye(2), jnp.eye(2)
    with pytest.raises(ValueError, match=r"label must be \(2,\), one a row, got \(3,\)"):
        loss(*both, label=jnp.zeros(3))
    with pytest.raises(ValueError, match="label must be finite, got nan"):
        loss(*both, label=jnp.array([0.0, jnp.nan]))
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        loss(*both, label=jnp.zeros(2), temperature=0)
