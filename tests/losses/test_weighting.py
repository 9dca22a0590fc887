"""Weights of rows and of negatives, by hand, and what they leave as it was."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses, train

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DRAW = np.random.default_rng(0)
QUERY, DOCUMENT = (jnp.asarray(DRAW.normal(size=(n, 3)), jnp.float32) for n in (4, 12))
warm = partial(losses.info_nce, temperature=0.5)


def cosines():
    query, document = (np.asarray(side, np.float64) for side in (QUERY, DOCUMENT))
    query, document = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, document))
    return query @ document.T


def weights(strength):
    found = cosines()
    hard = np.array([(found[i, i + 4] + found[i, i + 8]) / 2 - found[i, i] for i in range(4)])
    standard = np.clip((hard - hard.mean()) / (hard.std() + 1e-6), -3, 3)
    return np.exp(strength * standard) / np.exp(strength * standard).mean()


def test_progressive_by_hand():
    got = losses.progressive(warm, 2)(QUERY, DOCUMENT, strength=0.7)
    np.testing.assert_allclose(got, weights(0.7) * np.asarray(warm(QUERY, DOCUMENT)), rtol=1e-5)
    assert losses.progressive_weights(jnp.array([-1.0, 2.0, 0.0]), 0.3).mean() == pytest.approx(1, rel=1e-6)


def test_weights_have_no_gradient():
    def weighed(query, given):
        return (warm(query, DOCUMENT) * given).sum()

    got = jax.grad(lambda query: losses.progressive(warm, 2)(query, DOCUMENT, strength=0.7).sum())(QUERY)
    wanted = jax.grad(weighed)(QUERY, jnp.asarray(weights(0.7), jnp.float32))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "weigh", [partial(losses.progressive, negatives=2), partial(losses.weighted_negatives, temperature=0.5)]
)
def test_no_strength_is_the_plain_loss(weigh):
    np.testing.assert_allclose(weigh(warm)(QUERY, DOCUMENT, strength=0.0), warm(QUERY, DOCUMENT), rtol=1e-6)


def test_rows_as_hard_as_each_other_weigh_one():
    query, document = jnp.ones((3, 2)), jnp.ones((6, 2))
    np.testing.assert_allclose(
        losses.progressive(warm, 1)(query, document, strength=2.0), warm(query, document), rtol=1e-6
    )


def test_weighted_negatives_by_hand():
    found = cosines()
    wanted = []
    for i in range(4):
        others = [j for j in range(12) if j != i]
        beta = np.exp(0.7 * found[i, others])
        beta /= beta.mean()
        own = np.exp(found[i, i] / 0.5)
        wanted.append(-np.log(own / (own + (beta * np.exp(found[i, others] / 0.5)).sum())))
    got = losses.weighted_negatives(warm, 0.5)(QUERY, DOCUMENT, strength=0.7)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_focal_by_hand():
    each = np.asarray(warm(QUERY, DOCUMENT), np.float64)
    got = losses.focal(warm, 0.5)(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, np.sqrt(1 - np.exp(-each)) * each, rtol=1e-5)


@pytest.mark.grid
def test_two_devices_weigh_as_one_does():
    """The mean of the weights is everyone's: those of two halves by themselves are others."""
    mesh = train.data_mesh(2)
    loss = losses.progressive(warm, 2)

    def mean(loss, query, document):
        return loss(query, document, strength=0.7).mean()

    spread = losses.on_mesh(loss, mesh)
    for argument in (0, 1):
        ours, theirs = (
            jax.jit(jax.value_and_grad(partial(mean, one), argnums=argument))(QUERY, DOCUMENT) for one in (loss, spread)
        )
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.progressive(warm, 0), "wanted 1 hard negative a query or more, got 0"),
        (lambda: losses.progressive(warm, 2)(QUERY[:1], DOCUMENT[:3], strength=0.5), "wanted 2 or more, got 1"),
        (
            lambda: losses.progressive(warm, 2)(QUERY, DOCUMENT, strength=float("nan")),
            "strength must be finite, got nan",
        ),
        (lambda: losses.progressive(warm, 3)(QUERY, DOCUMENT[:11], strength=0.5), "need 16 documents, got 11"),
        (lambda: losses.weighted_negatives(warm, 0.5)(QUERY, DOCUMENT, strength=np.inf), "must be finite, got inf"),
        (lambda: losses.weighted_negatives(losses.triplet, 0.5), "takes no `similarity`"),
        (lambda: losses.focal(warm, -1.0), "gamma of 0 or more, got -1.0"),
        (lambda: losses.tiled(losses.progressive(warm, 2)), "no rows of its own"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
