"""A weighted token table: the bag-of-words end of the scale, with no attention and no order.

Source of the idea: Arora et al. 2017 (weighted averages of word vectors); Tulkens & van Dongen 2024, Model2Vec.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.types import Encoder, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class StaticConfig:
    """`vocab_size` token ids, vectors of `hidden_size`.

    unknown: the id that is left out and not counted, as that of `[UNK]`; None where every token counts.
    """

    vocab_size: int
    hidden_size: int
    unknown: int | None = None


Rows = Callable[[Any, Int[Array | np.ndarray, "b t"]], Float[Array, "b t d"]]
"""(table in some form, ids) -> its rows."""


def at_rows(table: Float[Array | np.ndarray, "v d"], ids: Int[Array | np.ndarray, "b t"]) -> Float[Array, "b t d"]:
    """Rows of a table that is a matrix."""
    return table[ids]


def static(config: StaticConfig, rows: Rows = at_rows) -> Encoder:
    """The mean over a text's tokens of `weight[id] * table[id]`; params `{"table": [v, d], "weight": [v]}`.

    A text without tokens is the zero vector.  Dividing by the number of tokens and not by the sum of weights keeps the
    weights foldable into the table, which is how other libraries store one.

    Args:
      rows: what looks up rows of `params["table"]`, for a table in a smaller form, as `decompress_rows` of a
        `compress.matrix` method does.
    """

    def init(key: Array) -> Params:
        table = jax.random.normal(key, (config.vocab_size, config.hidden_size)) * config.hidden_size**-0.5
        return {"table": table, "weight": jnp.ones(config.vocab_size)}

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        kept = tokens.pooled.astype(params["weight"].dtype)
        if config.unknown is not None:
            kept = jnp.where(tokens.ids == config.unknown, jnp.zeros_like(kept), kept)
        weight = params["weight"][tokens.ids] * kept
        count = jnp.maximum(kept.sum(axis=1), 1)
        return jnp.einsum("bt,btd->bd", weight / count[:, None], rows(params["table"], tokens.ids))

    return Encoder(init, apply)


def from_table(table: Float[Array | np.ndarray, "v d"]) -> Params:
    """Params whose weights are all one: the plain token average."""
    return {"table": jnp.asarray(table), "weight": jnp.ones(table.shape[0], table.dtype)}


def folded(params: Params) -> Float[Array | np.ndarray, "v d"]:
    """One table that gives the same vectors with weights of one."""
    return params["table"] * params["weight"][:, None]


def plain(params: Params) -> Params:
    """The same params with the weights folded into the table, and no weights."""
    return {"table": folded(params), **{name: part for name, part in params.items() if name not in ("table", "weight")}}
