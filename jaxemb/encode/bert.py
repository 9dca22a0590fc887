"""The BERT family: learnt positions, post-norm blocks.  Source: Devlin et al. 2018, arXiv:1810.04805."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.functional import functional
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, attention
from jaxemb.types import Backbone, Entry, Params, Tokens


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


# Keys that must have one value here, because anything else is another model.
FIXED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
}
# Keys that change nothing in the vectors: training, generation, bookkeeping.
IRRELEVANT = {
    "_name_or_path", "architectures", "attention_probs_dropout_prob", "bos_token_id", "classifier_dropout", "dtype",
    "eos_token_id", "gradient_checkpointing", "hidden_dropout_prob", "id2label", "label2id", "output_past",
    "directionality", "pad_token_id", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type", "tie_word_embeddings", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip


def parse(config: Mapping[str, Any]) -> BertConfig:
    """Read a Hugging Face `config.json`.

    Raises: ValueError that names every key this file does not know, or knows with another value.
    """
    names = BertConfig.__dataclass_fields__
    unknown = sorted(config.keys() - names.keys() - FIXED.keys() - IRRELEVANT)
    if unknown:
        raise ValueError(f"bert config: unknown keys {unknown}; known are {sorted(names.keys() | FIXED.keys())}")
    for key, wanted in FIXED.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(f"bert config: {key} must be {wanted!r}, got {config[key]!r}")
    return BertConfig(**{key: value for key, value in config.items() if key in names})


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

    def __call__(self, x: Float[Array, "n d"], mask: Int[Array, "b t"]) -> Float[Array, "n d"]:
        b, t = mask.shape
        # Heads before time: the batched products of attention then read contiguous rows.
        split = self.qkv(x).astype(self.dtype).reshape(b, t, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        mixed = attention(split[0], split[1], split[2], mask).transpose(0, 2, 1, 3).reshape(x.shape)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(self.act(self.up(x))))


class Bert(nnx.Module):
    """Token, position and segment embeddings, then blocks stacked on a leading axis and scanned."""

    def __init__(self, c: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def table(rows: int) -> nnx.Param:
            return nnx.Param(c.initializer_range * jax.random.normal(rngs.params(), (rows, c.hidden_size)))

        self.tokens = table(c.vocab_size)
        self.positions = table(c.max_position_embeddings)
        self.segments = table(c.type_vocab_size)
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)

        @nnx.split_rngs(splits=c.num_hidden_layers)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stacked(rngs: nnx.Rngs) -> Block:
            return Block(c, dtype=dtype, rngs=rngs)

        self.blocks = stacked(rngs)

    def embed(self, tokens: Tokens) -> Float[Array, "n d"]:
        t = tokens.ids.shape[1]
        if t > self.positions.shape[0]:
            raise ValueError(f"bert: {t} tokens a text, but only {self.positions.shape[0]} positions; truncate first")
        place = self.positions[...][:t] + self.segments[...][0][None, :]
        states = self.tokens[...][tokens.ids] + place[None, :, :]
        return self.norm(states.reshape(-1, states.shape[-1]))

    def last(self, tokens: Tokens) -> Float[Array, "b t d"]:
        mask = jnp.asarray(tokens.mask)

        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def deeper(x: Array, block: Block) -> Array:
            return block(x, mask)

        return deeper(self.embed(tokens), self.blocks).reshape(*tokens.ids.shape, -1)

    def hidden(self, tokens: Tokens) -> Float[Array, "l b t d"]:
        mask = jnp.asarray(tokens.mask)

        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
        def deeper(x: Array, block: Block) -> tuple[Array, Array]:
            x = block(x, mask)
            return x, x

        first = self.embed(tokens)
        _, rest = deeper(first, self.blocks)
        return jnp.concatenate([first[None], rest]).reshape(-1, *tokens.ids.shape, first.shape[-1])


def bert(config: BertConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A BERT whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    Position `i` of a text is its `i`-th token, whatever stands after it: padding goes on the right.
    Raises: ValueError for a batch longer than the position table.
    """
    module = functional(lambda rngs: Bert(config, dtype=jnp.dtype(dtype), rngs=rngs))

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t d"]:
        return module.apply(params, "last", tokens)

    def hidden(params: Params, tokens: Tokens) -> Float[Array, "l b t d"]:
        return module.apply(params, "hidden", tokens)

    return Backbone(module.init, apply, hidden)


def _norm(ours: str, theirs: str) -> list[Entry]:
    return [Entry(f"{ours}.scale", (f"{theirs}.weight",)), Entry(f"{ours}.bias", (f"{theirs}.bias",))]


def _dense(ours: str, *theirs: str) -> list[Entry]:
    return [
        Entry(f"{ours}.kernel", tuple(f"{name}.weight" for name in theirs), transpose=True),
        Entry(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)),
    ]


_LAYER = "encoder.layer.{layer}"
KEYS: list[Entry] = [
    Entry("tokens", ("embeddings.word_embeddings.weight",)),
    Entry("positions", ("embeddings.position_embeddings.weight",)),
    Entry("segments", ("embeddings.token_type_embeddings.weight",)),
    *_norm("norm", "embeddings.LayerNorm"),
    *_dense("blocks.qkv", *(f"{_LAYER}.attention.self.{name}" for name in ("query", "key", "value"))),
    *_dense("blocks.out", f"{_LAYER}.attention.output.dense"),
    *_norm("blocks.attention_norm", f"{_LAYER}.attention.output.LayerNorm"),
    *_dense("blocks.up", f"{_LAYER}.intermediate.dense"),
    *_dense("blocks.down", f"{_LAYER}.output.dense"),
    *_norm("blocks.norm", f"{_LAYER}.output.LayerNorm"),
]
"""Every weight of ours and the Hugging Face names it comes from."""

UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Foreign weights that no sentence vector depends on: a constant, and the next-sentence head."""
