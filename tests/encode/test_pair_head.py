import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode

DRAW = np.random.default_rng(0)
QUERY, DOCUMENT = (jnp.asarray(DRAW.normal(size=(rows, 4)), jnp.float32) for rows in (2, 5))
HEADS = {
    "feature": encode.feature_head(4, 3, 2),
    "dot": encode.dot_head(),
    "both ways": encode.both_ways(encode.feature_head(4, 3, 2)),
}


def params_of(head):
    return jax.tree.map(lambda leaf: leaf + 0.1, head.init(jax.random.key(1)))  # biases that are not zero


def test_feature_head_by_hand():
    head = encode.feature_head(1, 2, 1)
    params = {
        "hidden": {
            "kernel": jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -3.0]]),
            "bias": jnp.array([0.5, 1.0]),
        },
        "out": {"kernel": jnp.array([[2.0], [10.0]]), "bias": jnp.array([0.25])},
    }
    # u 3, v 2: hidden 3 + 4 + 0.5 and 6 - 3 + 1.  u 1, v 4: hidden 9.5, and 4 - 9 + 1 below zero.
    got = head.apply(params, jnp.array([[3.0], [1.0]]), jnp.array([[2.0], [4.0]]))
    np.testing.assert_allclose(got, [[15.25 + 40.0], [19.25]])


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_what_is_stored_changes_no_logit(head):
    """The first layer as a sum of four products is the plain one."""
    params = params_of(head)
    got = head.against(params, QUERY, head.store(params, DOCUMENT))
    for row, query in enumerate(QUERY):
        plain = head.apply(params, jnp.broadcast_to(query, DOCUMENT.shape), DOCUMENT)
        np.testing.assert_allclose(got[row], plain, atol=1e-5)


def test_both_ways_is_symmetric_and_the_plain_head_is_not():
    for name, same in (("feature", False), ("both ways", True)):
        head = HEADS[name]
        params = params_of(head)
        there, back = head.apply(params, QUERY, DOCUMENT[:2]), head.apply(params, DOCUMENT[:2], QUERY)
        assert np.allclose(there, back, atol=1e-6) == same


def test_an_equal_pair_has_a_finite_gradient():
    head = HEADS["feature"]
    params = params_of(head)
    assert jnp.isfinite(jax.grad(lambda u: head.apply(params, u, QUERY).sum())(QUERY)).all()


def test_vectors_of_another_size_are_refused(as_users_call):
    head = HEADS["feature"]
    params = params_of(head)
    for run in (
        lambda: head.apply(params, QUERY[:, :3], QUERY),
        lambda: head.store(params, DOCUMENT[:, :3]),
        lambda: head.against(params, QUERY, {"vectors": DOCUMENT[:, :3], "hidden": jnp.zeros((5, 3))}),
    ):
        with pytest.raises(ValueError, match="wanted vectors of 4 numbers, got 3"):
            run()


def test_sizes_that_make_no_head_are_refused():
    with pytest.raises(ValueError, match="one number a pair, wanted 3"):
        encode.dot_head(3)
    with pytest.raises(ValueError, match="sizes of 1 or more"):
        encode.feature_head(4, 0)
