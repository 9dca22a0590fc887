"""The BERT family: learnt positions, post-norm blocks.  Source: Devlin et al. 2018, arXiv:1810.04805."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, Table, attention, merged
from jaxemb.encode.stack import stack
from jaxemb.types import Backbone, Entry, Tokens


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The shape of a BERT, by the names of Hugging Face's `config.json`."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is unknown; there is {', '.join(ACTIVATIONS)}")


# Anything else is another model.
FIXED = {"position_embedding_type": "absolute"}
# The next-sentence head, on which no token state depends.
IRRELEVANT = {
    "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head",
    "pooler_type",
}  # fmt: skip


def parse(config: Mapping[str, Any]) -> BertConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, BertConfig, names=("bert",), fixed=FIXED, irrelevant=IRRELEVANT)


def describe(config: BertConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {"model_type": "bert", "architectures": ["BertModel"], **FIXED, **asdict(config), "pad_token_id": 0}


class Embeddings(nnx.Module):
    """Token, position and perhaps segment embeddings, summed and normed; `bert` says which row a position reads."""

    def __init__(self, c: BertConfig, *, pad: int | None, rngs: nnx.Rngs) -> None:
        def table(rows: int) -> Table:
            return Table(rows, c.hidden_size, scale=c.initializer_range, rngs=rngs)

        self.tokens, self.positions = table(c.vocab_size), table(c.max_position_embeddings)
        self.segments = table(c.type_vocab_size) if c.type_vocab_size else None
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)
        self.pad = pad
        self.most = c.max_position_embeddings - (0 if pad is None else pad + 1)

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        return self.around(self.tokens(tokens.ids), tokens)

    def around(self, states: Float[Array, "b #t d"], tokens: Tokens) -> Float[Array, "n d"]:
        """Any states where those of the token table would be: with their places and segments, normed."""
        t = tokens.ids.shape[1]
        if t > self.most:
            raise ValueError(f"bert: {t} tokens a text, but only {self.most} positions; truncate first")
        beside = self.places(tokens)
        if self.segments is not None:
            first = self.segments.table[...][None, :1]
            beside = beside + (first if tokens.segments is None else self.segments(tokens.segments))
        states = states + beside
        return self.norm(states.reshape(-1, states.shape[-1]))

    def places(self, tokens: Tokens) -> Float[Array, "#b t d"]:
        """The rows of the position table; of one text for all where the ids do not count."""
        if self.pad is None:
            return self.positions.table[...][None, : tokens.ids.shape[1]]
        text = jnp.asarray(tokens.ids != self.pad, jnp.int32)
        return self.positions(self.pad + text * jnp.cumsum(text, axis=1))


class Block(nnx.Module):
    """Attention, then a feed-forward layer, each added to its input and normed after."""

    def __init__(self, c: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def dense(inputs: int, outputs: int) -> Dense:
            return Dense(inputs, outputs, scale=c.initializer_range, dtype=dtype, rngs=rngs)

        self.heads, self.dtype, self.act = c.num_attention_heads, dtype, ACTIVATIONS[c.hidden_act]
        self.qkv = dense(c.hidden_size, 3 * c.hidden_size)  # one product for all three
        self.out = dense(c.hidden_size, c.hidden_size)
        self.attention_norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)
        self.up = dense(c.hidden_size, c.intermediate_size)
        self.down = dense(c.intermediate_size, c.hidden_size)
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)

    def __call__(
        self, x: Float[Array, "n d"], mask: Int[Array, "b t"], bias: Float[Array, "h t t"] | None = None
    ) -> Float[Array, "n d"]:
        b, t = mask.shape
        # Heads before time: the batched products of attention then read contiguous rows.
        split = self.qkv(x).astype(self.dtype).reshape(b, t, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        x = self.attention_norm(x + self.out(merged(attention(split[0], split[1], split[2], mask, bias=bias))))
        return self.norm(x + self.down(self.act(self.up(x))))


def bert(config: BertConfig, *, dtype: DTypeLike = jnp.float32, pad: int | None = None) -> Backbone:
    """A BERT whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    Position `i` of a text is its `i`-th token, whatever stands after it: padding goes on the right.

    Args:
      config: its shape; without segments where `type_vocab_size` is 0.
      pad: where a family counts places as RoBERTa does, the id of its padding: the first token reads row `pad + 1` of
        the position table; a padding token written in a text reads row `pad` and is not counted.
    Raises: ValueError for a batch longer than the position table.
    """
    dtype = jnp.dtype(dtype)
    return layered(
        functional(lambda rngs: Embeddings(config, pad=pad, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.num_hidden_layers),
    )


_LAYER = "encoder.layer.{layer}"
KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("embeddings.word_embeddings.weight",)),
    Entry("embeddings.positions.table", ("embeddings.position_embeddings.weight",)),
    Entry("embeddings.segments.table", ("embeddings.token_type_embeddings.weight",)),
    *norm("embeddings.norm", "embeddings.LayerNorm"),
    *dense("blocks.qkv", *(f"{_LAYER}.attention.self.{name}" for name in ("query", "key", "value"))),
    *dense("blocks.out", f"{_LAYER}.attention.output.dense"),
    *norm("blocks.attention_norm", f"{_LAYER}.attention.output.LayerNorm"),
    *dense("blocks.up", f"{_LAYER}.intermediate.dense"),
    *dense("blocks.down", f"{_LAYER}.output.dense"),
    *norm("blocks.norm", f"{_LAYER}.output.LayerNorm"),
]
"""Every weight of ours and the Hugging Face names it comes from."""

UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Foreign weights that no token state depends on: a constant, and the next-sentence head."""

BERT = Family(
    names=("bert",),
    config=BertConfig,
    parse=parse,
    describe=describe,
    backbone=bert,
    keys=lambda config: KEYS,
    prefix="bert.",
    unused=UNUSED,
)
