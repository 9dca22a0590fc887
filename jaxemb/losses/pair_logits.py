"""Losses of numbers that a head gives of two vectors: those of a teacher, or a label's."""

import jax
import optax
from jaxtyping import Array, Float

from jaxemb.losses.checks import all_values, finite, one_a_row, paired
from jaxemb.losses.classification import Classifier
from jaxemb.losses.form import declared
from jaxemb.similarity import wide


@declared("pairs")
def logit_distillation(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    teacher: Float[Array, "b c"],
    classifier: Classifier,
) -> Float[Array, " b"]:
    """How far the logits of a pair are from a teacher's, squared and summed over the classes.

        loss_i = sum_c (classifier(q_i, d_i)_c - teacher_ic)^2

    >>> import jax.numpy as jnp
    >>> from jaxemb.losses import linear
    >>> vectors, classifier = jnp.eye(2), linear(jnp.zeros((6, 2)), jnp.array([1.0, 0.0]))
    >>> print(logit_distillation(vectors, vectors, teacher=jnp.array([[1.0, 0.0], [3.0, 1.0]]), classifier=classifier))
    [0. 5.]

    Args:
      teacher: its logits of every pair, as a cross-encoder gives; no gradient goes to them.
      classifier: from both vectors of every row to logits `[b, c]`.
    Returns: one loss a pair, in squared units of the logits: gradients of large ones are long, and want clipping.
    Raises: ValueError for another shape of logits than the teacher's, or a teacher that is not finite.
    Source: Barkan et al. 2020, arXiv:1908.05161, sec. 3, with a sum over the classes.
    """
    paired("logit_distillation", query, document)
    full = wide(query.dtype)
    logits = classifier(query.astype(full), document[: query.shape[0]].astype(full))
    if logits.shape != teacher.shape:
        raise ValueError(f"logit_distillation: logits {logits.shape} need as many of the teacher, got {teacher.shape}")
    all_values("logit_distillation", "teacher", teacher, "finite", finite)
    return optax.squared_error(logits, jax.lax.stop_gradient(teacher).astype(logits.dtype)).sum(axis=1)


@declared("pairs")
def logit_regression(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Float[Array, " b"],
    classifier: Classifier,
) -> Float[Array, " b"]:
    """How far the one logit of a pair is from its label, squared.

    Args:
      label: what the logit should be, as a person's score of how alike two texts are.
      classifier: from both vectors of every row to `[b, 1]`.
    Raises: ValueError for labels of another length, or that are not finite; for more than one logit a pair.
    """
    one_a_row("logit_regression", query.shape[0], label=label)
    all_values("logit_regression", "label", label, "finite", finite)
    return logit_distillation(query, document, teacher=label[:, None], classifier=classifier)
