"""Losses of named concepts: which of them a text has, told from a logit each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import all_values, paired
from jaxemb.losses.form import declared
from jaxemb.similarity import wide


@declared("pairs", values=("positive_weight",))
def concept_classification(
    query: Float[Array, "b c"],
    document: Float[Array, "n c"] | Int[Array, "n c"] | Bool[Array, "n c"],
    *,
    positive_weight: Float[Array, " c"] | Float[np.ndarray, " c"] | None = None,
    unlabelled: float = 1.0,
) -> Float[Array, " b"]:
    """Surprise, in nats, of which concepts a text has, summed over the concepts.  With `p = sigmoid(u_i)`:

        loss_i = sum_c ( -w_c k_ic log p_c - m (1 - k_ic) log(1 - p_c) )

    A sum, and not a mean: of ten thousand concepts a text has four, and a mean of them would be nothing.

    >>> each = concept_classification(jnp.zeros((1, 3)), jnp.array([[1, 0, 0]]), unlabelled=0.5)
    >>> [f"{one:.3f}" for one in each]
    ['1.386']

    Args:
      query: logits `u`, not probabilities.
      document: `k`, 1 where the text has the concept, else 0.
      positive_weight: `w`, of each concept, above 0, as `rare_weight`; by default 1.
      unlabelled: `m`, from 0 to 1, how far a concept that nobody named counts as absent.
    Returns: one loss a text; `c log(2)` for logits of zero.
    Raises: ValueError for other shapes, values of `k` other than 0 and 1, NaN logits, or weights out of range.
    """
    name = "concept_classification"
    paired(name, query, document)
    document = document[: query.shape[0]]
    all_values(name, "concepts", document, "0 or 1", lambda values: (values == 0) | (values == 1))
    all_values(name, "logits", query, "no NaN", lambda values: ~np.isnan(values.astype(np.float64)))
    if not 0 <= unlabelled <= 1:
        raise ValueError(f"{name}: unlabelled must be from 0 to 1, got {unlabelled}")
    logits = query.astype(wide(query.dtype))
    has = document.astype(logits.dtype)
    yes, no = (optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, answer)) for answer in (1.0, 0.0))
    if positive_weight is not None:
        if positive_weight.shape != query.shape[1:]:
            raise ValueError(f"{name}: positive_weight must be {query.shape[1:]}, got {positive_weight.shape}")
        all_values(name, "positive_weight", jnp.asarray(positive_weight), "above 0", lambda values: values > 0)
        yes = jnp.asarray(positive_weight, logits.dtype)[None, :] * yes
    return (has * yes + unlabelled * (1 - has) * no).sum(axis=1)


def rare_weight(share: Float[np.ndarray, " c"], most: float = 20.0) -> Float[np.ndarray, " c"]:
    """A weight for what rare concepts have: the root of `(1 - p) / p`, or of `most` where that is more.

    >>> print(rare_weight(np.array([0.5, 0.2, 0.0001])).round(2))
    [1.   2.   4.47]

    Raises: ValueError for a share that is not inside (0, 1).
    """
    if not ((share > 0) & (share < 1)).all():
        raise ValueError(f"rare_weight: wanted shares inside (0, 1), got {share}")
    return np.sqrt(np.minimum(most, (1 - share) / share))


@declared("pairs")
def activation_sum(query: Float[Array, "b c"], document: Float[Array, "n c"]) -> Float[Array, " b"]:
    """How many concepts a text has, each as much as `sigmoid` of its logit: what makes vectors sparse when it is small.

    Args:
      document: not read; a term between a set of texts and itself gives it.
    """
    return jax.nn.sigmoid(query.astype(wide(query.dtype))).sum(axis=1)
