"""Losses that make a student's vectors, or its scores, those of a teacher.

How two sets of scores differ is a function: `kullback_leibler`, `list_net`, `list_mle` or `rank_order`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from jaxemb.losses.checks import above_zero, all_values, paired
from jaxemb.losses.distances import cosine_distance, row_cosine
from jaxemb.losses.form import declared, form_for, with_form
from jaxemb.losses.lists import own_lists
from jaxemb.losses.ordering import out_of_order
from jaxemb.similarity import cosine, everywhere, wide
from jaxemb.types import Loss

Divergence = Callable[[Float[Array, "b m"], Float[Array, "b m"]], Float[Array, " b"]]
"""From a student's and a teacher's scores, both divided by their temperatures, to one number a row.  A teacher's score
of minus infinity leaves an item out of the teacher's list."""

# --- how two sets of scores differ -----------------------------------------------------------------------------------


def kullback_leibler(ours: Float[Array, "b m"], theirs: Float[Array, "b m"]) -> Float[Array, " b"]:
    """The divergence of the student's distribution from the teacher's, in nats; 0 where they agree."""
    student, teacher = jax.nn.log_softmax(ours, axis=-1), jax.nn.log_softmax(theirs, axis=-1)
    zero = jnp.zeros((), student.dtype)
    # Where the teacher gives nothing, 0 * log 0 is 0, and its infinity must not reach the product or its gradient.
    share = jnp.where(theirs > -jnp.inf, jnp.exp(teacher), zero)
    return jnp.sum(share * jnp.where(share > 0, teacher - student, zero), axis=-1)


def list_net(ours: Float[Array, "b m"], theirs: Float[Array, "b m"]) -> Float[Array, " b"]:
    """The cross-entropy of both distributions, in nats: the divergence and the teacher's own entropy.

    Its gradient is that of `kullback_leibler`; its landmarks are not: it is never 0 unless the teacher is certain.
    Source: Cao et al. 2007, ICML (ListNet), eq. 4.
    """
    # A list of which the teacher has nothing has no softmax.
    share = jnp.where(theirs > -jnp.inf, jax.nn.softmax(theirs, axis=-1), jnp.zeros((), theirs.dtype))
    return optax.losses.ranking_softmax_loss(ours, share, reduce_fn=None)


def list_mle(ours: Float[Array, "b m"], theirs: Float[Array, "b m"]) -> Float[Array, " b"]:
    """Surprise, in nats, of the teacher's order, when the student draws one item after the other by its scores.

        loss_i = sum_k ( logsumexp_{l >= k} s_il - s_ik ),   items in the teacher's order

    Items that the teacher finds equally close are drawn in the order of the list.
    Returns: `log(m!)` where the student's scores are equal.
    Source: Xia et al. 2008, ICML (ListMLE), eq. 4.
    """
    order = jnp.argsort(-theirs, axis=-1)
    ours, theirs = (jnp.take_along_axis(scores, order, axis=-1) for scores in (ours, theirs))
    listed = theirs > -jnp.inf
    lowest = jnp.asarray(jnp.finfo(ours.dtype).min, ours.dtype)
    left = lax.cumlogsumexp(jnp.where(listed, ours, lowest), axis=1, reverse=True)
    return jnp.sum(jnp.where(listed, left - ours, jnp.zeros((), ours.dtype)), axis=-1)


def rank_order(ours: Float[Array, "b m"], theirs: Float[Array, "b m"]) -> Float[Array, " b"]:
    """How much a student's list is out of the teacher's order, in nats: `out_of_order`, list by list.

    Only the order of the teacher's scores counts, and equal ones are not compared.
    """
    return jax.vmap(out_of_order)(everywhere(ours), everywhere(theirs))


# --- vectors ---------------------------------------------------------------------------------------------------------


@declared("pairs")
def embedding_distillation(
    student: Float[Array, "b d"],
    teacher: Float[Array, "n d"],
    *,
    distance: Callable[[Array, Array], Array] = cosine_distance,
) -> Float[Array, " b"]:
    """Distance of each student vector to the teacher's vector of the same text: one minus the cosine.

    >>> [f"{one:.3f}" for one in embedding_distillation(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]]))]
    ['0.400']

    Args:
      student, teacher: any length; row `i` of both is the same text.  No gradient goes to the teacher.  Where sizes
        differ, `projected` makes them equal, and `similarity_distillation` needs no equal ones.
      distance: row by row; `mean_squared_distance` or `euclidean_distance` for lengths to agree, too.
    Returns: one loss a row; by default in [0, 2], 0 where directions agree, 1 where they are at right angles.
    Raises: ValueError when there are fewer teacher rows than student rows, or sizes differ.
    Source: Reimers & Gurevych 2020, arXiv:2004.09813, eq. 1, with the cosine for the squared distance: for unit
      vectors the one is half of the other.
    """
    paired("embedding_distillation", student, teacher)
    return distance(student, lax.stop_gradient(teacher[: student.shape[0]].astype(wide(student.dtype))))


def projected(loss: Loss, projection: Float[Array, "d e"], bias: Float[Array, " e"] | None = None) -> Loss:
    """The loss of queries, or a student, that a matrix takes to the size of the other side.

    >>> student, teacher, matrix = jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 2.0, 1.0]]), jnp.ones((2, 3))
    >>> [f"{one:.3f}" for one in projected(embedding_distillation, matrix)(student, teacher)]
    ['0.038']

    Args:
      projection: from the one size to the other; it may be learnt, with the encoder's params.
      bias: added.
    Raises: ValueError, when it is called, for a matrix that has not one row a dimension.
    Source: Jiao et al. 2020, arXiv:1909.10351 (TinyBERT), eq. 8 and 9.
    """

    def taken(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        if kwargs.get("queries") is not None:
            kwargs["queries"] = through(kwargs["queries"])
        return loss(through(query), document, **kwargs)

    def through(vectors: Array) -> Array:
        if vectors.shape[1] != projection.shape[0]:
            raise ValueError(
                f"projected: vectors of {vectors.shape[1]} dimensions need as many rows, got {projection.shape}"
            )
        moved = jnp.einsum(
            "bd,de->be",
            vectors,
            projection.astype(vectors.dtype),
            preferred_element_type=wide(vectors.dtype),
        )
        return moved if bias is None else moved + bias.astype(moved.dtype)[None, :]

    return with_form(taken, form_for("projected", loss)._replace(cuts=True, one_sided="projected"))


@declared("everyone", compares=True)
def similarity_distillation(
    student: Float[Array, "b d"],
    teacher: Float[Array, "n e"],
    *,
    queries: Float[Array, "m d"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Texts shall be as alike for the student as for the teacher, whose vectors may be of any other size.

        loss_i = mean_j (cos(student_i, student_j) - cos(teacher_i, teacher_j))^2

    >>> student, teacher = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    >>> [f"{one:.2f}" for one in similarity_distillation(student, teacher)]
    ['0.18', '0.18']

    Args:
      student, teacher: row `i` of both is the same text.  No gradient goes to the teacher.
      queries: everyone's student vectors, where `student` are some of them, a row's own at its place.
      similarity: two sets of vectors to scores, larger is closer.
    Returns: one loss a row, in [0, 4].
    Raises: ValueError for another number of teacher vectors than of everyone's student vectors.
    Source: Tung & Mori 2019, arXiv:1907.09682, eq. 4, with cosines and a mean.
    """
    everyone = student if queries is None else queries
    if everyone.shape[0] != teacher.shape[0] or student.shape[0] > everyone.shape[0]:
        raise ValueError(
            f"similarity_distillation: {everyone.shape[0]} student vectors need as many of the teacher, "
            f"got {teacher.shape[0]}"
        )
    ours = similarity(student, everyone)
    target = lax.stop_gradient(teacher)
    theirs = lax.stop_gradient(similarity(target[: student.shape[0]], target)).astype(ours.dtype)
    return optax.squared_error(ours, theirs).mean(axis=1)


# --- scores ----------------------------------------------------------------------------------------------------------


@declared(matrices=("teacher",), compares=True)
def score_distillation(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    teacher: Float[Array, "b m"],
    temperature: float | Float[Array, ""] = 0.05,
    teacher_temperature: float | Float[Array, ""] | None = None,
    divergence: Divergence = kullback_leibler,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """How far a query's distribution over the documents is from the teacher's: a divergence in nats.

    With `p = softmax(teacher / t')` and `q = softmax(cosine / t)` over the documents:

        loss_i = sum_j p_ij (log p_ij - log q_ij)

    >>> print(score_distillation(jnp.eye(2), jnp.eye(2), teacher=jnp.eye(2), temperature=1.0))
    [0. 0.]

    Args:
      teacher: its scores of every query with every document, larger is closer; no gradient goes to it.  A score of
        minus infinity leaves a document out of the teacher's distribution.
      temperature: divides the student's cosine; > 0.
      teacher_temperature: divides the teacher's scores; by default the same.
      divergence: how two lists of scores differ: `list_net`, `list_mle` or `rank_order` in its place.
      similarity: from queries and documents to scores `[b, m]`, larger is closer.
    Returns: one loss per query; 0 where the distributions agree.
    Raises: ValueError when the teacher's scores are not `[b, n]`, are NaN, or a query has none.
    Source: Hinton et al. 2015, arXiv:1503.02531, over a ranking as in Hofstätter et al. 2020, arXiv:2010.02666.
    """
    softness = temperature if teacher_temperature is None else teacher_temperature
    paired("score_distillation", query, document)
    above_zero("score_distillation", temperature=temperature, teacher_temperature=softness)
    scores = similarity(query, document)
    return _from_teacher("score_distillation", scores / temperature, teacher, softness, divergence)


@declared("pairs")
def list_distillation(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    teacher: Float[Array, "b k"],
    negatives: int = 1,
    temperature: float | Float[Array, ""] = 0.05,
    teacher_temperature: float | Float[Array, ""] | None = None,
    divergence: Divergence = kullback_leibler,
    score: Callable[[Array, Array], Array] = row_cosine,
) -> Float[Array, " b"]:
    """`score_distillation` over each query's own list: its own document and its negatives, and no one else's.

    Args:
      document: the own documents of all queries, then their first negatives, then their second ones.
      teacher: its scores of each query's own document and negatives, `[b, 1 + negatives]`, as a cross-encoder gives.
      negatives: how many each query has; `n` is `b (1 + negatives)`.
      temperature, teacher_temperature, divergence: as for `score_distillation`.
      score: of row `i` with row `i`, larger is closer.
    Returns: one loss a query, in nats.
    Raises: ValueError for another number of documents, or teacher scores of another shape.
    Source: as for `score_distillation`; Qu et al. 2021, arXiv:2010.08191 (RocketQA), lists of re-ranked candidates.
    """
    softness = temperature if teacher_temperature is None else teacher_temperature
    paired("list_distillation", query, document)
    above_zero("list_distillation", temperature=temperature, teacher_temperature=softness)
    scores = score(query[None], own_lists("list_distillation", query, document, negatives)).T
    return _from_teacher("list_distillation", scores / temperature, teacher, softness, divergence)


def _from_teacher(
    name: str, logits: Float[Array, "b m"], teacher: Array, softness: float | Array, divergence: Divergence
) -> Float[Array, " b"]:
    if teacher.shape != logits.shape:
        raise ValueError(f"{name}: teacher scores must be {logits.shape}, got {teacher.shape}")
    all_values(name, "teacher", teacher, "finite, or minus infinity for some but not all of a row", _listed)
    return divergence(logits, lax.stop_gradient(teacher.astype(logits.dtype) / softness))


def _listed(teacher: np.ndarray) -> np.ndarray:
    some = (teacher > -np.inf).any(axis=1, keepdims=True)
    return some & (teacher < np.inf)
