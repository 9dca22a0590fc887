"""Losses of vectors that will be cut down to their signs."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.checks import paired, two_rows
from jaxemb.losses.distances import row_cosine
from jaxemb.losses.form import declared, form_for, with_form
from jaxemb.similarity import everywhere, wide
from jaxemb.types import Loss

Sides = Literal["both", "query", "document"]


@jax.custom_vjp
def straight_through_sign(values: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Minus one below zero, else one; its gradient is that of the values clipped to [-1, 1].

    >>> print(straight_through_sign(jnp.array([[-0.5, 0.0, 2.0]])))
    [[-1.  1.  1.]]
    >>> print(jax.grad(lambda x: straight_through_sign(x).sum())(jnp.array([[-0.5, 0.0, 2.0]])))
    [[1. 1. 0.]]

    Source: Bengio et al. 2013, arXiv:1308.3432; clipped: Hubara et al. 2016, arXiv:1602.02830, eq. 4.
    """
    return _sign(values)


def _sign(values: Array) -> Array:
    one = jnp.ones((), values.dtype)
    return jnp.where(values < 0, -one, one)  # a zero has to be one of the two levels


def _sign_forward(values: Array) -> tuple[Array, Array]:
    return _sign(values), values


def _sign_backward(values: Array, gradient: Array) -> tuple[Array]:
    return (jnp.where(jnp.abs(values) <= 1, gradient, jnp.zeros((), gradient.dtype)),)


straight_through_sign.defvjp(_sign_forward, _sign_backward)


def binarize(loss: Loss, sides: Sides = "both") -> Loss:
    """Ask the signs of vectors to serve: the loss of codes of -1 and 1, with a gradient that goes straight through.

    The gradient passes where a number is in [-1, 1]: give vectors of about length one, or that are around it.

    >>> from jaxemb.losses import info_nce
    >>> codes = binarize(info_nce)
    >>> query, document = jnp.array([[0.2, -0.7], [-0.1, 0.3]]), jnp.array([[0.9, -0.1], [-0.5, 0.5]])
    >>> print(bool(jnp.allclose(codes(query, document), info_nce(jnp.sign(query), jnp.sign(document)))))
    True

    Args:
      loss: any loss of two sets of vectors.
      sides: which of the two become codes; documents alone where queries stay numbers in search.
    Raises: ValueError for other sides.
    Source: Gan et al. 2023, arXiv:2302.08714 (BEBR), sec. 3; Yamada et al. 2021, arXiv:2106.00882 (BPR), eq. 2, for
      `document` alone.
    """
    if sides not in ("both", "query", "document"):
        raise ValueError(f"binarize: sides are both, query or document, got {sides!r}")
    form = form_for("binarize", loss)._replace(cuts=True)
    if sides != "both":
        form = form._replace(one_sided="binarize")

    def coded(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        if sides != "document":
            query = straight_through_sign(query)
            if kwargs.get("queries") is not None:
                kwargs["queries"] = straight_through_sign(kwargs["queries"])
        if sides != "query":
            document = straight_through_sign(document)
        return loss(query, document, **kwargs)

    return with_form(coded, form)


def backward_compatible(loss: Loss) -> Loss:
    """Ask the first numbers of new vectors to be found by old ones: queries are cut to the size of the documents.

    Documents are an older model's vectors or codes, and get no gradient.  For both ways put it around `symmetric`, or
    give the other way as a loss of its own, new documents to old queries.

    Raises: ValueError for old vectors that are longer than the new ones.
    Source: Shen et al. 2020, arXiv:2003.11942, for embeddings; Gan et al. 2023, arXiv:2302.08714 (BEBR), sec. 3.3.
    """

    def cut(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        new, old = query.shape[1], document.shape[1]
        if new < old:
            raise ValueError(f"backward_compatible: old vectors of {old} dimensions are longer than new ones of {new}")
        if kwargs.get("queries") is not None:
            kwargs["queries"] = kwargs["queries"][:, :old]
        return loss(query[:, :old], jax.lax.stop_gradient(document), **kwargs)

    form = form_for("backward_compatible", loss)
    return with_form(cut, form._replace(cuts=True, one_sided="backward_compatible"))


@declared("pairs")
def quantization_penalty(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, " b"]:
    """How far vectors are from their signs: one minus the cosine of the two, the mean of query and own document.

    For a vector of length one it is half of the squared distance to its signs scaled to length one.

    >>> [f"{one:.3f}" for one in quantization_penalty(jnp.array([[3.0, -4.0]]), jnp.array([[-2.0, 2.0]]))]
    ['0.005']

    Returns: one a row, from 0, where all numbers of a vector are equally large, to `1 - d^(-1/2)`, where all but one
      are 0.
    Source: Gong et al. 2013, TPAMI 35(12) (ITQ), eq. 2, whatever the length.
    """
    paired("quantization_penalty", query, document)

    def away(vectors: Array) -> Array:
        return 1 - row_cosine(vectors, _sign(vectors))

    return (away(query) + away(document[: query.shape[0]])) / 2


@declared("batch")
def bit_balance(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, " b"]:
    """How far bits are from being set in half of the rows: the mean of squared means of the signs.

        loss = mean_k ( mean_i sign(x_ik) )^2,   the mean of queries and documents

    There is one loss for the whole batch: every row gives it.  The gradient goes straight through the signs.

    >>> print(bit_balance(jnp.array([[0.2, 0.5], [-0.4, 0.1]]), jnp.array([[0.2, 0.5], [-0.4, 0.1]])))
    [0.5 0.5]

    Returns: in every row, from 0, where all bits are balanced, to 1, where all rows have one code.
    Raises: ValueError for one row, which balances nothing.
    Source: Weiss et al. 2008, NeurIPS (spectral hashing), the first constraint of eq. 3.
    """
    paired("bit_balance", query, document)
    two_rows("bit_balance", document.shape[0])

    def unbalanced(vectors: Array) -> Array:
        return jnp.mean(jnp.mean(_codes(vectors), axis=0) ** 2)

    return jnp.broadcast_to((unbalanced(query) + unbalanced(document)) / 2, (query.shape[0],))


@declared("batch")
def bit_decorrelation(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, " b"]:
    """How much bits say the same: the mean squared product of two of them.

        loss = mean_{k != l} ( mean_i sign(x_ik) sign(x_il) )^2,   the mean of queries and documents

    There is one loss for the whole batch: every row gives it.  The gradient goes straight through the signs.

    >>> twice = jnp.array([[0.2, 0.5], [-0.4, -0.1], [-0.4, 0.1]])
    >>> [f"{one:.3f}" for one in bit_decorrelation(twice, twice)]
    ['0.111', '0.111', '0.111']

    Returns: in every row, from 0 to 1, where all bits of a row are one.
    Raises: ValueError for one row or one bit.
    Source: Weiss et al. 2008, NeurIPS (spectral hashing), the second constraint of eq. 3.
    """
    paired("bit_decorrelation", query, document)
    two_rows("bit_decorrelation", document.shape[0])
    d = query.shape[1]
    if d < 2:
        raise ValueError(f"bit_decorrelation: bits are compared with each other, wanted 2 or more, got {d}")

    def alike(vectors: Array) -> Array:
        codes = _codes(vectors)
        products = jnp.einsum("ik,il->kl", codes, codes) / codes.shape[0]
        return jnp.sum(jnp.where(jnp.eye(d, dtype=bool), 0.0, products) ** 2) / (d * (d - 1))

    return jnp.broadcast_to((alike(query) + alike(document)) / 2, (query.shape[0],))


def _codes(vectors: Array) -> Array:
    """Signs of all rows, on every device."""
    return straight_through_sign(everywhere(vectors.astype(wide(vectors.dtype))))
