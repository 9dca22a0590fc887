"""Which negatives each mask leaves out, by hand; weights of rows."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
DOCUMENT = jnp.array([[0.8, 0.6], [0.6, 0.8], [0.0, -1.0], [1.0, 0.0]])
# cosines [[0.8, 0.6, 0, 1], [0.6, 0.8, -1, 0], [0.96, 1, -0.8, 0.6]], own ones 0.8, 0.8 and -0.8


def left_out(mask, **given):
    """Pairs of a query and a negative that a mask takes away."""
    seen = []

    @losses.declared(matrices=("ignore",), compares=True)
    def looks(query, document, *, ignore, similarity=None):
        seen.append(np.asarray(ignore) & ~np.eye(*ignore.shape, dtype=bool))
        return query[:, 0]

    mask(looks)(QUERY, DOCUMENT, **given)
    return {(int(row), int(column)) for row, column in np.argwhere(seen[0])}


def test_mask_duplicates_takes_any_equal_key_that_is_not_below_zero():
    assert left_out(losses.mask_duplicates, document_key=jnp.array([5, 6, -1, 5])) == {(0, 3)}
    two = jnp.array([[5, 1], [6, 1], [7, -1], [6, -1]])  # hashes of texts, and of the queries that they answer
    assert left_out(losses.mask_duplicates, document_key=two) == {(0, 1), (1, 0), (1, 3)}
    known = jnp.zeros((3, 4), bool).at[2, 0].set(True)
    assert left_out(losses.mask_duplicates, document_key=two, ignore=known) == {(0, 1), (1, 0), (1, 3), (2, 0)}


TEACHER = jnp.array([[2.0, 1.95, 1.0, 2.5], [-jnp.inf, 1.0, 0.99, 1.0], [-2.05, -1.0, -2.0, -3.0]])


@pytest.mark.parametrize(
    ("margin", "rule", "wanted"),
    [
        (0.0, "absolute", {(0, 3), (2, 1)}),  # a score that equals the own one stays
        (0.5, "absolute", {(0, 1), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1)}),
        (-0.6, "absolute", {(2, 1)}),
        (0.0, "relative", {(0, 3), (2, 1)}),
        (0.05, "relative", {(0, 1), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1)}),  # above 1.9, 0.95 and -2.1
    ],
)
def test_mask_by_teacher(margin, rule, wanted):
    mask = partial(losses.mask_by_teacher, margin=margin, rule=rule)
    assert left_out(mask, teacher=TEACHER) == wanted


def test_mask_by_guide_and_mask_above_own_compare_cosines():
    assert left_out(losses.mask_above_own) == {(0, 3), (2, 0), (2, 1), (2, 3)}
    assert left_out(partial(losses.mask_above_own, margin=0.25)) == {(0, 1), (0, 3), (1, 0), (2, 0), (2, 1), (2, 3)}
    assert left_out(partial(losses.mask_above_own, margin=-0.3)) == {(2, 0), (2, 1), (2, 3)}
    guide = {"guide_query": 3 * QUERY[:, ::-1], "guide_document": 2 * DOCUMENT[:, ::-1]}
    assert left_out(losses.mask_by_guide, **guide) == {(0, 3), (2, 0), (2, 1), (2, 3)}
    dots = partial(losses.mask_above_own, margin=-0.3)
    assert left_out(dots, similarity=lambda q, d: 0 * (q @ d.T)) == set()


def test_a_relative_margin_reaches_below_a_score_below_zero():
    teacher = jnp.array([[-1.0, -0.97, -1.04, -1.06], [0.0, 0.0, -0.1, 0.1], [0.0, 0.0, 1.0, 0.96]])
    mask = partial(losses.mask_by_teacher, margin=0.05, rule="relative")
    assert left_out(mask, teacher=teacher) == {(0, 1), (0, 2), (1, 3), (2, 3)}


def test_weighted_is_weight_times_loss():
    each = losses.info_nce(QUERY, DOCUMENT)
    got = losses.weighted(losses.info_nce)(QUERY, DOCUMENT, weight=jnp.array([0.0, 1.0, 2.5]))
    np.testing.assert_allclose(got, np.asarray(each) * [0.0, 1.0, 2.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.mask_duplicates(losses.cosent), "mask_duplicates: the loss takes no `ignore`"),
        (
            lambda: losses.mask_by_teacher(losses.across_devices(losses.info_nce, "data")),
            r"mask first: across_devices\(mask_by_teacher\(loss\)\)",
        ),
        (
            lambda: losses.mask_duplicates(losses.joint_info_nce),
            r"mask what it is made of, symmetric\(mask_duplicates\(loss\)\), or.* pass it an `ignore`",
        ),
        (lambda: losses.mask_above_own(losses.info_nce, rule="half"), "absolute or relative, got 'half'"),
        (lambda: losses.mask_by_guide(losses.info_nce, margin=1.0, rule="relative"), "below 1, got 1.0"),
        (
            lambda: losses.weighted(losses.info_nce)(QUERY, DOCUMENT, weight=jnp.ones((3, 1))),
            r"weighted: weight must be \(3,\), one a row, got \(3, 1\)",
        ),
        (
            lambda: losses.weighted(losses.info_nce)(QUERY, DOCUMENT, weight=jnp.array([1.0, -0.5, 1.0])),
            "weighted: weight must be 0 or more and finite, got -0.5",
        ),
        (
            lambda: losses.weighted(losses.info_nce)(QUERY, DOCUMENT, weight=jnp.array([1.0, jnp.inf, 1.0])),
            "0 or more and finite, got inf",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
