"""Query drift by hand: two queries, one that moves by a right angle and one that does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt

OLD = jnp.array([[1.0, 0.0], [0.0, 2.0]])
NEW = jnp.array([[0.0, 3.0], [0.0, 1.0]])


def counted(old=OLD, new=NEW, **settings):
    return adapt.seen(adapt.unseen(2), old, new, **settings)


def rows(seed, count, size=4):
    draws = np.random.default_rng(seed).normal(size=(count, size))
    return jnp.asarray(draws / np.linalg.norm(draws, axis=1, keepdims=True), jnp.float32)


def test_the_mean_is_of_vectors_of_length_one():
    np.testing.assert_allclose(adapt.mean_drift(counted()), [-0.5, 0.5], atol=1e-6)


def test_what_is_told_by_hand():
    told = adapt.told(counted())
    # The mean is (-1/2, 1/2), one of two queries moved by the root of two, and cosines are 0 and 1.
    np.testing.assert_allclose([told.length, told.cosine, told.explained], [0.5**0.5, 0.5, 0.5], rtol=1e-6)
    assert told.transfer is None
    assert not told.doubtful


def test_rows_of_padding_do_not_count():
    np.testing.assert_allclose(adapt.mean_drift(counted(mask=jnp.array([True, False]))), [-1.0, 1.0], atol=1e-6)


def test_parts_add_up_in_any_order_and_on_several_devices():
    old, new = rows(0, 16), rows(1, 16)
    whole = adapt.seen(adapt.unseen(4), old, new)
    halves = [adapt.seen(adapt.unseen(4), old[part], new[part]) for part in (slice(8, 16), slice(0, 8))]
    for one, sums in zip(whole, jax.tree.map(jnp.add, *halves), strict=True):
        np.testing.assert_allclose(one, sums, rtol=1e-5, atol=1e-6)
    summed = jax.jit(
        jax.shard_map(
            lambda left, right: jax.lax.psum(adapt.seen(adapt.unseen(4), left, right), "data"),
            mesh=jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)),
            in_specs=(jax.P("data"), jax.P("data")),
            out_specs=jax.P(),
        )
    )(old, new)
    for one, sums in zip(whole, summed, strict=True):
        np.testing.assert_allclose(one, sums, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_summed_in_float32():
    same = adapt.seen(adapt.unseen(4), rows(0, 8).astype(jnp.bfloat16), rows(0, 8).astype(jnp.bfloat16))
    assert same.total.dtype == jnp.float32
    np.testing.assert_allclose(same.total, 0, atol=1e-7)


def test_a_constant_drift_is_undone_whole():
    old, index = rows(0, 8), rows(1, 32)
    constant = jnp.array([0.3, -0.2, 0.1, 0.4])
    back = adapt.compensate(old + constant[None, :], constant)
    np.testing.assert_allclose(back @ index.T, old @ index.T, atol=1e-6)


def test_scaling_to_length_one_changes_no_order():
    query, drift, index = rows(0, 8), jnp.array([0.3, -0.2, 0.1, 0.4]), rows(1, 32)
    plain, scaled = adapt.compensate(query, drift), adapt.compensate(query, drift, renormalise=True)
    np.testing.assert_allclose(jnp.linalg.norm(scaled, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(jnp.argsort(plain @ index.T, axis=1), jnp.argsort(scaled @ index.T, axis=1))


def test_drifts_of_several_updates_add_up():
    links = {("a", "b"): jnp.array([1.0, 2.0]), ("b", "c"): jnp.array([10.0, 20.0]), ("x", "c"): jnp.array([9.0, 9.0])}
    np.testing.assert_array_equal(adapt.chained(links, "a", "c"), [11.0, 22.0])
    np.testing.assert_array_equal(adapt.chained(links, "c", "c"), [0.0, 0.0])


@pytest.mark.parametrize(
    ("older", "newer", "said"),
    [
        (3, 1, "no chain of updates leads from version 3 to 1"),
        (0, 2, "no chain of updates leads from version 0"),
        (7, 7, "version 7 is unknown"),
        (1, 3, "2 chains of updates lead"),
    ],
)
def test_versions_that_do_not_follow_each_other_are_refused(older, newer, said):
    one = jnp.ones(2)
    with pytest.raises(ValueError, match=said):
        adapt.chained({(1, 2): one, (2, 3): one, (1, 3): one}, older, newer)


def test_drifts_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        adapt.chained({(1, 2): jnp.ones(2), (2, 3): jnp.ones(3)}, 1, 3)


def test_a_cluster_has_the_drift_of_its_own_queries():
    old, new = jnp.eye(2), jnp.array([[1.0, 0.5], [0.5, 1.0]])
    state = adapt.by_cluster(old, new, jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    # The third cluster has no query, and so the mean drift.
    np.testing.assert_allclose(state["drifts"], [[0.0, 0.5], [0.5, 0.0], [0.25, 0.25]])
    np.testing.assert_allclose(adapt.compensate_by_cluster(state, new), old, atol=1e-6)


def test_a_drift_that_is_not_that_of_the_queries_is_said_aloud(capsys):
    told = adapt.told(counted(), counted(NEW, OLD))
    assert told.transfer == pytest.approx(-1.0)
    assert told.doubtful
    assert "compensation may lower their recall" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "settings", "said"),
    [
        (OLD, NEW[:1], {}, r"wanted old and new queries \[b, 2\], got \[2, 2\] and \[1, 2\]"),
        (jnp.ones((2, 3)), jnp.ones((2, 3)), {}, r"wanted old and new queries \[b, 2\], got \[2, 3\]"),
        (OLD, NEW.astype(jnp.int8), {}, "wanted float vectors, got float32 and int8"),
        (OLD, NEW.at[0, 0].set(jnp.nan), {}, "new queries: 1 rows hold NaN"),
        (OLD, NEW, {"normalised": True}, "old queries: 1 of 2 have not length one"),
    ],
)
def test_queries_that_cannot_be_compared_are_refused(as_users_call, old, new, settings, said):
    with pytest.raises(ValueError, match=said):
        counted(old, new, **settings)


def test_no_query_has_no_drift(as_users_call):
    with pytest.raises(ValueError, match="wanted one query or more, got none"):
        adapt.mean_drift(adapt.unseen(2))
    with pytest.raises(ValueError, match=r"wanted queries \[b, 2\], as the drift is, got \[1, 3\]"):
        adapt.compensate(jnp.ones((1, 3)), jnp.ones(2))
