"""Losses of pairs with a number: a similarity, a yes or no, a teacher's margin."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import above_zero, all_values, finite, one_a_row, paired
from jaxemb.losses.distances import cosine_distance, row_cosine, row_dot
from jaxemb.losses.form import declared
from jaxemb.losses.lists import own_lists
from jaxemb.similarity import everywhere

Rows = Callable[[Array, Array], Array]


@declared("pairs")
def similarity_regression(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Float[Array, " b"],
    score: Rows = row_cosine,
    error: Rows = optax.squared_error,
) -> Float[Array, " b"]:
    """How far the similarity of a pair is from what it should be.

        loss_i = (cos(q_i, d_i) - label_i)^2

    >>> query, document = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]])
    >>> [f"{one:.2f}" for one in similarity_regression(query, document, label=jnp.array([0.5]))]
    ['0.01']

    Args:
      label: what the score should be.
      score: of row `i` with row `i`.
      error: of score and label; any of optax that gives one number a row, as `optax.huber_loss`.
    Raises: ValueError for labels of another length, or that are not finite.
    Source: Reimers & Gurevych 2019, arXiv:1908.10084, the regression objective.
    """
    paired("similarity_regression", query, document)
    one_a_row("similarity_regression", query.shape[0], label=label)
    all_values("similarity_regression", "label", label, "finite", finite)
    scores = score(query, document[: query.shape[0]])
    return error(scores, label.astype(scores.dtype))


@declared("pairs")
def contrastive_pairs(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Float[Array, " b"] | Int[Array, " b"] | Bool[Array, " b"],
    margin: float = 0.5,
    distance: Rows = cosine_distance,
) -> Float[Array, " b"]:
    """Pairs that belong together are drawn together, others are pushed apart until they are a margin away.

        loss_i = (y_i D_i^2 + (1 - y_i) max(0, m - D_i)^2) / 2

    >>> query, document = jnp.eye(2), jnp.array([[0.6, 0.8], [0.6, 0.8]])  # cosine distances 0.4 and 0.2
    >>> [f"{one:.3f}" for one in contrastive_pairs(query, document, label=jnp.array([1.0, 0.0]))]
    ['0.080', '0.045']

    Args:
      label: 1 where a pair belongs together, 0 where it does not, or how much it does.
      margin: in units of the distance; > 0.
      distance: of row `i` with row `i`.
    Raises: ValueError for a margin that is not above 0, or labels of another length or outside 0 to 1.
    Source: Hadsell et al. 2006, CVPR, eq. 4.
    """
    belongs, apart = _labelled("contrastive_pairs", query, document, label, margin, distance)
    return (belongs * apart**2 + (1 - belongs) * jax.nn.relu(margin - apart) ** 2) / 2


@declared("batch")
def online_contrastive(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Float[Array, " b"] | Int[Array, " b"] | Bool[Array, " b"],
    margin: float = 0.5,
    distance: Rows = cosine_distance,
) -> Float[Array, " b"]:
    """`contrastive_pairs` of the hard pairs alone, without its half.

    Hard are pairs that belong together and are farther apart than the closest pair that does not, and pairs that do
    not and are closer than the farthest pair that does.  With no pair of the other kind, the bound is the mean.

        loss_i = y_i D_i^2 + (1 - y_i) max(0, m - D_i)^2    where pair i is hard, else 0

    Args, Raises: as for `contrastive_pairs`, with labels of 0 and 1 alone.
    Returns: one loss a pair; sentence-transformers takes their sum.
    Source: Reimers & Gurevych 2019, sentence-transformers, OnlineContrastiveLoss.
    """
    belongs, apart = _labelled("online_contrastive", query, document, label, margin, distance)
    all_values("online_contrastive", "label", label, "0 or 1", lambda values: (values == 0) | (values == 1))
    together, everyone = everywhere(belongs) > 0.5, jax.lax.stop_gradient(everywhere(apart))
    inside = _bound(together, everyone, lambda row, kept: jnp.where(kept, row, -jnp.inf).max())
    outside = _bound(~together, everyone, lambda row, kept: jnp.where(kept, row, jnp.inf).min())
    drawn = jnp.where(apart > outside, apart**2, jnp.zeros_like(apart))
    pushed = jnp.where(apart < inside, jax.nn.relu(margin - apart) ** 2, jnp.zeros_like(apart))
    return jnp.where(belongs > 0.5, drawn, pushed)


def _bound(kept: Bool[Array, " b"], apart: Float[Array, " b"], extreme: Callable[[Array, Array], Array]) -> Array:
    """The extreme of the pairs that are kept; if none is, the mean of the others, which then are all."""
    return jnp.where(kept.any(), extreme(apart, kept), apart.mean())


@declared("pairs")
def margin_mse(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    teacher: Float[Array, "b k"],
    negatives: int = 1,
    score: Rows = row_dot,
) -> Float[Array, " b"]:
    """How far the student's margins between own document and negatives are from the teacher's, squared.

        loss_i = mean_k ((s_i0 - s_ik) - (t_i0 - t_ik))^2

    >>> document = jnp.array([[2.0, 0.0], [0.5, 0.0]])  # scores 2 and 0.5, a margin of 1.5
    >>> print(margin_mse(jnp.array([[1.0, 0.0]]), document, teacher=jnp.array([[4.0, 3.0]])))
    [0.25]

    Args:
      document: the own documents of all queries, then their first negatives, then their second ones.
      teacher: its scores of each query's own document and negatives, `[b, 1 + negatives]`; only their differences
        count, so that margins `m` are scores `[0, -m]`.  No gradient goes to it.
      negatives: how many each query has; `n` is `b (1 + negatives)`.
      score: of row `i` with row `i`, larger is closer.
    Returns: one loss a query, in squared units of the teacher's scores.
    Raises: ValueError for another number of documents, or teacher scores of another shape, or that are not finite.
    Source: Hofstätter et al. 2020, arXiv:2010.02666, eq. 2.
    """
    lists = own_lists("margin_mse", query, document, negatives)
    if teacher.shape != (query.shape[0], 1 + negatives):
        raise ValueError(
            f"margin_mse: teacher scores must be {(query.shape[0], 1 + negatives)}, own document first, "
            f"got {teacher.shape}"
        )
    all_values("margin_mse", "teacher", teacher, "finite", finite)
    scores = score(query[None], lists)
    wanted = jax.lax.stop_gradient(teacher).astype(scores.dtype).T
    return optax.squared_error(scores[:1] - scores[1:], wanted[:1] - wanted[1:]).mean(axis=0)


def _labelled(
    name: str, query: Array, document: Array, label: Array, margin: float, distance: Rows
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    above_zero(name, margin=margin)
    paired(name, query, document)
    one_a_row(name, query.shape[0], label=label)
    all_values(name, "label", label, "in [0, 1]", lambda values: (values >= 0) & (values <= 1))
    apart = distance(query, document[: query.shape[0]])
    return label.astype(apart.dtype), apart
