"""Triplet losses of labelled vectors: those of one label shall be closer than those of others.

Queries are the anchors, documents what they are compared with, row `i` of both the same item: most often both are the
same vectors.  An anchor's own row is no positive of it, unless it has no other.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import above_zero, any_true, paired
from jaxemb.losses.contrastive import diagonal
from jaxemb.losses.form import declared
from jaxemb.similarity import cosine, everywhere


@declared(documents=("label",), compares=True)
def batch_hard(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Int[Array, " m"],
    margin: float = 0.2,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """The farthest of the same label against the closest of another.

        loss_i = max(0, m - min_{same} s_ij + max_{other} s_ij)

    >>> vectors = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> [f"{one:.1f}" for one in batch_hard(vectors, vectors, label=jnp.array([0, 0, 1]))]
    ['0.0', '0.4', '0.0']

    The last one is its label's only one, and so its own positive.

    Args:
      label: of every document, whole numbers; the first `b` are the anchors' own.
      margin: in units of the similarity; > 0.
      similarity: larger is closer; `negative_distance` for distances.
    Returns: one loss an anchor, in units of the similarity; 0 where nothing has another label.
    Raises: ValueError for a margin that is not above 0, or labels that are all alike or of another length.
    Source: Hermans et al. 2017, arXiv:1703.07737, eq. 5.
    """
    above_zero("batch_hard", margin=margin)
    return jax.nn.relu(_hardest("batch_hard", query, document, label, similarity) + margin)


@declared(documents=("label",), compares=True)
def batch_hard_soft(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Int[Array, " m"],
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """`batch_hard` with a soft margin, in nats.

        loss_i = log(1 + exp(max_{other} s_ij - min_{same} s_ij))

    Args, Raises: as for `batch_hard`.
    Source: Hermans et al. 2017, arXiv:1703.07737, sec. 2, the soft margin.
    """
    return jax.nn.softplus(_hardest("batch_hard_soft", query, document, label, similarity))


@declared("batch", documents=("label",))
def batch_all(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Int[Array, " n"],
    margin: float = 0.2,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Every triplet of an anchor, one of its label and one of another, averaged over those that break the margin.

        loss_i = b / c sum_{p same, k other} max(0, m - s_ip + s_ik),   c = how many of all terms are above 0

    so that the mean of the rows is the mean of the terms above 0.  Terms are made for one anchor at a time: memory is
    `n * n`, never `b * n * n`.

    Args, Raises: as for `batch_hard`.
    Returns: one loss an anchor, in units of the similarity; an anchor that is its label's only one has 0.
    Source: Hermans et al. 2017, arXiv:1703.07737, eq. 6, averaged over non-zero terms.
    """
    above_zero("batch_all", margin=margin)
    scores, same, other_item = _everyone("batch_all", query, document, label, similarity)
    zero = jnp.zeros((), scores.dtype)

    @jax.checkpoint  # terms are made again for the gradient, and not kept
    def anchor(one: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        scored, alike, other = one
        terms = jax.nn.relu(scored[None, :] - scored[:, None] + margin)
        counted = jnp.where((alike & other)[:, None] & ~alike[None, :], terms, zero)
        return counted.sum(), (counted > 0).sum().astype(scores.dtype)

    sums, broken = jax.lax.map(anchor, (scores, same, other_item))
    return sums * (scores.shape[0] / jnp.maximum(broken.sum(), 1))


@declared("batch", documents=("label",))
def batch_semi_hard(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Int[Array, " n"],
    margin: float = 0.2,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Every pair of one label against the closest of another label that is farther, or else the farthest.

        loss_i = b / c sum_{p same} max(0, m - s_ip + s_ik(p)),   c = how many such pairs there are
        k(p) = the closest of another label with s_ik < s_ip; where there is none, the farthest of another label

    The mean of the rows is the mean over pairs.

    Args, Raises: as for `batch_hard`.
    Returns: one loss an anchor, in units of the similarity.
    Source: Schroff et al. 2015, arXiv:1503.03832 (FaceNet), eq. 4, over all pairs of a label.
    """
    above_zero("batch_semi_hard", margin=margin)
    scores, same, other_item = _everyone("batch_semi_hard", query, document, label, similarity)
    ascending = jnp.sort(jnp.where(same, -jnp.inf, scores), axis=1)
    farther = jax.vmap(lambda row, at: jnp.searchsorted(row, at, side="left"))(ascending, scores) - 1
    outside = jnp.take_along_axis(ascending, jnp.maximum(farther, 0), axis=1)
    farthest = jnp.where(same, jnp.inf, scores).min(axis=1, keepdims=True)
    found = jnp.where((farther >= 0) & jnp.isfinite(outside), outside, farthest)
    pairs = same & other_item & jnp.isfinite(farthest)
    zero = jnp.zeros((), scores.dtype)
    # Not from infinity even where it is dropped: its gradient would not be a number.
    terms = jax.nn.relu(jnp.where(pairs, found, zero) - scores + margin)
    counted = jnp.maximum(pairs.sum().astype(scores.dtype), 1)
    return jnp.where(pairs, terms, zero).sum(axis=1) * (scores.shape[0] / counted)


def _hardest(
    name: str, query: Array, document: Array, label: Array, similarity: Callable[[Array, Array], Array]
) -> Float[Array, " b"]:
    """The closest of another label less the farthest of the same one; minus infinity where there is no other."""
    paired(name, query, document)
    scores = similarity(query, document)
    same = _same(name, query.shape[0], scores.shape[1], label)
    return jnp.where(same, -jnp.inf, scores).max(axis=1) - jnp.where(same, scores, jnp.inf).min(axis=1)


def _everyone(
    name: str, query: Array, document: Array, label: Array, similarity: Callable[[Array, Array], Array]
) -> tuple[Float[Array, "b n"], Bool[Array, "b n"], Bool[Array, "b n"]]:
    """Scores, which are of one label, and which are of two items, all of them on every device."""
    paired(name, query, document)
    scores = everywhere(similarity(everywhere(query), everywhere(document)))
    same = everywhere(_same(name, query.shape[0], scores.shape[1], label))
    return scores, same, ~diagonal(scores)


def _same(name: str, b: int, n: int, label: Int[Array, " n"]) -> Bool[Array, "b n"]:
    if label.shape != (n,):
        raise ValueError(f"{name}: label must be {(n,)}, one a document, got {label.shape}")
    same = label[:b, None] == everywhere(label)[None, :]
    any_true(name, "no anchor has a negative, all labels are alike", ~same)
    return same
