"""What holds of every map that makes a sample even; a new one joins `MAPS` and meets every law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

MAPS = [adapt.pca_whitening, adapt.zca_whitening, adapt.fast_ica]
each = pytest.mark.parametrize("made", [make() for make in MAPS], ids=[make.__name__ for make in MAPS])
COUNT = 400


def vectors() -> jax.Array:
    """Uneven, mixed, and far from zero."""
    sources = np.random.default_rng(0).laplace(size=(COUNT, 3))
    mixing = np.array([[2.0, 1.0, 0.5], [0.0, 1.0, -0.5], [0.3, 0.2, 1.0]])
    return jnp.asarray(sources @ mixing + 5.0, jnp.float32)


def mapped(made, rows):
    return made.apply(made.fit(rows), rows)


@each
def test_there_is_no_mean_and_no_correlation_and_a_variance_of_one(made):
    got = np.asarray(mapped(made, vectors()))
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(got.T @ got / COUNT, np.eye(3), atol=1e-3)


@each
def test_where_vectors_stand_and_their_unit_are_irrelevant(made):
    np.testing.assert_allclose(mapped(made, 3 * vectors() - 20), mapped(made, vectors()), atol=2e-3)


@each
def test_order_of_vectors_is_irrelevant(made):
    np.testing.assert_allclose(mapped(made, vectors()[::-1])[::-1], mapped(made, vectors()), atol=2e-3)


@each
def test_what_is_learnt_is_a_mean_and_a_matrix(made):
    state = made.fit(vectors())
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in state.items()} == {
        "mean": ((3,), jnp.float32),
        "matrix": ((3, 3), jnp.float32),
    }
    np.testing.assert_allclose(
        jax.jit(made.apply)(state, vectors()), made.apply(state, vectors()), rtol=1e-4, atol=1e-5
    )


@each
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:3], "3 dimensions need more vectors than that, got 3"),
        (lambda rows: rows.at[0, 0].set(jnp.nan), "1 of 400 vectors hold NaN"),
        (lambda rows: rows.at[:, 1].set(2.0), "1 columns are the same in all vectors, the first is 1"),
        (lambda rows: rows.at[:, 1].set(rows[:, 0]), "no variance in one direction"),
    ],
)
def test_what_cannot_be_made_even_is_refused(as_users_call, made, change, said):
    with pytest.raises(ValueError, match=said):
        made.fit(change(vectors()))
