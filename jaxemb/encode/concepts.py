"""Vectors whose every dimension is a named concept: a head that makes them, and what may be done with them.

All that stands here keeps the axes: vectors are not centred, not turned, and never negative.

Source: Bogdanova & Yazdani 2017, arXiv:1708.03246 (SESA); the abstract alone is public, so that the head is ours.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxemb.encode.project import DenseConfig, followed
from jaxemb.similarity import dot
from jaxemb.types import Encoder, Params

UNKNOWN_SHARE = 0.05  # a logit of about -3


def concept_logits(encoder: Encoder, inputs: int, hidden: int, concepts: int) -> Encoder:
    """An encoder with a logit a concept, `relu(h W_1 + b_1) W_2 + b_2`: `[b, concepts]`.

    Params are those of `encoder`, `{"concept_hidden": ...}` and `{"concepts": ...}`; concepts begin as rare ones.

    Args:
      inputs: the size of the encoder's vectors.
    Raises: ValueError for no concept, or another size below 1.
    """
    if min(inputs, hidden, concepts) < 1:
        raise ValueError(f"concept_logits: wanted sizes of 1 or more, got {inputs}, {hidden} and {concepts} concepts")
    inner = followed(
        encoder, DenseConfig(in_features=inputs, out_features=hidden, activation="ReLU"), name="concept_hidden"
    )
    last = DenseConfig(in_features=hidden, out_features=concepts, activation="Identity")
    made = followed(inner, last, name="concepts")

    def init(key: Array) -> Params:
        return with_shares(made.init(key), np.full(concepts, UNKNOWN_SHARE))

    return made._replace(init=init)


def with_shares(params: Params, share: Float[np.ndarray, " c"]) -> Params:
    """The same params, where a text of which nothing is known has each concept as likely as a share of all texts has.

    Cosines of sigmoids are all near one where these are all near a half; so a bias that knows how rare concepts are is
    needed for the ranking to begin at all.

    Raises: ValueError for another number of shares, or one outside 0 to 1, both left out.
    """
    linear = params["concepts"]["linear"]
    wanted = linear["bias"].shape
    if share.shape != wanted or not ((share > 0) & (share < 1)).all():
        raise ValueError(
            f"with_shares: wanted shares inside (0, 1) of {wanted[0]} concepts, got {share.shape}: {share}"
        )
    bias = jnp.asarray(np.log(share / (1 - share)), jnp.float32)
    return {**params, "concepts": {**params["concepts"], "linear": {**linear, "bias": bias}}}


def activation(logits: Float[Array, "n c"], known: Bool[Array, "n c"] | None = None) -> Float[Array, "n c"]:
    """How much each concept is in a text, in (0, 1); one where it is known to be.

    >>> print(activation(jnp.array([[0.0, 0.0]]), jnp.array([[True, False]])))
    [[1.  0.5]]

    Args:
      known: what people said of the text.  Leave it out where just that is to be predicted.
    """
    told = jax.nn.sigmoid(logits)
    return told if known is None else jnp.maximum(told, known.astype(told.dtype))


def weighed(vectors: Float[Array, "n c"], weight: Float[Array, " c"]) -> Float[Array, "n c"]:
    """Vectors whose plain inner products are those with a weight a concept: any index of inner products finds by them.

        <sqrt(w) a, sqrt(w) b> = sum_c w_c a_c b_c

    Args:
      weight: 0 or more, so that a shared concept only helps.
    """
    return jnp.sqrt(weight).astype(vectors.dtype)[None, :] * vectors


def weighted_dot(weight: Float[Array, " c"]) -> Callable[[Array, Array], Float[Array, "b n"]]:
    """The similarity `sum_c w_c a_c b_c`."""
    return lambda query, document: dot(weighed(query, weight), weighed(document, weight))


def strongest(vectors: Float[Array, "n c"], count: int) -> Float[Array, "n c"]:
    """The same vectors with their `count` largest values, and zeros elsewhere: what an inverted index stores.

    >>> print(strongest(jnp.array([[0.1, 0.9, 0.5]]), 2))
    [[0.  0.9 0.5]]

    Raises: ValueError for a count that is not from 1 to the number of concepts.
    """
    if not 1 <= count <= vectors.shape[1]:
        raise ValueError(f"strongest: wanted 1 to {vectors.shape[1]} concepts, got {count}")
    values, places = jax.lax.top_k(vectors, count)
    rows = jnp.arange(vectors.shape[0])[:, None]
    return jnp.zeros_like(vectors).at[rows, places].set(values)
