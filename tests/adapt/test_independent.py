"""Independent components: sources that were mixed are found again."""

import jax.numpy as jnp
import numpy as np

from jaxemb import adapt

MIXING = np.array([[2.0, 1.0, 0.5], [0.0, 1.0, -0.5], [0.3, 0.2, 1.0]])


def mixed(n=2000):
    """Sources of three kinds, and them mixed."""
    chance = np.random.default_rng(0)
    sources = np.stack([chance.laplace(size=n), chance.uniform(-1, 1, n), chance.laplace(size=n) ** 3], axis=1)
    sources /= sources.std(axis=0)
    return sources, jnp.asarray(sources @ MIXING + 5.0, jnp.float32)


def alike(sources, vectors):
    """Correlation of each source with each component."""
    return np.corrcoef(np.concatenate([sources, np.asarray(vectors)], axis=1).T)[:3, 3:]


def test_components_are_the_sources():
    sources, vectors = mixed()
    independent = adapt.fast_ica()
    found = abs(alike(sources, independent.apply(independent.fit(vectors), vectors)))
    assert (found.max(axis=1) > 0.98).all()
    assert sorted(found.argmax(axis=1)) == [0, 1, 2]
    whitened = abs(alike(sources, adapt.pca_whitening().apply(adapt.pca_whitening().fit(vectors), vectors)))
    assert whitened.max(axis=1).min() < 0.9  # whitening alone does not find them


def test_the_scale_of_a_column_changes_nothing():
    _, vectors = mixed()
    independent = adapt.fast_ica()
    scale = jnp.array([1.0, 100.0, 0.01])
    wanted = independent.apply(independent.fit(vectors), vectors)
    got = independent.apply(independent.fit(vectors * scale[None, :]), vectors * scale[None, :])
    np.testing.assert_allclose(got, wanted, atol=2e-3)


def test_loadings_of_standardised_columns_have_their_largest_above_zero():
    _, vectors = mixed()
    loadings = np.asarray(adapt.fast_ica().fit(vectors)["matrix"]) * np.asarray(vectors).std(axis=0)[:, None]
    assert (loadings[abs(loadings).argmax(axis=0), range(3)] > 0).all()


def test_a_rotation_that_does_not_settle_is_told(capsys):
    adapt.fast_ica(iterations=1, tolerance=1e-9).fit(mixed()[1])
    assert "not settled after 1 iterations" in capsys.readouterr().err
