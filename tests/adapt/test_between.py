"""Maps between two models: each finds the map of its kind that there is, and none does worse than the simpler one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

DRAW = np.random.default_rng(0)
SOURCE = DRAW.normal(size=(200, 4)).astype(np.float32)
ROTATION = np.linalg.qr(DRAW.normal(size=(4, 4)))[0].astype(np.float32)
MAPS = [adapt.shift(), adapt.procrustes(), adapt.ridge(), adapt.perceptron(16, steps=50)]
each = pytest.mark.parametrize("between", MAPS, ids=[one.name for one in MAPS])


def mapped(between, source, target, rows=SOURCE):
    return np.asarray(between.apply(between.fit(jnp.asarray(source), jnp.asarray(target)), jnp.asarray(rows)))


def off(between, target):
    return float(np.square(mapped(between, SOURCE, target) - target).mean())


def test_a_shift_is_found():
    np.testing.assert_allclose(mapped(adapt.shift(), SOURCE, SOURCE + 3), SOURCE + 3, atol=1e-5)


def test_a_rotation_is_found_and_stays_one():
    learnt = adapt.procrustes().fit(jnp.asarray(SOURCE), jnp.asarray(2 * SOURCE @ ROTATION))
    np.testing.assert_allclose(learnt["matrix"], ROTATION, atol=1e-5)
    np.testing.assert_allclose(learnt["matrix"] @ learnt["matrix"].T, np.eye(4), atol=1e-6)


@pytest.mark.parametrize("sizes", [(4, 2), (2, 4)])
def test_procrustes_between_two_sizes_has_orthonormal_rows_or_columns(sizes):
    source, target = DRAW.normal(size=(50, sizes[0])), DRAW.normal(size=(50, sizes[1]))
    matrix = adapt.procrustes().fit(jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32))["matrix"]
    product = matrix.T @ matrix if sizes[0] > sizes[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(2), atol=1e-6)


def test_ridge_by_hand():
    # x = (-1, 1), y = (1, 5): without strength y = 2 x + 3; with half of the diagonal, 2, added the slope is 4 / 3.
    source, target = jnp.array([[-1.0], [1.0]]), jnp.array([[1.0], [5.0]])
    learnt = adapt.ridge(0.5).fit(source, target)
    np.testing.assert_allclose(learnt["matrix"], [[4 / 3]], rtol=1e-6)
    np.testing.assert_allclose(learnt["offset"], [3.0], rtol=1e-6)


def test_a_perceptron_finds_what_is_not_linear_and_begins_as_ridge():
    target = np.concatenate([SOURCE[:, :2], np.abs(SOURCE[:, 2:])], axis=1)
    longer = adapt.perceptron(32, steps=400, learning_rate=1e-2)
    assert off(longer, target) < 0.5 * off(adapt.ridge(), target)
    # Of a linear target nothing is left to learn: the first step is kept, or one as near.
    exact = SOURCE @ ROTATION + 1
    assert off(adapt.perceptron(8, steps=20), exact) <= off(adapt.ridge(), exact) * 1.5 + 1e-9


@each
def test_what_is_learnt_is_float32_and_jits_and_order_is_irrelevant(between):
    target = jnp.asarray(SOURCE @ ROTATION + 0.1)
    learnt = between.fit(jnp.asarray(SOURCE), target)
    assert {leaf.dtype for leaf in jax.tree.leaves(learnt)} == {jnp.dtype(jnp.float32)}
    got = between.apply(learnt, jnp.asarray(SOURCE))
    np.testing.assert_allclose(jax.jit(between.apply)(learnt, jnp.asarray(SOURCE)), got, rtol=1e-4, atol=1e-5)
    if "perceptron" not in between.name:  # which draws what it holds out by place
        again = between.fit(jnp.asarray(SOURCE[::-1].copy()), target[::-1])
        np.testing.assert_allclose(between.apply(again, jnp.asarray(SOURCE)), got, atol=1e-4)


@each
@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (SOURCE[:5], SOURCE[:4], "wanted vectors of the same texts by two models"),
        (SOURCE[:0], SOURCE[:0], "texts or more, got 0"),
        (SOURCE, SOURCE.astype(np.int8), "target: wanted float vectors, got int8"),
        (np.where(SOURCE > 2, np.nan, SOURCE), SOURCE, "source: NaN or infinity"),
    ],
)
def test_sides_that_do_not_belong_together_are_refused(as_users_call, between, source, target, said):
    with pytest.raises(ValueError, match=f"{between.name.split('-')[0]}: .*{said}"):
        between.fit(jnp.asarray(source), jnp.asarray(target))


def test_settings_out_of_range_are_refused(as_users_call):
    with pytest.raises(ValueError, match="wanted a strength above 0, got 0"):
        adapt.ridge(0)
    with pytest.raises(ValueError, match="perceptron: wanted hidden"):
        adapt.perceptron(0)
    with pytest.raises(ValueError, match="wanted two models of one size, got 4 and 2"):
        adapt.shift().fit(jnp.asarray(SOURCE), jnp.asarray(SOURCE[:, :2]))
