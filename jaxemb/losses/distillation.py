"""Losses that make a student's vectors, or its scores, those of a teacher."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.contrastive import check
from jaxemb.similarity import cosine, unit, wide


def embedding_distillation(student: Float[Array, "b d"], teacher: Float[Array, "n d"]) -> Float[Array, " b"]:
    """One minus the cosine of each student vector with the teacher's vector of the same text.

    >>> [f"{one:.3f}" for one in embedding_distillation(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]]))]
    ['0.400']

    Args:
      student, teacher: any length; row `i` of both is the same text.  No gradient goes to the teacher.
    Returns: one loss a row, in [0, 2]; 0 where directions agree, 1 where they are at right angles.
    Raises: ValueError when there are fewer teacher rows than student rows, or sizes differ.
    Source: Reimers & Gurevych 2020, arXiv:2004.09813, eq. 1, with the cosine for the squared distance: for unit
      vectors the one is half of the other.
    """
    check("embedding_distillation", student, teacher, 1.0)
    full = wide(student.dtype)
    target = jax.lax.stop_gradient(unit(teacher[: student.shape[0]].astype(full)))
    return 1 - jnp.sum(unit(student.astype(full)) * target, axis=-1)


def score_distillation(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    teacher: Float[Array, "b n"],
    temperature: float = 0.05,
    teacher_temperature: float | None = None,
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
    Returns: one loss per query; 0 where the distributions agree.
    Raises: ValueError when the teacher's scores are not `[b, n]`.
    Source: Hinton et al. 2015, arXiv:1503.02531, over a ranking as in Hofstätter et al. 2020, arXiv:2010.02666.
    """
    softness = temperature if teacher_temperature is None else teacher_temperature
    for divisor in (temperature, softness):
        check("score_distillation", query, document, divisor)
    if teacher.shape != (wanted := (query.shape[0], document.shape[0])):
        raise ValueError(f"score_distillation: teacher scores must be {wanted}, got {teacher.shape}")
    ours = jax.nn.log_softmax(cosine(query, document) / temperature, axis=-1)
    theirs = jax.lax.stop_gradient(jax.nn.log_softmax(teacher / softness, axis=-1))
    share = jnp.exp(theirs)
    # Where the teacher gives nothing, 0 * log 0 is 0, and its infinity must not reach the product.
    return jnp.sum(jnp.where(share > 0, share * (theirs - ours), jnp.zeros((), ours.dtype)), axis=-1)
