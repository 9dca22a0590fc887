"""Vectors of the lower layers, and their first dimensions: one encoder that is read after any layer, at any size.

Source: Li et al. 2024, arXiv:2402.14776 (2-D matryoshka).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.encode.pool import Pooling
from jaxemb.similarity import unit
from jaxemb.types import Backbone, Encoder, Params, Tokens


class Exit(NamedTuple):
    """Where a vector left its encoder: what an index has to keep beside its vectors.

    layer: after how many blocks, from 1.
    size: how many of the first dimensions.
    mode: how the encoder was trained for it, as `2dmse`; vectors of two modes are never alike.
    """

    layer: int
    size: int
    mode: str = ""


def depth(params: Params) -> int:
    """How many blocks a backbone's params have.  Raises: ValueError for params without a stack of blocks."""
    if "blocks" not in params:
        raise ValueError(f"depth: wanted params of a backbone with a stack of blocks, got {sorted(params)}")
    return int(jax.tree.leaves(params["blocks"])[0].shape[0])


def first_layers(params: Params, layers: int) -> Params:
    """Params with which the same encoder, or backbone, runs exactly so many blocks, the first ones.

    Time and memory are those of the shallower model; a final norm of a pre-norm family stays where it is.

    >>> from jaxemb.encode import BertConfig, bert
    >>> shape = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=3, num_attention_heads=2, intermediate_size=4)
    >>> depth(first_layers(bert(shape).init(jax.random.key(0)), 2))
    2

    Raises: ValueError for more layers than there are, or none.
    """
    most = depth(params)
    if not 1 <= layers <= most:
        raise ValueError(f"first_layers: wanted 1 to {most} layers, got {layers}")
    return {**params, "blocks": jax.tree.map(lambda leaf: leaf[:layers], params["blocks"])}


def exits(
    backbone: Backbone, pooling: Pooling, layers: Sequence[int] | None = None
) -> Callable[[Params, Tokens], Float[Array, "l b d"]]:
    """(params, tokens) -> the vectors that leave each of some layers, one set a layer: what layer losses are made of.

    The states come from one pass through the encoder.  Of a pre-norm family, whose final norm lower layers need too,
    each exit is a pass of its own, as `first_layers` makes it.

    Args:
      layers: counted from 1, by default all.
    Raises: ValueError, when it is called, for a layer that is not there.
    """

    def apply(params: Params, tokens: Tokens) -> Float[Array, "l b d"]:
        most = depth(params)
        wanted = list(range(1, most + 1)) if layers is None else list(layers)
        if not wanted or not 1 <= min(wanted) <= max(wanted) <= most:
            raise ValueError(f"exits: wanted layers from 1 to {most}, got {wanted}")
        if "final" in params:
            states = [backbone.apply(first_layers(params, one), tokens) for one in wanted]
        else:
            every = backbone.hidden(first_layers(params, max(wanted)), tokens)
            states = [every[one] for one in wanted]
        mask = jnp.asarray(tokens.pooled)
        return jnp.stack([pooling(one, mask) for one in states])

    return apply


def sized(encoder: Encoder, size: int) -> Encoder:
    """The first dimensions of an encoder's vectors, scaled to length one again.

    Raises: ValueError for fewer than one dimension, and, when it is called, for more than the vectors have.
    """
    if size < 1:
        raise ValueError(f"sized: wanted 1 dimension or more, got {size}")

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b e"]:
        return prefix(encoder.apply(params, tokens), size)

    return Encoder(encoder.init, apply)


def prefix(vectors: Float[Array, "n d"], size: int) -> Float[Array, "n e"]:
    """The first `size` dimensions, of length one.

    >>> print(prefix(jnp.array([[3.0, 4.0, 12.0]]), 2))
    [[0.6 0.8]]

    Raises: ValueError for a size that vectors do not have.
    """
    if not 1 <= size <= vectors.shape[1]:
        raise ValueError(f"prefix: wanted 1 to {vectors.shape[1]} dimensions, got {size}")
    return unit(vectors[:, :size])


def shortened(vectors: Float[Array, "n d"], made: Exit, wanted: Exit) -> Float[Array, "n e"]:
    """Stored vectors as those of another exit: a prefix serves, another layer or another mode is another space.

    Args:
      made: where the vectors left their encoder.
      wanted: where those left it that they are compared with.
    Raises: ValueError for vectors of another layer or mode, for more dimensions than are stored, or for vectors that
      are not of the size that they are said to be.
    """
    if vectors.shape[1] != made.size:
        raise ValueError(f"shortened: vectors said to be of {made.size} dimensions have {vectors.shape[1]}")
    if (made.layer, made.mode) != (wanted.layer, wanted.mode) or not 1 <= wanted.size <= made.size:
        raise ValueError(
            f"shortened: stored vectors left layer {made.layer} of mode {made.mode!r} at {made.size} dimensions; they "
            f"serve that layer and mode at as many or fewer, got {wanted}"
        )
    return prefix(vectors, wanted.size)
