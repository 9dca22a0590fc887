"""What is added to vectors: nothing at first, by hand for the dictionary, of low rank where it says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

RESIDUALS = [adapt.dictionary(3), adapt.offset(), adapt.low_rank(3), adapt.linear(), adapt.hidden(5)]
each = pytest.mark.parametrize("residual", RESIDUALS, ids=[one.name for one in RESIDUALS])


def rows(count=6, size=8):
    draws = np.random.default_rng(0).normal(size=(count, size))
    return jnp.asarray(draws / np.linalg.norm(draws, axis=1, keepdims=True), jnp.float32)


@each
def test_it_begins_as_the_identity_and_has_a_gradient(residual):
    params = residual.init(jax.random.key(0), 8)
    np.testing.assert_allclose(adapt.adapted(residual, params, rows()), rows(), atol=1e-7)
    slope = jax.grad(lambda tree: (adapt.adapted(residual, tree, rows())[:, 0]).sum())(params)
    assert any(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(slope))


def test_the_dictionary_by_hand():
    params = {"keys": jnp.array([[np.log(3.0), 0.0], [0.0, 0.0]]), "values": jnp.array([[4.0, 0.0], [0.0, 8.0]])}
    # The first query is three times as near to the first slot; the second to both alike.
    got = adapt.dictionary(2).apply(params, jnp.eye(2))
    np.testing.assert_allclose(got, [[3.0, 2.0], [2.0, 4.0]], rtol=1e-6)
    sharp = adapt.dictionary(2, scale=2.0).apply(params, jnp.eye(2))
    np.testing.assert_allclose(sharp[0], [3.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("residual", [adapt.dictionary(3), adapt.low_rank(3), adapt.offset()], ids=lambda one: one.name)
def test_what_is_added_is_of_low_rank(residual):
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape),
        residual.init(jax.random.key(1), 8),
    )
    added = np.asarray(residual.apply(params, rows(1000)), np.float64)
    assert np.linalg.matrix_rank(added, tol=1e-4) <= 3


def test_the_nearest_without_those_that_answer():
    query, document = jnp.eye(3), jnp.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0, 1.0]])
    without = np.array([[0, -1], [-1, -1], [2, 1]])
    np.testing.assert_array_equal(adapt.nearest(query, document, 2), [[0, 1], [1, 0], [2, 0]])
    np.testing.assert_array_equal(adapt.nearest(query, document, 1, without=without), [[1], [1], [0]])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: adapt.dictionary(0), "wanted 1 slot or more"),
        (lambda: adapt.dictionary(2, spread=0), "a spread and a scale above 0"),
        (lambda: adapt.low_rank(0), "wanted a rank of 1 or more"),
        (lambda: adapt.hidden(0), "wanted 1 unit or more"),
    ],
)
def test_settings_out_of_range_are_refused(as_users_call, made, said):
    with pytest.raises(ValueError, match=said):
        made()


def test_vectors_of_another_size_are_refused_and_too_many_slots_are_told(as_users_call, capsys):
    params = adapt.dictionary(9).init(jax.random.key(0), 8)
    assert "9 slots for 8 dimensions" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"dictionary-9: it is for vectors of 8 numbers, got \[6, 4\]"):
        adapt.adapted(adapt.dictionary(9), params, rows(6, 4))
