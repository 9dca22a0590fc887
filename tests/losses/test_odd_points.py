"""Losses where their maths has an edge: equal vectors, zeros, a thousand kilometres and a hair's breadth."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")
DRAW = np.random.default_rng(0)
QUERY, DOCUMENT = (jnp.asarray(DRAW.normal(size=(4, 4)), jnp.float32) for _ in range(2))
LABEL = {"label": jnp.array([0, 1, 1, 0])}
POINTS = {
    "zeros": (QUERY * 0, DOCUMENT * 0),
    "equal": (jnp.ones((4, 4)), jnp.ones((4, 4))),
    "far": (QUERY * 1e8, DOCUMENT * -1e8),
    "near": (QUERY * 1e-20, DOCUMENT * 1e-20),
}


@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.hinge_ranking, similarity=losses.negative_distance, choose=losses.semi_hard),
        partial(losses.hinge_ranking, choose=losses.hardest_of(2)),
        partial(losses.hard_info_nce, hardest=2),
        losses.soft_margin_ranking,
        partial(losses.batch_hard_soft, **LABEL),
        partial(losses.batch_semi_hard, similarity=losses.negative_distance, **LABEL),
        losses.sigmoid_contrastive,
        partial(losses.angle, **LABEL),
        partial(losses.contrastive_pairs, distance=losses.euclidean_distance, **LABEL),
        partial(losses.online_contrastive, **LABEL),
        partial(losses.embedding_distillation, distance=losses.euclidean_distance),
        losses.quantization_penalty,
        partial(losses.alignment, power=1.0),
        losses.uniformity,
        losses.barlow_twins,
        losses.variance,
        losses.global_orthogonal,
    ],
    ids=lambda loss: getattr(loss, "func", loss).__name__,
)
def test_value_and_gradient_are_finite(loss):
    run = jax.jit(jax.value_and_grad(lambda q, d: loss(q, d).mean(), argnums=(0, 1)))
    for name, (query, document) in POINTS.items():
        for found in jax.tree.leaves(run(query, document)):
            assert jnp.isfinite(found).all(), name


@pytest.mark.parametrize("distance", [losses.euclidean_distance, losses.manhattan_distance, losses.cosine_distance])
def test_distances_of_equal_rows_are_zero_and_have_a_gradient(distance):
    row = jnp.array([[3.0, 4.0]])
    value, slope = jax.value_and_grad(lambda left: distance(left, row).sum())(row)
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    assert jnp.isfinite(slope).all()


def test_a_length_of_extremes_neither_overflows_nor_vanishes():
    rows = jnp.array([[3e30, 4e30], [3e-30, 4e-30]])
    np.testing.assert_allclose(losses.euclidean_distance(rows, jnp.zeros((2, 2))), [5e30, 5e-30], rtol=1e-6)
