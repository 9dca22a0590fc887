"""The pairwise sigmoid loss, by hand."""

from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY, DOCUMENT = jnp.eye(2), jnp.array([[3.0, 4.0], [4.0, 3.0], [0.0, -1.0]])  # cosines 0.6, 0.8, 0; 0.8, 0.6, -1


def asked(score, own):
    logit = score / 0.5 - 0.25
    return log(1 + exp(-logit if own else logit))


def test_sigmoid_contrastive():
    got = losses.sigmoid_contrastive(QUERY, DOCUMENT, temperature=0.5, bias=-0.25)
    wanted = [asked(0.6, True) + asked(0.8, False) + asked(0.0, False)]
    wanted += [asked(0.8, False) + asked(0.6, True) + asked(-1.0, False)]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_an_ignored_pair_is_not_asked_but_the_own_one_is():
    ignore = jnp.array([[True, True, False], [False, False, False]])
    got = losses.sigmoid_contrastive(QUERY, DOCUMENT, temperature=0.5, bias=-0.25, ignore=ignore)
    np.testing.assert_allclose(got[0], asked(0.6, True) + asked(0.0, False), rtol=1e-5)


def test_temperature_and_bias_are_learnt():
    def loss(temperature, bias):
        return losses.sigmoid_contrastive(QUERY, DOCUMENT, temperature=temperature, bias=bias).mean()

    slopes = jax.grad(loss, argnums=(0, 1))(jnp.asarray(0.1), jnp.asarray(-10.0))
    assert all(slope != 0 for slope in slopes)


def test_bad_input_is_refused(as_users_call):
    with pytest.raises(ValueError, match="temperature must be above 0, got -1"):
        losses.sigmoid_contrastive(QUERY, DOCUMENT, temperature=-1)
    with pytest.raises(ValueError, match=r"ignore must be \(2, 3\), got \(2, 2\)"):
        losses.sigmoid_contrastive(QUERY, DOCUMENT, ignore=jnp.ones((2, 2), bool))
