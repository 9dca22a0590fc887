"""Blocks of self-attention upon other layers, as convolutions with attention above them."""

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.small.extended import Layer
from jaxemb.encode.stack import stack
from jaxemb.encode.text.bert import BertConfig, Block
from jaxemb.types import Params


def self_attention(config: BertConfig, *, dtype: DTypeLike = jnp.float32) -> Layer:
    """The blocks of a BERT without its embeddings; states of `hidden_size` in and out.

    Attention does not see order: positions, or a convolution, go below.
    Params are those of `bert` under `blocks`; the vocabulary and the positions of the shape are not read.
    """
    blocks = stack(lambda rngs: Block(config, dtype=jnp.dtype(dtype), rngs=rngs), config.num_hidden_layers)

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        return blocks.last(params, states.reshape(-1, states.shape[-1]), mask).reshape(states.shape)

    return Layer(blocks.init, apply)
