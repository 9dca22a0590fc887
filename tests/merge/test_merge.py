"""Merge operators by hand in two dimensions, and the laws of the family."""

from math import cos, pi, sin

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import merge


def tree(seed: int, dtype=jnp.float32) -> dict:
    draw = np.random.default_rng(seed)
    return {
        "table": jnp.asarray(draw.normal(size=(5, 3)), dtype),
        "block": {"kernel": jnp.asarray(draw.normal(size=(2, 3, 3)), dtype), "bias": jnp.zeros((2, 3), dtype)},
    }


A, B, C = tree(0), tree(1), tree(2)
# Each operator as a function of how far to go from A towards B.
TOWARDS = {
    "average": lambda a, b, t: merge.average([a, b], [1 - t, t]),
    "task_arithmetic": lambda a, b, t: merge.task_arithmetic(a, [b], [t]),
    "slerp": merge.slerp,
    "slerp per leaf": merge.per_leaf(merge.slerp),
}
operators = pytest.mark.parametrize("operator", TOWARDS.values(), ids=TOWARDS.keys())


def close(got, wanted, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=rtol, atol=atol), got, wanted)


def test_slerp_by_hand():
    """A third of the way round a right angle, and lengths that differ are carried, not scaled away."""
    got = merge.slerp({"w": jnp.array([2.0, 0.0])}, {"w": jnp.array([0.0, 3.0])}, 1 / 3)["w"]
    np.testing.assert_allclose(got, [2 * sin(pi / 3), 3 * sin(pi / 6)], rtol=1e-6)


def test_slerp_sees_one_angle_for_the_whole_tree():
    first = {"a": jnp.array([1.0, 0.0]), "b": jnp.array([1.0])}
    second = {"a": jnp.array([0.0, 1.0]), "b": jnp.array([1.0])}  # cosine of the whole: 1/2, 60 degrees
    got = merge.slerp(first, second, 0.5)
    share = sin(pi / 6) / sin(pi / 3)
    np.testing.assert_allclose(got["a"], [share, share], rtol=1e-6)
    np.testing.assert_allclose(got["b"], [2 * share], rtol=1e-6)
    leafwise = merge.per_leaf(merge.slerp)(first, second, 0.5)
    np.testing.assert_allclose(leafwise["a"], [cos(pi / 4), cos(pi / 4)], rtol=1e-6)
    np.testing.assert_allclose(leafwise["b"], [1.0], rtol=1e-6)


def test_average_and_task_arithmetic_by_hand():
    base, one, two = ({"w": jnp.array([x, -x])} for x in (1.0, 2.0, 5.0))
    np.testing.assert_allclose(merge.average([base, one, two], [1.0, 1.0, 2.0])["w"], [3.25, -3.25])
    np.testing.assert_allclose(merge.task_arithmetic(base, [one, two], [0.5, 0.25])["w"], [2.5, -2.5])
    np.testing.assert_allclose(merge.task_arithmetic(base, [], [])["w"], base["w"])


@operators
def test_the_ends_are_the_models(operator):
    close(operator(A, B, 0.0), A)
    close(operator(A, B, 1.0), B)


@operators
def test_merging_a_model_with_itself_changes_nothing(operator):
    close(operator(A, A, 0.3), A)


@operators
def test_dtype_is_the_first_models_and_rounding_happens_once(operator):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), A)
    other = jax.tree.map(lambda x: x.astype(jnp.bfloat16), B)
    got = operator(half, other, 0.3)
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {jnp.dtype(jnp.bfloat16)}
    full = operator(*(jax.tree.map(lambda x: x.astype(jnp.float32), m) for m in (half, other)), 0.3)
    jax.tree.map(lambda g, w: np.testing.assert_array_equal(g, w.astype(jnp.bfloat16)), got, full)


@operators
def test_sharded_equals_one_device(operator):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    wide = [{"w": jnp.asarray(np.random.default_rng(s).normal(size=(8, 3)), jnp.float32)} for s in (0, 1)]
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    close(operator(*jax.device_put(wide, rows), 0.3), operator(*wide, 0.3))


@operators
def test_opposite_models_stay_finite(operator):
    got = operator(A, jax.tree.map(lambda x: -x, A), 0.3)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


@operators
def test_trees_that_differ_are_refused_by_name(operator):
    with pytest.raises(ValueError, match=r"block\.extra"):
        operator(A, {**B, "block": {**B["block"], "extra": jnp.ones(1)}}, 0.5)
    with pytest.raises(ValueError, match=r"table is \(5, 3\) in model 0, \(4, 3\) in model 1"):
        operator(A, {**B, "table": jnp.ones((4, 3))}, 0.5)


def test_order_of_an_average_is_irrelevant():
    close(merge.average([A, B, C]), merge.average([C, A, B]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: merge.average([]), "wanted one model or more"),
        (lambda: merge.average([A, B], [1.0]), "wanted 2 weights"),
        (lambda: merge.average([A, B], [1.0, -1.0]), "sum other than 0"),
        (lambda: merge.task_arithmetic(A, [B], [0.1, 0.2]), "wanted 1 weights, got 2"),
        (lambda: merge.slerp(A, B, 1.5), r"t must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
