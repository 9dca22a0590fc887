"""How vectors lie, against the sums over all pairs written out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses
from jaxemb.losses import spread

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DRAW = np.random.default_rng(0)
QUERY, DOCUMENT = (jnp.asarray(DRAW.normal(size=(n, 3)), jnp.float32) for n in (5, 7))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def both(measure):
    return [np.mean([measure(np.asarray(side, np.float64)) for side in (QUERY, DOCUMENT)])] * 5


def test_alignment():
    apart = np.linalg.norm(unit(np.asarray(QUERY)) - unit(np.asarray(DOCUMENT))[:5], axis=1)
    np.testing.assert_allclose(losses.alignment(QUERY, DOCUMENT), apart**2, rtol=1e-5)
    np.testing.assert_allclose(losses.alignment(QUERY, DOCUMENT, power=1.5), apart**1.5, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 256])
def test_uniformity(rows, monkeypatch):
    monkeypatch.setattr(spread, "ROWS", rows)

    def crowded(rows):
        squares = 2 - 2 * unit(rows) @ unit(rows).T
        return np.log(np.exp(-3.0 * off_diagonal(squares)).mean())

    got = jax.jit(partial(losses.uniformity, sharpness=3.0))(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, both(crowded), rtol=1e-5)


def test_uniformity_of_one_point_is_nothing():
    np.testing.assert_allclose(jax.jit(losses.uniformity)(jnp.ones((5, 3)), jnp.ones((7, 3))), [0.0] * 5, atol=1e-5)


def test_barlow_twins():
    correlation = np.corrcoef(QUERY.T, DOCUMENT[:5].T)[:3, 3:]
    wanted = ((1 - np.diag(correlation)) ** 2).sum() + 0.3 * (off_diagonal(correlation) ** 2).sum()
    got = losses.barlow_twins(QUERY, DOCUMENT, redundancy=0.3, epsilon=0.0)
    np.testing.assert_allclose(got, [wanted] * 5, rtol=1e-5)


def test_variance():
    def short(rows):
        return np.maximum(0, 1.2 - np.sqrt(rows.var(axis=0, ddof=1) + 0.01)).mean()

    np.testing.assert_allclose(losses.variance(QUERY, DOCUMENT, target=1.2, epsilon=0.01), both(short), rtol=1e-5)


def test_covariance():
    def together(rows):
        return (off_diagonal(np.cov(rows.T)) ** 2).sum() / 3

    np.testing.assert_allclose(losses.covariance(QUERY, DOCUMENT), both(together), rtol=1e-5)


def test_global_orthogonal():
    def tilted(rows):
        cosines = off_diagonal(unit(rows) @ unit(rows).T)
        return 0.5 * cosines.mean() ** 2 + 2.0 * max(0, (cosines**2).mean() - 1 / 3)

    got = losses.global_orthogonal(QUERY, DOCUMENT, mean_weight=0.5, second_weight=2.0)
    np.testing.assert_allclose(got, both(tilted), rtol=1e-4)


@pytest.mark.parametrize(
    "loss", [losses.uniformity, losses.barlow_twins, losses.variance, losses.covariance, losses.global_orthogonal]
)
def test_one_row_is_nothing_to_compare(loss, as_users_call):
    with pytest.raises(ValueError, match="rows are compared with each other, wanted 2 or more, got 1"):
        loss(jnp.ones((1, 2)), jnp.ones((1, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.alignment(QUERY, DOCUMENT, power=0.5), "power must be 1 or more, got 0.5"),
        (lambda: losses.uniformity(QUERY, DOCUMENT, sharpness=0.0), "sharpness must be above 0"),
        (lambda: losses.variance(QUERY, DOCUMENT, target=0.0), "target must be above 0"),
        (lambda: losses.global_orthogonal(QUERY, DOCUMENT, mean_weight=0.0, second_weight=0.0), "one above 0"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_as_large_as_all_pairs_is_made():
    """5,000 rows: all pairs would be 25 million numbers."""
    shape = jax.ShapeDtypeStruct((5000, 3), jnp.float32)
    for loss in (losses.uniformity, losses.global_orthogonal):
        slope = jax.grad(lambda q, d, loss=loss: loss(q, d).mean())
        memory = jax.jit(slope).lower(shape, shape).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 5000 * 5000
