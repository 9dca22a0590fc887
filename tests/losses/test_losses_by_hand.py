"""Each loss at a point worked out by hand, with unequal inputs."""

from functools import partial
from math import exp, log, sqrt

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

QUERY = jnp.array([[1.0, 0.0], [0.0, 1.0]])
DOCUMENT = jnp.array([[3.0, 0.0], [4.0, 3.0]])  # cosines [[1, 0.8], [0, 0.6]]


def test_info_nce():
    got = losses.info_nce(QUERY, DOCUMENT, temperature=0.5)
    np.testing.assert_allclose(got, [log(1 + exp((0.8 - 1.0) / 0.5)), log(1 + exp((0.0 - 0.6) / 0.5))], rtol=1e-6)


def test_info_nce_hard_negative_joins_the_sum():
    negative = jnp.array([[0.0, -2.0]])  # cosines 0 and -1
    got = losses.info_nce(QUERY, jnp.concatenate([DOCUMENT, negative]), temperature=1.0)
    wanted = [log(exp(1.0) + exp(0.8) + exp(0.0)) - 1.0, log(exp(0.0) + exp(0.6) + exp(-1.0)) - 0.6]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_info_nce_ignores_false_negatives_but_never_the_own_document():
    everything = jnp.ones((2, 2), dtype=bool)
    np.testing.assert_allclose(losses.info_nce(QUERY, DOCUMENT, ignore=everything), [0.0, 0.0], atol=1e-6)
    first = jnp.array([[False, True], [False, False]])
    got = losses.info_nce(QUERY, DOCUMENT, temperature=1.0, ignore=first)
    np.testing.assert_allclose(got, [0.0, log(1 + exp(-0.6))], rtol=1e-6, atol=1e-6)


def test_info_nce_margin_lowers_the_own_score():
    got = losses.info_nce(QUERY, DOCUMENT, temperature=0.5, margin=0.3)
    np.testing.assert_allclose(got, [log(1 + exp((0.8 - 0.7) / 0.5)), log(1 + exp((0.0 - 0.3) / 0.5))], rtol=1e-6)


def test_info_nce_targets_are_shares_of_the_answer():
    share = jnp.array([[0.75, 0.25], [0.0, 1.0]])
    got = losses.info_nce(QUERY, DOCUMENT, temperature=1.0, targets=share)
    wanted = [log(exp(1.0) + exp(0.8)) - 0.75 * 1.0 - 0.25 * 0.8, log(1 + exp(0.0 - 0.6))]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    # What is ignored is no negative, unless it answers in part.
    got = losses.info_nce(QUERY, DOCUMENT, temperature=1.0, targets=share, ignore=jnp.ones((2, 2), bool))
    np.testing.assert_allclose(got, [wanted[0], 0.0], rtol=1e-6, atol=1e-6)


def test_a_constant_encoder_scores_log_n():
    same = jnp.ones((5, 3))
    np.testing.assert_allclose(losses.info_nce(same, same), [log(5)] * 5, rtol=1e-6)


def test_embedding_distillation():
    got = losses.embedding_distillation(DOCUMENT, jnp.array([[0.0, 2.0], [1.0, 1.0]]))
    np.testing.assert_allclose(got, [1.0, 1 - 1.4 / sqrt(2)], atol=1e-6)


def test_score_distillation():
    teacher = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    got = losses.score_distillation(QUERY, DOCUMENT, teacher=teacher, temperature=1.0)
    p = exp(2.0) / (exp(2.0) + 1)
    q = exp(1.0) / (exp(1.0) + exp(0.8))
    r = exp(0.0) / (exp(0.0) + exp(0.6))
    wanted = [
        p * log(p / q) + (1 - p) * log((1 - p) / (1 - q)),
        0.5 * log(0.5 / r) + 0.5 * log(0.5 / (1 - r)),
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_score_distillation_leaves_out_what_the_teacher_forbids():
    teacher = jnp.array([[2.0, -jnp.inf], [0.0, 0.0]])
    got = losses.score_distillation(QUERY, DOCUMENT, teacher=teacher, temperature=1.0)
    np.testing.assert_allclose(got[0], log(1 + exp(0.8 - 1.0)), rtol=1e-6)
    assert np.isfinite(got).all()


def test_teacher_temperature_is_its_own():
    teacher = jnp.array([[1.0, 0.8], [0.0, 0.6]])
    same = losses.score_distillation(QUERY, DOCUMENT, teacher=teacher * 2, temperature=0.5, teacher_temperature=1.0)
    np.testing.assert_allclose(same, [0.0, 0.0], atol=1e-6)


def test_matryoshka_is_the_weighted_mean_of_its_prefixes():
    loss = partial(losses.info_nce, temperature=0.5)
    short, whole = loss(QUERY[:, :1], DOCUMENT[:, :1]), loss(QUERY, DOCUMENT)
    np.testing.assert_allclose(losses.matryoshka(loss, (1, 2))(QUERY, DOCUMENT), (short + whole) / 2, rtol=1e-6)
    weighted = losses.matryoshka(loss, (1, 2), weights=(1.0, 3.0))(QUERY, DOCUMENT)
    np.testing.assert_allclose(weighted, (short + 3 * whole) / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.info_nce(QUERY, DOCUMENT[:1]), "2 rows need 2 on the other side or more, got 1"),
        (lambda: losses.info_nce(QUERY, jnp.ones((2, 3))), "2 dimensions on one side, 3 on the other"),
        (
            lambda: losses.info_nce(QUERY, DOCUMENT, ignore=jnp.ones((2, 1), dtype=bool)),
            r"ignore must be \(2, 2\), got \(2, 1\)",
        ),
        (lambda: losses.info_nce(QUERY, DOCUMENT, temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: losses.info_nce(QUERY, DOCUMENT, temperature=np.float32(0)), "temperature must be above 0, got 0.0"),
        (
            lambda: losses.info_nce(QUERY, DOCUMENT, temperature=jnp.float32(-1)),
            "temperature must be above 0, got -1.0",
        ),
        (lambda: losses.info_nce(QUERY, DOCUMENT, temperature=jnp.array(jnp.nan)), "must be above 0, got nan"),
        (
            lambda: losses.score_distillation(QUERY, DOCUMENT, teacher=jnp.ones((2, 3))),
            r"must be \(2, 2\), got \(2, 3\)",
        ),
        (
            lambda: losses.score_distillation(QUERY, DOCUMENT, teacher=jnp.ones((2, 2)), teacher_temperature=0.0),
            "temperature must be above 0, got 0.0",
        ),
        (lambda: losses.embedding_distillation(QUERY, DOCUMENT[:1]), "2 rows need 2 on the other side"),
        (lambda: losses.matryoshka(losses.info_nce, (2, 4))(QUERY, DOCUMENT), "prefix of 4 in vectors of 2"),
        (lambda: losses.matryoshka(losses.info_nce, ()), "distinct and 1 or more"),
        (lambda: losses.matryoshka(losses.info_nce, (2, 2)), "distinct and 1 or more"),
        (lambda: losses.matryoshka(losses.info_nce, (1, 2), weights=(1.0,)), "wanted 2 weights above 0"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
