"""Triplet losses of labels, by hand, with scores given as they are."""

from math import exp, log

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

LABEL = jnp.array([0, 0, 0, 1])
SCORES = jnp.array(
    [
        [1.0, 0.5, 0.2, 0.4],
        [0.5, 1.0, 0.7, 0.9],
        [0.2, 0.7, 1.0, 0.1],
        [0.4, 0.9, 0.1, 1.0],
    ]
)
ANY = jnp.ones((4, 2))


def given(query, document):
    return SCORES


def test_batch_hard():
    got = losses.batch_hard(ANY, ANY, label=LABEL, margin=0.3, similarity=given)
    # The last has no other of its label: itself, at 1.0.
    np.testing.assert_allclose(got, [0.3 - 0.2 + 0.4, 0.3 - 0.5 + 0.9, 0.3 - 0.2 + 0.1, 0.3 - 1.0 + 0.9], rtol=1e-5)


def test_batch_hard_soft():
    got = losses.batch_hard_soft(ANY, ANY, label=LABEL, similarity=given)
    np.testing.assert_allclose(got, [log(1 + exp(x)) for x in (0.2, 0.4, -0.1, -0.1)], rtol=1e-5)


def test_batch_all_is_the_mean_of_the_terms_above_zero():
    got = losses.batch_all(ANY, ANY, label=LABEL, margin=0.3, similarity=given)
    # Anchor 0: 0.2, 0.5; anchor 1: 0.7, 0.5; anchor 2: 0.2, nothing; the last has no positive.
    np.testing.assert_allclose(got, np.array([0.7, 1.2, 0.2, 0.0]) * 4 / 5, rtol=1e-5)
    np.testing.assert_allclose(got.mean(), 2.1 / 5, rtol=1e-5)


def test_batch_semi_hard_is_the_mean_over_pairs_of_a_label():
    label = jnp.array([0, 0, 1, 1])
    got = losses.batch_semi_hard(ANY, ANY, label=label, margin=0.3, similarity=given)
    # Anchor 0: pair at 0.5, next below 0.4; anchor 1: 0.5, none below, farthest 0.7; anchor 2: 0.1, none below, 0.2;
    # anchor 3: 0.1, none below, 0.4.
    np.testing.assert_allclose(got, [0.2, 0.5, 0.4, 0.6], rtol=1e-5)


def test_a_negative_as_close_as_the_positive_is_not_semi_hard():
    scores = jnp.array([[1.0, 0.5, 0.5, 0.4]])
    got = losses.batch_semi_hard(
        ANY[:1], ANY, label=jnp.array([0, 0, 1, 1]), margin=0.3, similarity=lambda query, document: scores
    )
    np.testing.assert_allclose(got, [0.2], rtol=1e-5)


def test_an_anchor_whose_label_all_share_has_no_loss():
    ones = jnp.ones((2, 2))
    unlike = {"label": jnp.array([0, 0, 1]), "similarity": lambda q, d: SCORES[:2, :3]}
    assert losses.batch_hard(ones, jnp.ones((3, 2)), margin=0.1, **unlike).shape == (2,)


@pytest.mark.parametrize("loss", [losses.batch_hard, losses.batch_hard_soft, losses.batch_all, losses.batch_semi_hard])
def test_bad_labels_are_refused(loss, as_users_call):
    with pytest.raises(ValueError, match=r"label must be \(4,\), one a document, got \(3,\)"):
        loss(ANY, ANY, label=LABEL[:3])
    with pytest.raises(ValueError, match="no anchor has a negative, all labels are alike"):
        loss(ANY, ANY, label=jnp.zeros(4, jnp.int32))


@pytest.mark.parametrize("loss", [losses.batch_hard, losses.batch_all, losses.batch_semi_hard])
def test_a_margin_has_to_be_above_zero(loss, as_users_call):
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        loss(ANY, ANY, label=LABEL, margin=0)
