"""The pairwise sigmoid loss: every pair of a query and a document is a question by itself."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from jaxemb.losses.checks import above_zero, one_a_score, paired
from jaxemb.losses.contrastive import diagonal
from jaxemb.losses.form import declared
from jaxemb.similarity import cosine


@declared(matrices=("ignore",), compares=True)
def sigmoid_contrastive(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    temperature: float | Float[Array, ""] = 0.1,
    bias: float | Float[Array, ""] = -10.0,
    ignore: Bool[Array, "b m"] | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Surprise, in nats, of telling of each document whether it is a query's own, summed over the documents.

    With `s` the cosine and `z_ij` one where `j` is `i` and minus one elsewhere:

        loss_i = sum_j log(1 + exp(-z_ij (s_ij / t + bias)))

    The mean of the rows is the paper's loss: its sum over all pairs is divided by the number of queries alone.

    >>> two = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> [f"{one:.3f}" for one in sigmoid_contrastive(*two, temperature=1.0, bias=0.0)]
    ['1.006']

    Args:
      temperature: divides the cosine; > 0.  It may be learnt.
      bias: added to every question; it may be learnt.  The paper starts at -10, for most pairs do not belong together.
      ignore: True where document `j` also answers query `i`: that pair is not asked.
      similarity: from queries and documents to scores `[b, m]`, larger is closer.
    Returns: one loss a query; 0 is perfect, `m log(2)` is an encoder and bias of zeros.
    Raises: ValueError when there are fewer documents than queries.
    Source: Zhai et al. 2023, arXiv:2303.15343 (SigLIP), sec. 3.2.
    """
    paired("sigmoid_contrastive", query, document)
    above_zero("sigmoid_contrastive", temperature=temperature)
    scores = similarity(query, document)
    mine = diagonal(scores)
    asked = optax.sigmoid_binary_cross_entropy(scores / temperature + bias, mine.astype(scores.dtype))
    if ignore is not None:
        one_a_score("sigmoid_contrastive", scores, ignore=ignore)
        asked = jnp.where(ignore & ~mine, jnp.zeros((), asked.dtype), asked)
    return asked.sum(axis=1)
