"""Vectors of two texts to numbers of the pair: a head that is learnt beside the encoder of both."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxemb.similarity import dot, wide
from jaxemb.types import Params


class PairHead(NamedTuple):
    """What it needs of documents alone can be computed before any query comes.

    init: key -> params.
    apply: (params, left `[b, d]`, right `[b, d]`) -> logits `[b, c]` of each row with the row beside it.
    store: (params, documents `[n, d]`) -> what is kept of them.
    against: (params, queries `[b, d]`, what is kept) -> logits `[b, n, c]` of every query as left with every document.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Float[Array, "b d"], Float[Array, "b d"]], Float[Array, "b c"]]
    store: Callable[[Params, Float[Array, "n d"]], Params]
    against: Callable[[Params, Float[Array, "b d"], Params], Float[Array, "b n c"]]


def feature_head(inputs: int, hidden: int, outputs: int = 1) -> PairHead:
    """Two layers over both vectors, their product and their distance.

        logits = W_2 relu(W_1 [u ; v ; u * v ; |u - v|] + b_1) + b_2

    The first layer is a sum of four products, of which that with `v` alone is stored, and that with `u` alone is
    computed once a query.  It is not symmetric; `both_ways` of it is.  Params `{"hidden": {"kernel": [4 * inputs,
    hidden], "bias": [hidden]}, "out": {"kernel": [hidden, outputs], "bias": [outputs]}}`.

    Args:
      inputs: the size of a text's vector.
    Raises: ValueError for sizes below 1, or, when it is called, vectors of another size.
    Source: Barkan et al. 2020, arXiv:1908.05161, the reference code, with a hidden layer of 512.
    """
    if min(inputs, hidden, outputs) < 1:
        raise ValueError(f"feature_head: wanted sizes of 1 or more, got {inputs}, {hidden} and {outputs}")

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        glorot = initializers.glorot_uniform()
        return {
            "hidden": {"kernel": glorot(one, (4 * inputs, hidden)), "bias": jnp.zeros(hidden)},
            "out": {"kernel": glorot(other, (hidden, outputs)), "bias": jnp.zeros(outputs)},
        }

    def apply(params: Params, left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b c"]:
        u, v = _full("feature_head", inputs, left), _full("feature_head", inputs, right)
        features = jnp.concatenate([u, v, u * v, jnp.abs(u - v)], axis=-1)
        return _out(params, _linear(features, params["hidden"]["kernel"]) + params["hidden"]["bias"][None, :])

    def store(params: Params, documents: Float[Array, "n d"]) -> Params:
        v = _full("feature_head", inputs, documents)
        _, of_right, _, _ = jnp.split(params["hidden"]["kernel"], 4)
        return {"vectors": v, "hidden": _linear(v, of_right) + params["hidden"]["bias"][None, :]}

    def against(params: Params, query: Float[Array, "b d"], stored: Params) -> Float[Array, "b n c"]:
        v = _full("feature_head", inputs, stored["vectors"])
        of_left, _, of_product, of_distance = jnp.split(params["hidden"]["kernel"], 4)

        def one(u: Float[Array, " d"]) -> Float[Array, "n c"]:
            # The query goes into the matrix, which is smaller than the documents are.
            meeting = _linear(v, u[:, None] * of_product) + _linear(jnp.abs(u[None, :] - v), of_distance)
            return _out(params, stored["hidden"] + _linear(u[None, :], of_left) + meeting)

        return jax.lax.map(one, _full("feature_head", inputs, query))

    return PairHead(init, apply, store, against)


def dot_head(outputs: int = 1) -> PairHead:
    """The inner product of both vectors, without params: one number a pair, and one that an index can search by.

    Raises: ValueError for more than one output.
    Source: Barkan et al. 2020, arXiv:1908.05161, the reference code.
    """
    if outputs != 1:
        raise ValueError(f"dot_head: an inner product is one number a pair, wanted {outputs}; take feature_head")

    def apply(params: Params, left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b c"]:
        return jnp.einsum("bd,bd->b", left, right, preferred_element_type=wide(left.dtype))[:, None]

    def against(params: Params, query: Float[Array, "b d"], stored: Params) -> Float[Array, "b n c"]:
        return dot(query, stored["vectors"])[:, :, None]

    return PairHead(lambda key: {}, apply, lambda params, documents: {"vectors": documents}, against)


def both_ways(head: PairHead) -> PairHead:
    """The mean of a pair's logits and those of its two texts in the other order: the same whichever comes first."""

    def apply(params: Params, left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b c"]:
        return (head.apply(params, left, right) + head.apply(params, right, left)) / 2

    def store(params: Params, documents: Float[Array, "n d"]) -> Params:
        return {"forward": head.store(params, documents), "vectors": documents}

    def against(params: Params, query: Float[Array, "b d"], stored: Params) -> Float[Array, "b n c"]:
        documents = stored["vectors"]

        def back(one: Float[Array, " d"]) -> Float[Array, "n c"]:
            return head.apply(params, documents, jnp.broadcast_to(one[None, :], documents.shape))

        return (head.against(params, query, stored["forward"]) + jax.lax.map(back, query)) / 2

    return PairHead(head.init, apply, store, against)


def _full(name: str, inputs: int, vectors: Float[Array, "b d"]) -> Float[Array, "b d"]:
    if vectors.shape[-1] != inputs:
        raise ValueError(f"{name}: wanted vectors of {inputs} numbers, got {vectors.shape[-1]}")
    return vectors.astype(wide(vectors.dtype))


def _linear(x: Float[Array, "n i"], kernel: Float[Array, "i o"]) -> Float[Array, "n o"]:
    return jnp.matmul(x, kernel.astype(x.dtype))


def _out(params: Params, hidden: Float[Array, "n h"]) -> Float[Array, "n c"]:
    return _linear(jax.nn.relu(hidden), params["out"]["kernel"]) + params["out"]["bias"][None, :]
