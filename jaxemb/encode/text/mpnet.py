"""MPNet: a RoBERTa without segments, whose attention adds a learnt number for every distance, in all layers the same.

Sources: Song et al. 2020, arXiv:2004.09297; relative positions: Raffel et al. 2020, arXiv:1910.10683, section 2.1.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import Table
from jaxemb.encode.stack import stack
from jaxemb.encode.text.bert import UNUSED, BertConfig, Block, Embeddings
from jaxemb.types import Backbone, Entry, Params, Tokens

PAD = 1
"""The id of padding; texts use the rows after it of the position table."""
STARTS = (*range(1, 8), *(math.ceil(8 * 2 ** (j / 2)) for j in range(8)))
"""Where every kind of distance begins but that of none: one by one up to 8, then each the root of two further off."""
BUCKETS = 2 * (1 + len(STARTS))
"""Kinds of distance, those for tokens ahead being others than those for tokens behind."""


@dataclass(frozen=True, kw_only=True)
class MPNetConfig:
    """The shape of an MPNet, by the names of Hugging Face's `config.json`.

    max_position_embeddings: rows of the position table, of which texts use all but the first two.
    """

    vocab_size: int = 30527
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        _ = self.bert  # which checks the numbers

    @property
    def bert(self) -> BertConfig:
        """The BERT that it is, but for relative positions."""
        return BertConfig(**asdict(self), type_vocab_size=0)


FIXED = {"relative_attention_num_buckets": BUCKETS, "pad_token_id": PAD}


def parse(config: Mapping[str, Any]) -> MPNetConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, MPNetConfig, names=("mpnet",), fixed=FIXED)


def describe(config: MPNetConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {"model_type": "mpnet", "architectures": ["MPNetModel"], **FIXED, **asdict(config)}


def buckets(t: int) -> Int[np.ndarray, "t t"]:
    """Which kind of distance lies between every place and every other.

    >>> buckets(3)
    array([[ 0, 17, 18],
           [ 1,  0, 17],
           [ 2,  1,  0]])
    """
    ahead = np.arange(t)[None, :] - np.arange(t)[:, None]
    return np.searchsorted(STARTS, np.abs(ahead), side="right") + np.where(ahead > 0, BUCKETS // 2, 0)


def mpnet(config: MPNetConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """An MPNet; as `roberta` in all else.  Which of two joined texts a token belongs to it does not read."""
    dtype, shape = jnp.dtype(dtype), config.bert

    def table(rngs: Any) -> Table:
        return Table(BUCKETS, config.num_attention_heads, scale=config.initializer_range, rngs=rngs)

    def relative(params: Params, tokens: Tokens) -> tuple[Float[Array, "h t t"]]:
        return (params["relative"]["table"][buckets(tokens.ids.shape[1])].transpose(2, 0, 1),)

    return layered(
        functional(lambda rngs: Embeddings(shape, pad=PAD, rngs=rngs)),
        stack(lambda rngs: Block(shape, dtype=dtype, rngs=rngs), config.num_hidden_layers),
        shared=relative,
        others={"relative": functional(table).init},
    )


_LAYER = "encoder.layer.{layer}"
KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("embeddings.word_embeddings.weight",)),
    Entry("embeddings.positions.table", ("embeddings.position_embeddings.weight",)),
    *norm("embeddings.norm", "embeddings.LayerNorm"),
    Entry("relative.table", ("encoder.relative_attention_bias.weight",)),
    *dense("blocks.qkv", *(f"{_LAYER}.attention.attn.{name}" for name in "qkv")),
    *dense("blocks.out", f"{_LAYER}.attention.attn.o"),
    *norm("blocks.attention_norm", f"{_LAYER}.attention.LayerNorm"),
    *dense("blocks.up", f"{_LAYER}.intermediate.dense"),
    *dense("blocks.down", f"{_LAYER}.output.dense"),
    *norm("blocks.norm", f"{_LAYER}.output.LayerNorm"),
]
"""Every weight of ours and the Hugging Face names it comes from."""

MPNET = Family(
    names=("mpnet",),
    config=MPNetConfig,
    parse=parse,
    describe=describe,
    backbone=mpnet,
    keys=lambda config: KEYS,
    prefix="mpnet.",
    unused=UNUSED,
    longest=lambda config: config.max_position_embeddings - PAD - 1,
)
