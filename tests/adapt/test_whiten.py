"""Whitening by hand: four vectors whose principal components are (0.6, 0.8) and (0.8, -0.6)."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

MEAN, LONG, SHORT = np.array([1.0, 2.0]), np.array([0.6, 0.8]), np.array([0.8, -0.6])
VECTORS = jnp.asarray(MEAN + np.stack([3 * LONG, -3 * LONG, SHORT, -SHORT]), jnp.float32)
ROOT = 2**0.5  # along each component two of the four stand still, so that the others are root two off


def test_principal_components_come_first_and_point_up():
    whitening = adapt.pca_whitening()
    state = whitening.fit(VECTORS)
    np.testing.assert_allclose(state["mean"], [1.0, 2.0], rtol=1e-6)
    # The variances are 9 / 2 and 1 / 2; both columns have their largest loading positive.
    np.testing.assert_allclose(state["matrix"], np.stack([LONG / 4.5**0.5, SHORT / 0.5**0.5], axis=1), rtol=1e-5)
    got = whitening.apply(state, VECTORS)
    np.testing.assert_allclose(got, [[ROOT, 0], [-ROOT, 0], [0, ROOT], [0, -ROOT]], atol=1e-6)


def test_turned_back_vectors_keep_their_directions():
    whitening = adapt.zca_whitening()
    state = whitening.fit(VECTORS)
    np.testing.assert_allclose(state["matrix"], state["matrix"].T, atol=1e-6)
    wanted = ROOT * np.stack([LONG, -LONG, SHORT, -SHORT])
    np.testing.assert_allclose(whitening.apply(state, VECTORS), wanted, atol=1e-6)


def test_other_vectors_get_the_sample_s_map():
    whitening = adapt.pca_whitening()
    other = jnp.asarray(MEAN + 6 * LONG + 2 * SHORT, jnp.float32)[None, :]
    np.testing.assert_allclose(whitening.apply(whitening.fit(VECTORS), other), [[2 * ROOT, 2 * ROOT]], rtol=1e-5)


def test_a_direction_without_variance_is_named(as_users_call):
    flat = jnp.asarray(MEAN + np.outer([3.0, -3.0, 1.0, -1.0], LONG), jnp.float32)
    with pytest.raises(ValueError, match="zca_whitening: no variance in one direction"):
        adapt.zca_whitening().fit(flat)
