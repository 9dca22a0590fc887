"""Maps of `adapt` and scikit-learn's: the same components, whatever their order and sign."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

decomposition = pytest.importorskip(
    "sklearn.decomposition", reason="scikit-learn is not installed: pip install 'jaxemb[parity]'"
)

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

chance = np.random.default_rng(0)
VECTORS = (chance.laplace(size=(800, 5)) @ chance.normal(size=(5, 5)) + 3.0).astype(np.float32)


def mapped(made):
    return np.asarray(made.apply(made.fit(jnp.asarray(VECTORS)), jnp.asarray(VECTORS)))


def test_whitening():
    theirs = decomposition.PCA(whiten=True).fit_transform(VECTORS.astype(np.float64))
    signs = np.sign((theirs * mapped(adapt.pca_whitening())).sum(axis=0))
    # Theirs divides by one row less, so that its variance is one of an unbiased estimate.
    np.testing.assert_allclose(mapped(adapt.pca_whitening()), signs * theirs * (800 / 799) ** 0.5, atol=1e-3)


def test_independent_components():
    standard = (VECTORS - VECTORS.mean(axis=0)) / VECTORS.std(axis=0)
    ica = decomposition.FastICA(whiten="unit-variance", fun="logcosh", tol=1e-4, max_iter=1000, random_state=42)
    theirs, ours = ica.fit_transform(standard.astype(np.float64)), mapped(adapt.fast_ica())
    alike = theirs.T @ ours / len(ours)
    np.testing.assert_allclose(abs(alike).max(axis=1), 1, atol=1e-3)
    assert sorted(abs(alike).argmax(axis=1)) == [0, 1, 2, 3, 4]
