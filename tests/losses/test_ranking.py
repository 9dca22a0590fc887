"""Losses of a margin, by hand: unequal cosines, every choice of negatives."""

from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY = jnp.array([[1.0, 0.0], [0.0, 1.0]])
DOCUMENT = jnp.array([[0.8, 0.6], [0.6, 0.8], [1.0, 0.0], [-0.6, 0.8]])
# cosines [[0.8, 0.6, 1, -0.6], [0.6, 0.8, 0, 0.8]]; a margin of 0.3 makes violations [-, 0.1, 0.5, 0], [0.1, -, 0, 0.3]


@pytest.mark.parametrize(
    ("choose", "wanted"),
    [
        (losses.every, [0.6, 0.4]),
        (losses.average, [0.2, 0.4 / 3]),
        (losses.hardest, [0.5, 0.3]),
        (losses.hardest_of(2), [0.3, 0.2]),
        (losses.hardest_of(9), [0.2, 0.4 / 3]),
        (losses.semi_hard, [0.1, 0.1]),
    ],
)
def test_hinge_ranking(choose, wanted):
    got = losses.hinge_ranking(QUERY, DOCUMENT, margin=0.3, choose=choose)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_semi_hard_without_one_takes_the_farthest():
    got = losses.hinge_ranking(QUERY[:1], jnp.array([[0.0, 1.0], [0.8, 0.6], [0.6, 0.8]]), choose=losses.semi_hard)
    np.testing.assert_allclose(got, [0.2 + 0.6], rtol=1e-6)


def test_equally_hard_negatives_share_the_gradient():
    scores, negative = jnp.array([[0.1, 0.5, 0.5, 0.2]]), jnp.array([[False, True, True, True]])
    np.testing.assert_allclose(losses.hardest(scores[:, 0], scores, negative), [[0, 0.5, 0.5, 0]])
    np.testing.assert_allclose(losses.hardest_of(1)(scores[:, 0], scores, negative), [[0, 0.5, 0.5, 0]])
    np.testing.assert_allclose(losses.hardest_of(3)(scores[:, 0], scores, negative), [[0, 1 / 3, 1 / 3, 1 / 3]])


def test_ignored_documents_are_no_negatives():
    ignore = jnp.array([[False, True, True, False], [True, True, True, True]])
    got = losses.hinge_ranking(QUERY, DOCUMENT, margin=1.6, choose=losses.hardest, ignore=ignore)
    np.testing.assert_allclose(got, [0.2, 0.0], rtol=1e-5)


def test_distances_are_similarities_too():
    query, document = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0], [0.0, 4.0], [0.0, 7.0]])
    near = losses.hinge_ranking(query, document, margin=1.0, choose=losses.every, similarity=losses.negative_distance)
    np.testing.assert_allclose(near, [2.0], rtol=1e-6)
    square = losses.negative_squared_distance
    facenet = losses.hinge_ranking(query, document, margin=1.0, choose=losses.every, similarity=square)
    np.testing.assert_allclose(facenet, [10.0], rtol=1e-6)


def test_order_similarity():
    got = losses.order_similarity(jnp.array([[1.0, 3.0], [5.0, 0.0]]), jnp.array([[2.0, 1.0]]))
    np.testing.assert_allclose(got, [[-4.0], [-9.0]])


def test_soft_margin_ranking():
    got = losses.soft_margin_ranking(QUERY, DOCUMENT, temperature=0.5)
    np.testing.assert_allclose(got, [log(1 + exp(0.4)), log(2)], rtol=1e-6)


def test_mega_batch_margin():
    got = losses.mega_batch_margin(QUERY, DOCUMENT, positive_margin=0.9, negative_margin=0.2)
    np.testing.assert_allclose(got, [0.1 + 0.8, 0.1 + 0.6], rtol=1e-5)


def test_hard_info_nce_is_info_nce_of_the_closest_alone():
    got = losses.hard_info_nce(QUERY, DOCUMENT, hardest=2, temperature=0.5)
    wanted = [log(1 + exp(0.4) + exp(-0.4)), log(1 + exp(0.0) + exp(-0.4))]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    every = losses.hard_info_nce(QUERY, DOCUMENT, hardest=3, temperature=0.5)
    np.testing.assert_allclose(every, losses.info_nce(QUERY, DOCUMENT, temperature=0.5), rtol=1e-6)


def test_a_learnt_temperature_has_a_gradient_where_few_negatives_are_left():
    """Of two hardest ones `ignore` leaves one: by hand the slope of log(1 + exp(x / t)), x = -0.2 and -0.8."""
    ignore = jnp.array([[False, False, True, True], [True, False, False, True]])
    slope = jax.grad(lambda t: losses.hard_info_nce(QUERY, DOCUMENT, hardest=2, temperature=t, ignore=ignore).sum())
    wanted = sum(-x / 0.5**2 / (1 + exp(-x / 0.5)) for x in (-0.2, -0.8))
    np.testing.assert_allclose(slope(0.5), wanted, rtol=1e-5)


def test_triplet_reads_each_query_s_own_negatives():
    first, second = DOCUMENT[2:], DOCUMENT[:2][::-1]
    document = jnp.concatenate([DOCUMENT[:2], first, second])
    got = losses.triplet(QUERY, document, negatives=2, margin=0.3)  # cosines 0.8; 1, 0.6 and 0.8; 0.8, 0.6
    np.testing.assert_allclose(got, [(0.5 + 0.1) / 2, (0.3 + 0.1) / 2], rtol=1e-5)
    far = jnp.array([[3.0, 4.0], [0.0, 1.0]])
    euclid = losses.triplet(jnp.zeros((1, 2)), far, margin=1.0, distance=losses.euclidean_distance)
    np.testing.assert_allclose(euclid, [5.0], rtol=1e-6)
    manhattan = losses.triplet(jnp.zeros((1, 2)), far, margin=1.0, distance=losses.manhattan_distance)
    np.testing.assert_allclose(manhattan, [7.0], rtol=1e-6)


def test_tiles_of_own_lists_are_those_of_their_rows():
    draw = np.random.default_rng(0)
    query, document = (jnp.asarray(draw.normal(size=(n, 4)), jnp.float32) for n in (5, 15))
    loss = losses.tiled(partial(losses.triplet, negatives=2, margin=0.7), rows=2)
    got = jax.jit(loss)(query, document)
    np.testing.assert_allclose(got, losses.triplet(query, document, negatives=2, margin=0.7), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.hinge_ranking(QUERY, DOCUMENT, margin=0.0), "margin must be above 0, got 0.0"),
        (lambda: losses.hinge_ranking(QUERY[:1], DOCUMENT[:1]), "no query has a negative, wanted 2 documents"),
        (
            lambda: losses.hinge_ranking(QUERY, DOCUMENT, ignore=jnp.ones((2, 4), bool)),
            "no query has a negative, `ignore` takes them all",
        ),
        (lambda: losses.hinge_ranking(QUERY, DOCUMENT, ignore=jnp.ones((2, 1), bool)), r"ignore must be \(2, 4\)"),
        (lambda: losses.soft_margin_ranking(QUERY, DOCUMENT, temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: losses.mega_batch_margin(QUERY, DOCUMENT, positive_margin=0.1), "must be above negative_margin"),
        (lambda: losses.hard_info_nce(QUERY, DOCUMENT), "the 5 hardest negatives, 1 or more, of 3 documents"),
        (lambda: losses.hardest_of(0), "wanted one negative or more, got 0"),
        (lambda: losses.triplet(QUERY, DOCUMENT, margin=-1.0), "margin must be above 0, got -1.0"),
        (lambda: losses.triplet(QUERY, DOCUMENT[:3]), "2 queries with 1 negatives each need 4 documents, got 3"),
        (lambda: losses.triplet(QUERY, DOCUMENT, negatives=0), "one negative a query or more, got 0"),
        (lambda: losses.triplet(QUERY, jnp.ones((4, 3))), "2 dimensions on one side, 3 on the other"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()


def test_under_jit_a_query_without_negatives_has_no_loss():
    ignored = jax.jit(lambda ignore: losses.hinge_ranking(QUERY, DOCUMENT, ignore=ignore))
    np.testing.assert_allclose(ignored(jnp.ones((2, 4), bool)), [0.0, 0.0])
