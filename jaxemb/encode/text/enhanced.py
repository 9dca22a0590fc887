"""Enhanced decoding: one layer that writes a text again from its vector and what little each place may see."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from jaxemb.encode.functional import functional
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, attention, heads, merged
from jaxemb.encode.text.bert import BertConfig, Embeddings
from jaxemb.types import Params, Tokens


class EnhancedDecoder(NamedTuple):
    """A decoder that shares the embeddings of its encoder.

    init: key -> params.
    apply: (params, the encoder's `embeddings`, text vectors `[b, d]`, tokens as they were, what each place sees
      `[b, t, t]`) -> states `[b, t, d]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Params, Float[Array, "b d"], Tokens, Bool[Array, "b t t"]], Float[Array, "b t d"]]


class _Across(nnx.Module):
    """A block whose queries come from one stream, and its keys and values from another."""

    def __init__(self, c: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def dense(inputs: int, outputs: int) -> Dense:
            return Dense(inputs, outputs, scale=c.initializer_range, dtype=dtype, rngs=rngs)

        d, self.heads, self.dtype, self.act = c.hidden_size, c.num_attention_heads, dtype, ACTIVATIONS[c.hidden_act]
        self.query, self.key, self.value, self.out = dense(d, d), dense(d, d), dense(d, d), dense(d, d)
        self.attention_norm = LayerNorm(d, epsilon=c.layer_norm_eps)
        self.up, self.down = dense(d, c.intermediate_size), dense(c.intermediate_size, d)
        self.norm = LayerNorm(d, epsilon=c.layer_norm_eps)

    def __call__(
        self, query: Float[Array, "n d"], other: Float[Array, "n d"], seen: Bool[Array, "b t t"]
    ) -> Float[Array, "n d"]:
        b, t = seen.shape[:2]
        mask = jnp.ones((b, t), jnp.int32)  # `seen` leaves out padding
        q, k, v = (
            heads(x, mask, self.heads, self.dtype) for x in (self.query(query), self.key(other), self.value(other))
        )
        x = self.attention_norm(query + self.out(merged(attention(q, k, v, mask, allowed=seen))))
        return self.norm(x + self.down(self.act(self.up(x))))


def enhanced_decoder(config: BertConfig, *, pad: int | None = None, dtype: DTypeLike = jnp.float32) -> EnhancedDecoder:
    """One layer of a BERT's shape, with weights of its own.

    Queries are the text's vector at every place, dressed as an embedding is; keys and values the embeddings of the
    tokens as they were, but at the first place the text's vector.  Gradients reach the encoder through that vector.

    Args:
      config, pad: of the encoder, as `bert` has them.
    Source: Xiao et al. 2022, arXiv:2205.12035 (RetroMAE), eq. 3-6; the norm of the queries as in the code of its
      second version, arXiv:2211.08769.
    """
    embeddings = functional(lambda rngs: Embeddings(config, pad=pad, rngs=rngs))
    block = functional(lambda rngs: _Across(config, dtype=jnp.dtype(dtype), rngs=rngs))

    def apply(
        params: Params, shared: Params, text: Float[Array, "b d"], tokens: Tokens, seen: Bool[Array, "b t t"]
    ) -> Float[Array, "b t d"]:
        b, t = tokens.ids.shape
        if seen.shape != (b, t, t):
            raise ValueError(f"enhanced_decoder: what is seen must be {(b, t, t)}, got {seen.shape}")
        everywhere = jnp.broadcast_to(text[:, None, :], (b, t, text.shape[1]))
        query = embeddings.apply(shared, "around", everywhere, tokens)
        other = embeddings.apply(shared, "__call__", tokens).reshape(b, t, -1)
        other = jnp.concatenate([text[:, None, :].astype(other.dtype), other[:, 1:]], axis=1)
        return block.apply(params, "__call__", query, other.reshape(b * t, -1), seen).reshape(b, t, -1)

    return EnhancedDecoder(block.init, apply)
