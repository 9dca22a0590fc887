"""Losses of a margin: a query's own document shall be closer than its negatives, by so much.

Which negatives count is a function: `average`, `every`, `hardest`, `hardest_of(k)` or `semi_hard`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxemb.losses.checks import above_zero, any_true, one_a_score, paired
from jaxemb.losses.contrastive import diagonal, own
from jaxemb.losses.distances import cosine_distance
from jaxemb.losses.form import declared
from jaxemb.losses.lists import own_lists
from jaxemb.similarity import cosine

Choice = Callable[[Float[Array, " b"], Float[Array, "b n"], Bool[Array, "b n"]], Float[Array, "b n"]]
"""From a query's score with its own document, all its scores, and which are of negatives, to each negative's weight."""

# --- which negatives count -------------------------------------------------------------------------------------------


def every(positive: Float[Array, " b"], scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Array:
    """Each negative with weight one: the loss of a query is a sum."""
    return negative.astype(scores.dtype)


def average(positive: Float[Array, " b"], scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Array:
    """All negatives alike: the loss of a query is a mean, so that margins and steps do not depend on the batch."""
    counted = negative.astype(scores.dtype)
    return counted / jnp.maximum(counted.sum(axis=1, keepdims=True), 1)


def hardest(positive: Float[Array, " b"], scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Array:
    """The closest negative alone; those that are equally close share its weight."""
    closest = _closest(scores, negative)
    return average(positive, scores, negative & (scores == closest[:, None]))


def hardest_of(count: int) -> Choice:
    """The mean of the `count` closest negatives, or of all where there are fewer.

    >>> scores, negative = jnp.array([[0.5, 0.1, 0.3, 0.2]]), jnp.array([[False, True, True, True]])
    >>> print(hardest_of(2)(scores[:, 0], scores, negative))
    [[0.  0.  0.5 0.5]]
    """
    if count < 1:
        raise ValueError(f"hardest_of: wanted one negative or more, got {count}")

    def closest(positive: Float[Array, " b"], scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Array:
        among = jnp.where(negative, scores, -jnp.inf)
        last = lax.top_k(among, min(count, scores.shape[1]))[0][:, -1:]
        closer, equal = negative & (among > last), negative & (among == last)
        # Those as close as the last one share what is left.
        left = count - closer.sum(axis=1, keepdims=True)
        part = left / jnp.maximum(equal.sum(axis=1, keepdims=True), 1)
        weights = jnp.where(closer, 1.0, jnp.where(equal, jnp.minimum(part, 1.0), 0.0)).astype(scores.dtype)
        return weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)

    return closest


def semi_hard(positive: Float[Array, " b"], scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Array:
    """The closest negative that is farther than the own document; where all are closer, the farthest.

    Source: Schroff et al. 2015, arXiv:1503.03832 (FaceNet), eq. 4; what to do without one is as its
      re-implementations have it.
    """
    outside = negative & (scores < positive[:, None])
    farthest = -_closest(-scores, negative)
    found = jnp.where(outside.any(axis=1), _closest(scores, outside), farthest)
    return average(positive, scores, negative & (scores == found[:, None]))


def _closest(scores: Float[Array, "b n"], negative: Bool[Array, "b n"]) -> Float[Array, " b"]:
    return jnp.where(negative, scores, -jnp.inf).max(axis=1)


# --- losses ----------------------------------------------------------------------------------------------------------


@declared(matrices=("ignore",), compares=True)
def hinge_ranking(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    margin: float = 0.2,
    choose: Choice = average,
    ignore: Bool[Array, "b m"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """By how much negatives come too close to a query: the triplet loss with the negatives of the batch.

    With `s` the similarity and `w` the weights that `choose` gives:

        loss_i = sum_j w_ij max(0, m - s_ii + s_ij)

    >>> query, document = jnp.eye(2), jnp.array([[1.0, 0.0], [0.6, 0.8]])
    >>> [f"{one:.1f}" for one in hinge_ranking(query, document, margin=0.5)]
    ['0.1', '0.0']

    Both ways are `symmetric(hinge_ranking)`.  With `every` that is `b / 2` times the mean over the cells of both ways
    that other works minimise.

    Args:
      margin: by how much the own document shall be closer, in units of the similarity; > 0.
      choose: which negatives count, and how much.
      ignore: True where document `j` also answers query `i`, so is no negative.
      similarity: from queries and documents to scores `[b, m]`, larger is closer.  `negative_squared_distance` makes
        it FaceNet's loss.
    Returns: one loss a query, in units of the similarity; 0 where all of its negatives are far enough, or it has none.
    Raises: ValueError for a margin that is not above 0, or when no query has a negative.
    Source: Schroff et al. 2015, arXiv:1503.03832 (FaceNet), eq. 3; Faghri et al. 2018, arXiv:1707.05612 (VSE++), eq. 6,
      with `hardest`; Merkx & Frank 2019, arXiv:1903.11393, with `every`.
    """
    above_zero("hinge_ranking", margin=margin)
    positive, scores, weights = _weighed("hinge_ranking", query, document, ignore, similarity, choose)
    return jnp.sum(weights * jax.nn.relu(scores - positive[:, None] + margin), axis=1)


@declared(matrices=("ignore",), compares=True)
def soft_margin_ranking(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
    choose: Choice = hardest,
    ignore: Bool[Array, "b m"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Surprise, in nats, that a query's own document is closer than a negative: a margin without an edge.

        loss_i = sum_j w_ij log(1 + exp((s_ij - s_ii) / t))

    >>> print([f"{one:.3f}" for one in soft_margin_ranking(jnp.eye(2), jnp.eye(2))])
    ['0.313', '0.313']

    Args: as for `hinge_ranking`; temperature: divides differences of the similarity; > 0.
    Returns: one loss a query; `log(2)` where the negatives that count are as close as the own document.
    Raises: ValueError when no query has a negative.
    Source: Hermans et al. 2017, arXiv:1703.07737, sec. 2, the soft margin; with `every` and inner products it is the
      pairwise logistic loss of Burges et al. 2005 (RankNet).
    """
    above_zero("soft_margin_ranking", temperature=temperature)
    positive, scores, weights = _weighed("soft_margin_ranking", query, document, ignore, similarity, choose)
    return jnp.sum(weights * jax.nn.softplus((scores - positive[:, None]) / temperature), axis=1)


@declared(matrices=("ignore",), compares=True)
def mega_batch_margin(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    positive_margin: float = 0.8,
    negative_margin: float = 0.3,
    choose: Choice = hardest,
    ignore: Bool[Array, "b m"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """The own document above one bound, the hardest negative below another.

        loss_i = max(0, m+ - s_ii) + sum_j w_ij max(0, s_ij - m-)

    Args: as for `hinge_ranking`; positive_margin, negative_margin: the bounds, the first above the second.
    Returns: one loss a query, in units of the similarity.
    Raises: ValueError for bounds in the wrong order, or when no query has a negative.
    Source: Wieting & Gimpel 2018, arXiv:1711.05732, mega-batches, with an absolute bound for each side in place of one
      margin between them, as sentence-transformers has it.
    """
    if not positive_margin > negative_margin:
        raise ValueError(
            f"mega_batch_margin: positive_margin must be above negative_margin, "
            f"got {positive_margin} and {negative_margin}"
        )
    positive, scores, weights = _weighed("mega_batch_margin", query, document, ignore, similarity, choose)
    too_close = jnp.sum(weights * jax.nn.relu(scores - negative_margin), axis=1)
    return jax.nn.relu(positive_margin - positive) + too_close


@declared(matrices=("ignore",), compares=True)
def hard_info_nce(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    hardest: int = 5,
    temperature: float | Float[Array, ""] = 0.05,
    ignore: Bool[Array, "b m"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """InfoNCE among the own document and only the closest negatives.

        loss_i = -log( exp(s_ii / t) / ( exp(s_ii / t) + sum_{j in the K closest negatives} exp(s_ij / t) ) )

    Codes are compared with codes by `symmetric(binarize(hard_info_nce))`, half of the loss that BEBR trains with.

    Args: as for `info_nce`; hardest: how many negatives, K; ignored ones are none.
    Returns: one loss a query, in nats; `log(K + 1)` where all are equally close.
    Raises: ValueError when there are not K documents beside the own one.
    Source: Gan et al. 2023, arXiv:2302.08714 (BEBR), sec. 3.3, with K = 5.
    """
    above_zero("hard_info_nce", temperature=temperature)
    positive, scores, negative = _compared("hard_info_nce", query, document, ignore, similarity)
    if not 1 <= hardest <= scores.shape[1] - 1:
        raise ValueError(
            f"hard_info_nce: wanted the {hardest} hardest negatives, 1 or more, of {scores.shape[1] - 1} documents "
            "beside the own one"
        )
    # Divided before it is masked: an infinity divided by a temperature has no gradient.
    logits, positive = scores / temperature, positive / temperature
    closest, _ = lax.top_k(jnp.where(negative, logits, -jnp.inf), hardest)
    return jax.nn.logsumexp(jnp.concatenate([positive[:, None], closest], axis=1), axis=1) - positive


@declared("pairs")
def triplet(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    negatives: int = 1,
    margin: float = 0.2,
    distance: Callable[[Array, Array], Array] = cosine_distance,
) -> Float[Array, " b"]:
    """By how much a query's own negatives come too close, and no one else's.

        loss_i = mean_k max(0, D(q_i, d_i) - D(q_i, d_(k b + i)) + m)

    >>> document = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    >>> [f"{one:.1f}" for one in triplet(jnp.array([[1.0, 0.0]]), document, margin=0.5)]
    ['0.1']

    Args:
      document: the own documents of all queries, then their first negatives, then their second ones.
      negatives: how many each query has; `n` is `b (1 + negatives)`.
      margin: in units of the distance; > 0.
      distance: row by row; `euclidean_distance` or `squared_distance` for vectors of any length.
    Returns: one loss a query; 0 where all its negatives are far enough.
    Raises: ValueError for a margin that is not above 0, or another number of documents.
    Source: Weinberger & Saul 2009, JMLR 10, eq. 11; Reimers & Gurevych 2019, arXiv:1908.10084, with the distance of
      Euclid and a margin of 1.
    """
    above_zero("triplet", margin=margin)
    lists = own_lists("triplet", query, document, negatives)
    apart = distance(query[None], lists)
    return jax.nn.relu(apart[:1] - apart[1:] + margin).mean(axis=0)


def _weighed(
    name: str,
    query: Array,
    document: Array,
    ignore: Bool[Array, "b m"] | None,
    similarity: Callable[[Array, Array], Array],
    choose: Choice,
) -> tuple[Float[Array, " b"], Float[Array, "b m"], Float[Array, "b m"]]:
    """The own score, all scores, and how much each counts as a negative."""
    positive, scores, negative = _compared(name, query, document, ignore, similarity)
    return positive, scores, lax.stop_gradient(choose(positive, scores, negative))


def _compared(
    name: str,
    query: Array,
    document: Array,
    ignore: Bool[Array, "b m"] | None,
    similarity: Callable[[Array, Array], Array],
) -> tuple[Float[Array, " b"], Float[Array, "b m"], Bool[Array, "b m"]]:
    """The own score, all scores, and which are of negatives."""
    paired(name, query, document)
    scores = similarity(query, document)
    if scores.shape[1] < 2:
        raise ValueError(f"{name}: no query has a negative, wanted 2 documents or more, got {scores.shape[1]}")
    negative = ~diagonal(scores)
    if ignore is not None:
        one_a_score(name, scores, ignore=ignore)
        negative &= ~ignore
        any_true(name, "no query has a negative, `ignore` takes them all", negative)
    return own(scores), scores, negative
