"""Losses that ask parts of an encoder to serve alone: the first dimensions, the lower layers."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.checks import same_size
from jaxemb.losses.form import Form, form_for, with_form
from jaxemb.types import Loss

LAYERED = Form("layers")


def matryoshka(loss: Loss, sizes: Sequence[int], weights: Sequence[float] | None = None) -> Loss:
    """Ask every prefix of a vector to serve alone.

    Args:
      loss: any loss of two sets of vectors.
      sizes: prefixes, in dimensions, distinct; include the whole vector if it must serve, too.
      weights: of each prefix, above 0; by default equal.  The result is the weighted mean.
    Raises: ValueError for sizes or weights that make no sense here, or, when it is called, for a prefix that is longer
      than the vectors, or vectors of two sizes.
    Source: Kusupati et al. 2022, arXiv:2205.13147, eq. 1.
    """
    if not sizes or len(set(sizes)) != len(sizes) or min(sizes) < 1:
        raise ValueError(f"matryoshka: sizes must be distinct and 1 or more, got {list(sizes)}")
    shares = _shares("matryoshka", "sizes", len(sizes), weights)

    def nested(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        same_size("matryoshka", query, document)
        if query.shape[1] < max(sizes):
            raise ValueError(f"matryoshka: a prefix of {max(sizes)} in vectors of {query.shape[1]} dimensions")
        return _mean([loss(query[:, :d], document[:, :d], **_cut(kwargs, d)) for d in sizes], shares)

    return with_form(nested, form_for("matryoshka", loss)._replace(cuts=True))


def layers(loss: Loss, count: int, weights: Sequence[float] | None = None) -> Loss:
    """Ask several layers of an encoder to serve, each by itself.

    Args:
      loss: any loss of two sets of vectors; changed by other functions already, if it shall be.
      count: how many layers there are.
      weights: of each layer, above 0; by default equal.  The result is the weighted mean.
    Returns: a loss of vectors `[count, b, d]` and `[count, n, d]`, one set a layer.
    Raises: ValueError for weights that make no sense here, or another number of layers.
    Source: Li et al. 2024, arXiv:2402.14776 (2-D matryoshka), with every layer for a random one.
    """
    if count < 1:
        raise ValueError(f"layers: wanted one layer or more, got {count}")
    form_for("layers", loss)
    shares = _shares("layers", "layers", count, weights)

    def layered(query: Float[Array, "l b d"], document: Float[Array, "l n e"], **kwargs: Any) -> Float[Array, " b"]:
        _check_layers("layers", count, query, document)
        return _mean([loss(query[i], document[i], **kwargs) for i in range(count)], shares)

    return with_form(layered, LAYERED)


def layer_sizes(loss: Loss, pairs: Sequence[tuple[int, int]], weights: Sequence[float] | None = None) -> Loss:
    """Ask chosen pairs of a layer and a size to serve: a 2-D matryoshka with fixed corners.

    Args:
      loss: any loss of two sets of vectors.
      pairs: which layer, counted from 0 (-1 is the last), and how many of its dimensions; distinct.
      weights: of each pair, above 0; by default equal.  The result is the weighted mean.
    Returns: a loss of vectors `[l, b, d]` and `[l, n, d]`, one set a layer.
    Raises: ValueError for pairs or weights that make no sense here, or that vectors do not have.
    Source: Li et al. 2024, arXiv:2402.14776; Wang et al. 2024, arXiv:2411.17299 (Starbucks), fixed pairs.
    """
    if not pairs or len(set(pairs)) != len(pairs) or min(size for _, size in pairs) < 1:
        raise ValueError(f"layer_sizes: pairs must be distinct and have sizes of 1 or more, got {list(pairs)}")
    form_for("layer_sizes", loss)
    shares = _shares("layer_sizes", "pairs", len(pairs), weights)

    def cornered(query: Float[Array, "l b d"], document: Float[Array, "l n e"], **kwargs: Any) -> Float[Array, " b"]:
        _check_layers("layer_sizes", None, query, document)
        count, size = query.shape[0], query.shape[2]
        for layer, wanted in pairs:
            if not -count <= layer < count or wanted > size:
                raise ValueError(f"layer_sizes: layer {layer} at {wanted} of {count} layers of {size} dimensions")
        return _mean([loss(query[layer, :, :d], document[layer, :, :d], **kwargs) for layer, d in pairs], shares)

    return with_form(cornered, LAYERED)


def _shares(name: str, what: str, count: int, weights: Sequence[float] | None) -> list[float]:
    shares = [1.0] * count if weights is None else list(weights)
    if len(shares) != count or min(shares, default=0.0) <= 0:
        raise ValueError(f"{name}: wanted {count} weights above 0, one each of the {what}, got {shares}")
    return shares


def _mean(parts: Sequence[Float[Array, " b"]], shares: Sequence[float]) -> Float[Array, " b"]:
    return jnp.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(axis=0) / sum(shares)


def _cut(kwargs: dict[str, Any], size: int) -> dict[str, Any]:
    """Everyone's queries are vectors, too."""
    return kwargs if kwargs.get("queries") is None else {**kwargs, "queries": kwargs["queries"][:, :size]}


def _check_layers(name: str, count: int | None, query: Array, document: Array) -> None:
    wanted = query.shape[0] if count is None else count
    if query.ndim != 3 or document.ndim != 3 or {query.shape[0], document.shape[0]} != {wanted}:
        raise ValueError(
            f"{name}: wanted vectors of {wanted} layers on both sides, [layers, rows, dimensions], "
            f"got {query.shape} and {document.shape}"
        )
