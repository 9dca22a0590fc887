"""Classes of pairs, by hand."""

from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

LEFT, RIGHT = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[3.0, -1.0], [2.0, 2.0]])


def test_features():
    np.testing.assert_array_equal(losses.difference_features(LEFT, RIGHT)[0], [1, 2, 3, -1, 2, 3])
    np.testing.assert_array_equal(losses.product_features(LEFT, RIGHT)[1], [0, 1, 2, 2, 2, 1, 0, 2])


def test_softmax_classification():
    weight = jnp.zeros((6, 2)).at[0, 0].set(1.0).at[3, 1].set(0.5)  # logits 1 and -0.5; 0 and 1
    given = {"label": jnp.array([1, 0]), "classifier": losses.linear(weight, jnp.array([0.25, 0.0]))}
    got = losses.softmax_classification(LEFT, RIGHT, **given)
    wanted = [log(1 + exp(1.75)), log(1 + exp(0.75))]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    weighed = losses.softmax_classification(LEFT, RIGHT, class_weight=jnp.array([3.0, 0.5]), **given)
    np.testing.assert_allclose(weighed, [wanted[0] / 2, wanted[1] * 3], rtol=1e-6)


def test_class_weights_are_the_same_for_every_tile():
    draw = np.random.default_rng(0)
    query, document = (jnp.asarray(draw.normal(size=(3, 2)), jnp.float32) for _ in range(2))
    given = {"label": jnp.array([0, 2, 1]), "class_weight": jnp.array([1.0, 2.0, 3.0])}
    classifier = losses.linear(jnp.asarray(draw.normal(size=(6, 3)), jnp.float32))
    loss = partial(losses.softmax_classification, classifier=classifier)
    got = jax.jit(losses.tiled(loss, rows=2))(query, document, **given)
    np.testing.assert_allclose(got, loss(query, document, **given), rtol=1e-5)


def test_binary_classification():
    label = jnp.array([1.0, 0.25])  # logits 1 and 2
    got = losses.binary_classification(LEFT, RIGHT, label=label, classifier=losses.row_dot, positive_weight=2.0)
    yes, no = log(1 + exp(-2.0)), log(1 + exp(2.0))
    np.testing.assert_allclose(got, [2 * log(1 + exp(-1.0)), 2 * 0.25 * yes + 0.75 * no], rtol=1e-6)
    column = losses.linear(jnp.ones((6, 1)))  # logits 10 and 8
    got = losses.binary_classification(LEFT, RIGHT, label=jnp.array([1, 0]), classifier=column)
    np.testing.assert_allclose(got, [log(1 + exp(-10.0)), log(1 + exp(8.0))], rtol=1e-4)


THREE = losses.linear(jnp.zeros((6, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.softmax_classification(LEFT, RIGHT, label=jnp.array([0, 3]), classifier=THREE),
            "label must be a class, 0 to 2, got 3",
        ),
        (
            lambda: losses.softmax_classification(LEFT, RIGHT, label=jnp.array([0]), classifier=THREE),
            r"label must be \(2,\), one a row, got \(1,\)",
        ),
        (
            lambda: losses.softmax_classification(
                LEFT, RIGHT, label=jnp.array([0, 1]), classifier=THREE, class_weight=jnp.ones(2)
            ),
            r"class_weight must be \(3,\), got \(2,\)",
        ),
        (
            lambda: losses.softmax_classification(LEFT, RIGHT, label=jnp.array([0, 1]), classifier=losses.row_dot),
            r"logits must be \[2, classes\], got \(2,\)",
        ),
        (lambda: losses.linear(jnp.zeros((5, 3)))(LEFT, RIGHT), "6 features need as many rows of weights"),
        (
            lambda: losses.binary_classification(LEFT, RIGHT, label=jnp.array([0, 2]), classifier=losses.row_dot),
            r"label must be in \[0, 1\], got 2",
        ),
        (
            lambda: losses.binary_classification(LEFT, RIGHT, label=jnp.array([0, 1]), classifier=THREE),
            r"logits must be \[2\], got \(2, 3\)",
        ),
        (
            lambda: losses.binary_classification(
                LEFT, RIGHT, label=jnp.array([0, 1]), classifier=losses.row_dot, positive_weight=0.0
            ),
            "positive_weight must be above 0",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
