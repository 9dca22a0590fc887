"""Weighted and attentive poolings: what each token counts is learnt.

What tokens count is given by pure functions of the same params (`hops`, `feature_weights`), so that a loss can ask for
it: `hop_penalty` and `apart` keep several answers from being one.
"""

from itertools import combinations

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Int

from jaxemb.encode.layers import matmul
from jaxemb.encode.small.learnt import LearntPooling
from jaxemb.similarity import SMALLEST
from jaxemb.types import Params


def _softmax(scores: Float[Array, "b t k"], mask: Int[Array, "b t"]) -> Float[Array, "b t k"]:
    """Over a text's tokens: zero on padding, and zero everywhere in a text without tokens."""
    kept = mask[:, :, None] > 0
    lowest = jnp.asarray(jnp.finfo(scores.dtype).min / 2, scores.dtype)  # finite: a text without tokens has a gradient
    return jnp.where(kept, jax.nn.softmax(jnp.where(kept, scores, lowest), axis=1), jnp.zeros_like(scores))


def gated_mean(inputs: int) -> LearntPooling:
    """The mean with weights `sigmoid(h v)`, each by its token alone; params `{"kernel": [inputs]}`.

        out = sum_t w_t h_t / (sum_t w_t + 1e-8)

    Source: Husain et al. 2019, arXiv:1909.09436, the reference code.
    """

    def init(key: Array) -> Params:
        return {"kernel": inputs**-0.5 * jax.random.normal(key, (inputs,))}

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
        weight = jax.nn.sigmoid(jnp.einsum("btd,d->bt", states, params["kernel"])) * mask.astype(states.dtype)
        return jnp.einsum("bt,btd->bd", weight, states) / (weight.sum(axis=1, keepdims=True) + 1e-8)

    return LearntPooling(init, apply)


def by_place(bins: int) -> LearntPooling:
    """The mean with a learnt weight for each of `bins` equal stretches of the text; params `{"weight": [bins]}`.

        out = sum_t q_t h_t / sum_t q_t,    q_t = softplus(weight[floor(bins * t / length)])

    It starts as the plain mean.  Source: Bespalov et al. 2012, Sentiment Classification with Supervised Sequence
    Embedding.
    """

    def init(key: Array) -> Params:
        return {"weight": jnp.full(bins, jnp.log(jnp.e - 1.0))}  # softplus of it is one

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
        place, length = jnp.cumsum(mask, axis=1) - 1, mask.sum(axis=1, keepdims=True)
        stretch = jnp.clip(bins * place // jnp.maximum(length, 1), 0, bins - 1)
        weight = jax.nn.softplus(params["weight"])[stretch] * mask.astype(states.dtype)
        return jnp.einsum("bt,btd->bd", weight, states) / jnp.maximum(weight.sum(axis=1, keepdims=True), SMALLEST)

    return LearntPooling(init, apply)


def self_attentive(inputs: int, size: int, count: int) -> LearntPooling:
    """`count` hops of attention over a text, side by side: vectors of `count * inputs`.

        A = softmax_t(W_2 tanh(W_1 H^T)),    M = A H

    Params `{"hidden": {"kernel": [inputs, size]}, "hops": {"kernel": [size, count]}}`.

    Source: Lin et al. 2017, arXiv:1703.03130, eq. 6 and 7.
    """

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        glorot = initializers.glorot_uniform()
        return {"hidden": {"kernel": glorot(one, (inputs, size))}, "hops": {"kernel": glorot(other, (size, count))}}

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b e"]:
        return jnp.einsum("brt,btd->brd", hops(params, states, mask), states).reshape(states.shape[0], -1)

    return LearntPooling(init, apply)


def hops(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b r t"]:
    """What each token counts in each hop of `self_attentive`: the paper's `A`; a text's rows sum to one."""
    b, t, d = states.shape
    hidden = jnp.tanh(matmul(states.reshape(b * t, d), params["hidden"]["kernel"]))
    return _softmax(matmul(hidden, params["hops"]["kernel"]).reshape(b, t, -1), mask).transpose(0, 2, 1)


def hop_penalty(weights: Float[Array, "b r t"]) -> Float[Array, " b"]:
    """How alike the hops of a text are, `||A A^T - I||_F^2`: a loss adds a multiple of it.

    >>> print(hop_penalty(jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])))
    [0. 2.]

    Returns: one number a text: 0 when each hop reads one token of its own, `r (r - 1)` when all read the same one, `r`
      for a text without tokens.
    Source: Lin et al. 2017, arXiv:1703.03130, eq. 8.
    """
    gram = jnp.einsum("brt,bqt->brq", weights, weights)
    return jnp.sum((gram - jnp.eye(weights.shape[1], dtype=gram.dtype)[None]) ** 2, axis=(1, 2))


def feature_attention(inputs: int, size: int, heads: int = 1) -> LearntPooling:
    """Attention with a weight a token and feature, `heads` times side by side: vectors of `heads * inputs`.

        A = softmax_t(V tanh(W h_t + b)),    out = sum_t A_t * h_t

    Params `{"hidden": {"kernel": [heads, inputs, size], "bias": [heads, size]}, "features": {"kernel": [heads, size,
    inputs]}}`.  A bias after `V` would be the same at every place, where the softmax takes it away.

    Source: Merkx & Frank 2019, arXiv:1903.11393; there padding takes part in the softmax.
    """

    def init(key: Array) -> Params:
        one, other = (jax.random.split(part, heads) for part in jax.random.split(key))
        first, second = initializers.orthogonal(), initializers.glorot_uniform()
        return {
            "hidden": {
                "kernel": jax.vmap(lambda key: first(key, (inputs, size)))(one),
                "bias": jnp.zeros((heads, size)),
            },
            "features": {"kernel": jax.vmap(lambda key: second(key, (size, inputs)))(other)},
        }

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b e"]:
        weights = feature_weights(params, states, mask)
        return jnp.einsum("bktd,btd->bkd", weights, states).reshape(states.shape[0], -1)

    return LearntPooling(init, apply)


def feature_weights(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b k t d"]:
    """What each feature of each token counts in each head of `feature_attention`; over the tokens they sum to one."""

    def head(kernel: Float[Array, "d a"], bias: Float[Array, " a"], out: Float[Array, "a d"]) -> Float[Array, "b t d"]:
        b, t, d = states.shape
        hidden = jnp.tanh(matmul(states.reshape(b * t, d), kernel) + bias[None, :])
        return _softmax(matmul(hidden, out).reshape(b, t, d), mask)

    hidden, features = params["hidden"], params["features"]
    return jax.vmap(head, out_axes=1)(hidden["kernel"], hidden["bias"], features["kernel"])


def apart(heads: Float[Array, "k *n"], margin: float = 1.0) -> Float[Array, ""]:
    """What is missing to a distance of `margin` between the heads, summed over pairs of them; 0 for one head.

        sum_{x < y} max(0, margin - ||head_x - head_y||_F)

    For the kernels of the heads, their weights in one text, or their vectors.

    >>> print(apart(jnp.array([[0.0, 0.0], [0.0, 0.25]])))
    0.75

    Source: Merkx & Frank 2019, arXiv:1903.11393, the reference code.
    """

    def distance(x: int, y: int) -> Float[Array, ""]:
        square = jnp.sum((heads[x] - heads[y]) ** 2)
        return jnp.sqrt(jnp.maximum(square, SMALLEST))  # two equal heads have no slope, but a finite one

    pairs = [jax.nn.relu(margin - distance(x, y)) for x, y in combinations(range(heads.shape[0]), 2)]
    return sum(pairs, jnp.zeros((), heads.dtype))
