"""The four 2-D matryoshka losses, by hand, on three layers of two queries and two documents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses
from jaxemb.losses import exits

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DRAW = np.random.default_rng(0)
QUERY, DOCUMENT = (jnp.asarray(DRAW.normal(size=(3, 2, 4)), jnp.float32) for _ in range(2))
warm = partial(losses.info_nce, temperature=1.0)
even = partial(exits.constant, 1.0)


def surprise(layer, size=4):
    query, document = (np.asarray(side, np.float64)[layer, :, :size] for side in (QUERY, DOCUMENT))
    query, document = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, document))
    scores = query @ document.T
    return np.log(np.exp(scores).sum(axis=1)) - np.diag(scores)


def softmax(rows):
    return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


def aligned(layer, temperature):
    """Both sides' divergence from the last layer's, and the mean of the two."""
    found = 0
    for side in (QUERY, DOCUMENT):
        ours, theirs = (softmax(np.asarray(side, np.float64)[one] / temperature) for one in (layer, 2))
        found = found + (theirs * np.log(theirs / ours)).sum(axis=1) / 2
    return found


def test_2dmse_is_the_whole_a_prefix_and_a_lower_layer():
    loss = jax.jit(losses.random_exit(warm, [2], temperature=0.5))
    seen = set()
    for seed in range(6):
        got = loss(QUERY, DOCUMENT, key=jax.random.key(seed))
        ways = [
            surprise(2) + surprise(2, 2) + (surprise(n - 1) + surprise(n - 1, 2)) / n
            + 0.5 * np.log(2 + n) * aligned(n - 1, 0.5)
            for n in (1, 2)
        ]  # fmt: skip
        near = [np.allclose(got, way, rtol=1e-5) for way in ways]
        assert sum(near) == 1
        seen.add(near.index(True))
    assert seen == {0, 1}


def test_2dmse_with_other_factors_and_without_alignment():
    plain = losses.random_exit(warm, [2], temperature=None, weight=even)(QUERY[1:], DOCUMENT[1:], key=jax.random.key(0))
    np.testing.assert_allclose(plain, surprise(2) + surprise(2, 2) + surprise(1) + surprise(1, 2), rtol=1e-5)
    half = losses.random_exit(warm, [2], temperature=0.3, weight=even, alignment=partial(exits.constant, 0.5))
    got = half(QUERY[1:], DOCUMENT[1:], key=jax.random.key(0))
    np.testing.assert_allclose(got - plain, 0.15 * aligned(1, 0.3), rtol=1e-4)


def test_st2d_draws_a_size_afresh_for_every_layer():
    loss = jax.jit(losses.random_layer(warm, [2, 4], temperature=0.3))
    ways = {
        (last, n, size): surprise(2, last) + surprise(n - 1, size) / n + 0.3 * aligned(n - 1, 0.3)
        for last in (2, 4)
        for n in (1, 2)
        for size in (2, 4)
    }
    seen = set()
    for seed in range(12):
        got = loss(QUERY, DOCUMENT, key=jax.random.key(seed))
        seen |= {way for way, wanted in ways.items() if np.allclose(got, wanted, rtol=1e-5)}
    assert any(last != size for last, _, size in seen)
    assert len(seen) > 3


@pytest.mark.grid
def test_st2d_of_two_samples_takes_no_layer_twice():
    got = losses.random_layer(warm, [4], samples=2)(QUERY, DOCUMENT, key=jax.random.key(1))
    wanted = surprise(2) + (surprise(0) + surprise(1) / 2) / 2 + 0.3 * (aligned(0, 0.3) + aligned(1, 0.3))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_starbucks_sums_its_pairs_and_aligns_lower_layers():
    got = losses.every_exit(warm, [(1, 2), (2, 3), (3, 4)], temperature=0.3)(QUERY, DOCUMENT)
    wanted = surprise(0, 2) + surprise(1, 3) + surprise(2) + 0.3 * (aligned(0, 0.3) + aligned(1, 0.3))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    plain = losses.every_exit(warm, [(1, 2), (3, 4)], temperature=None)(QUERY, DOCUMENT)
    np.testing.assert_allclose(plain, surprise(0, 2) + surprise(2), rtol=1e-5)


def compressed(layer, size):
    both = np.concatenate([np.asarray(side, np.float64)[layer] for side in (QUERY, DOCUMENT)])
    directions, strengths, _ = np.linalg.svd(softmax(both.T @ both / 2))
    target = both @ directions[:, :size] * strengths[:size]
    ours, theirs = softmax(both[:, :size]), softmax(target)
    each = (theirs * np.log(theirs / ours)).sum(axis=1) + ((both[:, :size] - target) ** 2).mean(axis=1)
    return (each[:2] + each[2:]) / 2


def test_espresso_weighs_every_layer_and_learns_from_principal_directions():
    # A direction has no sign of its own: what the decomposition gives is compared where it does not matter.
    got = losses.every_layer(warm, 2)(QUERY, DOCUMENT)
    wanted = surprise(2) + surprise(2, 2) + compressed(2, 2)
    wanted = wanted + sum((surprise(m - 1, 2) + compressed(m - 1, 2)) / (1 + np.log(m)) for m in (1, 2)) / 2
    np.testing.assert_allclose(got, wanted, rtol=1e-3)


@pytest.mark.grid
def test_principal_directions_have_no_gradient():
    """That of the decomposition is infinite where two strengths are equal, as they are for vectors of zeros."""
    gradient = jax.grad(lambda document: losses.every_layer(warm, 2)(0 * QUERY, document).sum())(0 * DOCUMENT)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("stop", [False, True])
def test_the_last_layer_learns_from_the_alignment_unless_it_is_stopped(stop):
    def aligning(last):
        loss = losses.random_exit(warm, [2], temperature=1.0, stop_teacher=stop)
        bare = losses.random_exit(warm, [2], temperature=None)
        query, key = jnp.stack([QUERY[0], last]), jax.random.key(0)
        return (loss(query, DOCUMENT[1:], key=key) - bare(query, DOCUMENT[1:], key=key)).sum()

    moved = float(jnp.abs(jax.jit(jax.grad(aligning))(QUERY[2])).max())
    assert moved < 1e-6 if stop else moved > 1e-3


def test_entropy_of_the_teacher():
    assert float(exits.entropy(jnp.zeros((2, 4)), 0.3)) == pytest.approx(np.log(4), rel=1e-6)
    assert float(exits.entropy(jnp.array([[30.0, 0.0]]), 0.3)) == pytest.approx(0, abs=1e-6)


NAN = QUERY.at[0, 1, 2].set(jnp.nan)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.random_exit(warm, []), "random_exit: sizes must be distinct and 1 or more"),
        (lambda: losses.random_exit(warm, [2, 2]), "sizes must be distinct"),
        (lambda: losses.random_layer(warm, [0, 2]), r"1 or more, got \[0, 2\]"),
        (lambda: losses.random_exit(warm, [2], temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: losses.every_exit(warm, [(1, 2)], temperature=-1.0), "temperature must be above 0, got -1.0"),
        (lambda: losses.random_exit(warm, [4])(QUERY, DOCUMENT, key=KEY), "wanted sizes below 4, the whole"),
        (lambda: losses.random_layer(warm, [5])(QUERY, DOCUMENT, key=KEY), "a prefix of 5 in vectors of 4"),
        (lambda: losses.random_layer(warm, [4], samples=3)(QUERY, DOCUMENT, key=KEY), "vectors of 4 layers or more"),
        (lambda: losses.random_exit(warm, [2])(QUERY[:1], DOCUMENT[:1], key=KEY), "vectors of 2 layers or more"),
        (lambda: losses.every_exit(warm, [(4, 2)])(QUERY, DOCUMENT), "layer 4 at 2 of 3 layers"),
        (lambda: losses.every_exit(warm, [(0, 2)]), "both from 1"),
        (lambda: losses.every_exit(warm, [(1, 2), (1, 2)]), "wanted distinct pairs"),
        (lambda: losses.every_layer(warm, 5)(QUERY, DOCUMENT), "a prefix of 5 in vectors of 4"),
        (lambda: exits.principal(jnp.ones((2, 4)), 3), "2 vectors of 4 dimensions have 1 to 2 directions, got 3"),
        (lambda: losses.random_exit(warm, [2])(NAN, DOCUMENT, key=KEY), "query vectors of all layers must be finite"),
        (lambda: losses.tiled(losses.random_exit(warm, [2])), "tiled: this loss takes vectors of several layers"),
        (lambda: losses.random_exit(losses.layers(warm, 3), [2]), "random_exit: this loss takes vectors of several"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
