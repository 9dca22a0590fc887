"""Pairs with a number, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY = jnp.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
DOCUMENT = jnp.array([[3.0, 4.0], [3.0, 4.0], [1.0, 0.0]])  # cosines 0.6, 0.8 and 1; distances 0.4, 0.2 and 0


def test_similarity_regression():
    label = jnp.array([1.0, 0.5, -1.0])
    np.testing.assert_allclose(losses.similarity_regression(QUERY, DOCUMENT, label=label), [0.16, 0.09, 4.0], rtol=1e-5)
    dots = losses.similarity_regression(QUERY, DOCUMENT, label=label, score=losses.row_dot, error=optax.huber_loss)
    np.testing.assert_allclose(dots, [1.5, 7.0, 1.5], rtol=1e-5)


def test_contrastive_pairs():
    label = jnp.array([1, 0, 0])
    got = losses.contrastive_pairs(QUERY, DOCUMENT, label=label, margin=0.5)
    np.testing.assert_allclose(got, [0.08, 0.045, 0.125], rtol=1e-5)
    euclid = losses.contrastive_pairs(QUERY, DOCUMENT, label=label, distance=losses.euclidean_distance, margin=1.0)
    np.testing.assert_allclose(euclid, [10.0, 0.0, 0.5], rtol=1e-5)


def test_online_contrastive_keeps_the_hard_pairs():
    query = jnp.ones((4, 1)) * jnp.array([[1.0, 0.0]])
    document = jnp.array([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])  # distances 0.4, 0.2, 1 and 0
    got = losses.online_contrastive(query, document, label=jnp.array([1, 0, 0, 1]))
    np.testing.assert_allclose(got, [0.16, 0.09, 0.0, 0.0], atol=1e-6)  # pair 2 is farther than pair 0
    one_kind = losses.online_contrastive(query, document, label=jnp.zeros(4, jnp.int32), margin=0.5)
    np.testing.assert_allclose(one_kind, [0.0, 0.09, 0.0, 0.25], atol=1e-6)  # a mean of 0.4 is the bound
    other = losses.online_contrastive(query, document, label=jnp.ones(4, jnp.int32), margin=0.5)
    np.testing.assert_allclose(other, [0.0, 0.0, 1.0, 0.0], atol=1e-6)


def test_margin_mse_of_several_negatives():
    document = jnp.concatenate([DOCUMENT[:2], DOCUMENT[1:], jnp.zeros((2, 2))])  # of QUERY: 3, 8; 3, 0; 0, 0
    teacher = jnp.array([[5.0, 4.0, 3.0], [1.0, 2.0, -7.0]])
    got = losses.margin_mse(QUERY[:2], document, teacher=teacher, negatives=2)
    np.testing.assert_allclose(got, [(1.0 + 1.0) / 2, (81.0 + 0.0) / 2], rtol=1e-6)
    shifted = losses.margin_mse(QUERY[:2], document, teacher=teacher + 10, negatives=2)
    np.testing.assert_allclose(got, shifted, rtol=1e-6)
    slope = jax.grad(lambda t: losses.margin_mse(QUERY[:2], document, teacher=t, negatives=2).sum())(teacher)
    assert (slope == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.similarity_regression(QUERY, DOCUMENT, label=jnp.ones(2)), r"label must be \(3,\)"),
        (lambda: losses.similarity_regression(QUERY, DOCUMENT, label=jnp.full(3, jnp.inf)), "finite, got inf"),
        (lambda: losses.contrastive_pairs(QUERY, DOCUMENT, label=jnp.ones(3), margin=0), "margin must be above 0"),
        (lambda: losses.contrastive_pairs(QUERY, DOCUMENT, label=jnp.array([0.0, 1.0, 2.0])), r"in \[0, 1\], got 2.0"),
        (lambda: losses.online_contrastive(QUERY, DOCUMENT, label=jnp.full(3, 0.5)), "must be 0 or 1, got 0.5"),
        (lambda: losses.margin_mse(QUERY, DOCUMENT, teacher=jnp.ones((3, 2))), "need 6 documents, got 3"),
        (lambda: losses.margin_mse(QUERY[:1], DOCUMENT[:2], teacher=jnp.ones((1, 3))), r"must be \(1, 2\), own doc"),
        (
            lambda: losses.margin_mse(QUERY[:1], DOCUMENT[:2], teacher=jnp.full((1, 2), jnp.nan)),
            "teacher must be finite, got nan",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
