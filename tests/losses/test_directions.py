"""Both ways between queries and documents, by hand: cosines that differ from those of the way back."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
DOCUMENT = jnp.array([[0.8, 0.6], [0.6, -0.8], [0.0, 1.0]])
SCORES = np.array([[0.8, 0.6, 0.0], [0.6, -0.8, 1.0], [0.96, -0.28, 0.8]])
WARM = partial(losses.info_nce, temperature=0.5)
MATRIX = jnp.array([[1.0, 2.0], [0.0, 1.0]])


def nce(scores, ignore=False):
    """By hand: the surprise of the diagonal, at a temperature of 0.5."""
    kept = ~np.asarray(ignore) | np.eye(len(scores), dtype=bool)
    return np.log((np.exp(scores / 0.5) * kept).sum(axis=1)) - np.diag(scores) / 0.5


def test_swapped_finds_queries_of_own_documents_and_leaves_hard_negatives_out():
    more = jnp.concatenate([DOCUMENT, QUERY[:2]])
    np.testing.assert_allclose(losses.swapped(WARM)(QUERY, more), nce(SCORES.T), rtol=1e-5)


def test_symmetric_is_the_mean_of_both_ways():
    assert not np.allclose(nce(SCORES), nce(SCORES.T), rtol=0.1)
    got = losses.symmetric(WARM)(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, (nce(SCORES) + nce(SCORES.T)) / 2, rtol=1e-5)


def test_a_mask_is_turned_on_the_way_back():
    ignore = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    got = losses.symmetric(WARM)(QUERY, DOCUMENT, ignore=jnp.asarray(ignore))
    np.testing.assert_allclose(got, (nce(SCORES, ignore) + nce(SCORES.T, ignore.T)) / 2, rtol=1e-5)


def test_a_guide_of_queries_is_one_of_documents_on_the_way_back():
    guide = {"guide_query": jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), "guide_document": DOCUMENT}
    sure = np.asarray(guide["guide_query"]) @ np.asarray(DOCUMENT).T
    there, back = (each > np.diag(each)[:, None] for each in (sure, sure.T))
    assert (there != back).any()
    got = losses.symmetric(losses.mask_by_guide(WARM))(QUERY, DOCUMENT, **guide)
    np.testing.assert_allclose(got, (nce(SCORES, there) + nce(SCORES.T, back)) / 2, rtol=1e-5)


def test_what_changes_one_side_goes_around():
    coded, taken = np.where(DOCUMENT < 0, -1, 1) / 2**0.5, QUERY @ MATRIX
    scores = np.asarray(QUERY) @ coded.T
    got = losses.binarize(losses.symmetric(WARM), "document")
    np.testing.assert_allclose(got(QUERY, DOCUMENT), (nce(scores) + nce(scores.T)) / 2, rtol=1e-5)
    got = losses.projected(losses.symmetric(WARM), MATRIX)(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, losses.symmetric(WARM)(taken, DOCUMENT), rtol=1e-5)
    new, loss = jnp.concatenate([QUERY, QUERY], axis=1), losses.backward_compatible(losses.symmetric(WARM))
    np.testing.assert_allclose(losses.tiled(loss, 2)(new, DOCUMENT), loss(new, DOCUMENT), rtol=1e-5)


@pytest.mark.parametrize("rest", [(), (1,), (2,), (3,), (1, 3), (1, 2, 3)])
def test_joint_info_nce_has_the_sums_that_it_is_told(rest):
    query, document, other = np.asarray(QUERY), np.asarray(DOCUMENT), ~np.eye(3, dtype=bool)
    sums = [
        np.exp(SCORES / 0.5).sum(axis=1),
        np.exp(SCORES.T / 0.5).sum(axis=1),
        (np.exp(query @ query.T / 0.5) * other).sum(axis=1),
        (np.exp(document @ document.T / 0.5) * other).sum(axis=1),
    ]
    wanted = np.log(sums[0] + sum(sums[k] for k in rest)) - np.diag(SCORES) / 0.5
    directions = [losses.DIRECTIONS[k] for k in (0, *rest)]
    got = losses.joint_info_nce(QUERY, DOCUMENT, directions=directions, temperature=0.5)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.swapped(losses.symmetric(WARM)), "swapped: this loss reads both ways already"),
        (
            lambda: losses.symmetric(losses.matryoshka(losses.binarize(WARM, "document"), (1, 2))),
            r"swapped: binarize changes one side alone.*around: binarize\(symmetric\(loss\), ...\)",
        ),
        (lambda: losses.symmetric(losses.binarize(WARM, "query")), "swapped: binarize changes one side alone"),
        (lambda: losses.symmetric(losses.projected(WARM, MATRIX)), "swapped: projected changes one side alone"),
        (lambda: losses.symmetric(losses.backward_compatible(WARM)), "backward_compatible changes one side alone"),
        (
            lambda: losses.symmetric(WARM)(QUERY[:2], DOCUMENT, ignore=jnp.zeros((2, 3), bool)),
            "ignore can be turned where every query has one document, got 3 documents of 2 queries",
        ),
        (
            lambda: losses.tiled(losses.symmetric(WARM), 2)(QUERY, DOCUMENT, ignore=jnp.zeros((3, 3), bool)),
            "ignore cannot be turned from 2 of 3 rows; give keys",
        ),
        (
            lambda: losses.tiled(losses.symmetric(losses.mask_by_guide(WARM)), 2)(
                QUERY, DOCUMENT, guide_query=QUERY, guide_document=DOCUMENT
            ),
            "guide_document, guide_query cannot be turned from 2 of 3 rows",
        ),
        (lambda: losses.joint_info_nce(QUERY, DOCUMENT, directions=["query_to_query"]), "got .'query_to_query'."),
    ],
)
def test_what_has_no_way_back_is_refused_with_the_reason(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
