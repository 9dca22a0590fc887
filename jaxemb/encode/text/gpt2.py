"""GPT-2: learnt positions, norms before every part.  Source: Radford et al. 2019, section 2.3."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.encode.family import Family, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, Table, attention, causal, heads, merged
from jaxemb.encode.stack import stack
from jaxemb.encode.text.decoder import check_direction
from jaxemb.types import Backbone, Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The shape of a GPT-2, by the names of Hugging Face's `config.json`.

    n_inner: the width of the feed-forward layer; None for four times `n_embd`.
    is_causal: false where every token sees those after it, too.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    is_causal: bool = True

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is no multiple of {self.n_head} heads")
        if self.activation_function not in ACTIVATIONS:
            raise ValueError(f"activation_function {self.activation_function!r} is unknown: {', '.join(ACTIVATIONS)}")
        check_direction("is_causal", self.is_causal)

    @property
    def hidden_size(self) -> int:
        """Dimensions of a state, by the name it has elsewhere."""
        return self.n_embd

    @property
    def max_position_embeddings(self) -> int:
        """The longest text, by the name it has elsewhere."""
        return self.n_positions


# Keys that must have one value here, because anything else is another model.
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "use_bidirectional_attention": False,  # no GPT-2 reads it: `is_causal` says the same, and is read
}
# Dropout, a head on top, the order of rounding, and a second name for `n_positions`.
IRRELEVANT = {
    "attn_pdrop", "embd_pdrop", "n_ctx", "reorder_and_upcast_attn", "resid_pdrop", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
}  # fmt: skip


def parse(config: Mapping[str, Any]) -> GPT2Config:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, GPT2Config, names=("gpt2",), fixed=FIXED, irrelevant=IRRELEVANT)


def describe(config: GPT2Config) -> dict[str, Any]:
    """The `config.json` of a shape."""
    told = asdict(config)
    if config.is_causal:
        del told["is_causal"]
    return {"model_type": "gpt2", "architectures": ["GPT2Model"], **told}


class Embeddings(nnx.Module):
    """Token and position embeddings, summed."""

    def __init__(self, c: GPT2Config, *, rngs: nnx.Rngs) -> None:
        self.tokens = Table(c.vocab_size, c.n_embd, scale=c.initializer_range, rngs=rngs)
        self.positions = Table(c.n_positions, c.n_embd, scale=c.initializer_range, rngs=rngs)
        self.most = c.n_positions

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        t = tokens.ids.shape[1]
        if t > self.most:
            raise ValueError(f"gpt2: {t} tokens a text, but only {self.most} positions; truncate first")
        states = self.tokens(tokens.ids) + self.positions.table[...][None, :t]
        return states.reshape(-1, states.shape[-1])


class Block(nnx.Module):
    """Attention, then a feed-forward layer, each of the normed states and added to them."""

    def __init__(self, c: GPT2Config, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def dense(inputs: int, outputs: int) -> Dense:
            return Dense(inputs, outputs, scale=c.initializer_range, dtype=dtype, rngs=rngs)

        inner = c.n_inner or 4 * c.n_embd
        self.heads, self.dtype, self.act = c.n_head, dtype, ACTIVATIONS[c.activation_function]
        self.attention_norm = LayerNorm(c.n_embd, epsilon=c.layer_norm_epsilon)
        self.qkv = dense(c.n_embd, 3 * c.n_embd)  # one product for all three
        self.out = dense(c.n_embd, c.n_embd)
        self.norm = LayerNorm(c.n_embd, epsilon=c.layer_norm_epsilon)
        self.up = dense(c.n_embd, inner)
        self.down = dense(inner, c.n_embd)

    def __call__(
        self, x: Float[Array, "n d"], mask: Int[Array, "b t"], allowed: Bool[Array, "t t"]
    ) -> Float[Array, "n d"]:
        parts = jnp.split(self.qkv(self.attention_norm(x)), 3, axis=-1)
        query, key, value = (heads(part, mask, self.heads, self.dtype) for part in parts)
        x = x + self.out(merged(attention(query, key, value, mask, allowed=allowed)))
        return x + self.down(self.act(self.up(self.norm(x))))


def gpt2(config: GPT2Config, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A GPT-2 whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    Tokens see those before them, and with `is_causal` false those after them, too.
    Raises: ValueError for a batch longer than the position table.
    """
    dtype = jnp.dtype(dtype)

    def allowed(params: Params, tokens: Tokens) -> tuple[Bool[Array, "t t"]]:
        t = tokens.ids.shape[1]
        return (causal(t) if config.is_causal else jnp.ones((t, t), bool),)

    return layered(
        functional(lambda rngs: Embeddings(config, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.n_layer),
        shared=allowed,
        final=functional(lambda rngs: LayerNorm(config.n_embd, epsilon=config.layer_norm_epsilon)),
    )


def _conv(ours: str, theirs: str) -> list[Entry]:
    """The entries of a product that is stored (in, out), as ours."""
    return [Entry(f"{ours}.kernel", (f"{theirs}.weight",)), Entry(f"{ours}.bias", (f"{theirs}.bias",))]


_LAYER = "h.{layer}"
KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("wte.weight",)),
    Entry("embeddings.positions.table", ("wpe.weight",)),
    *norm("blocks.attention_norm", f"{_LAYER}.ln_1"),
    *_conv("blocks.qkv", f"{_LAYER}.attn.c_attn"),
    *_conv("blocks.out", f"{_LAYER}.attn.c_proj"),
    *norm("blocks.norm", f"{_LAYER}.ln_2"),
    *_conv("blocks.up", f"{_LAYER}.mlp.c_fc"),
    *_conv("blocks.down", f"{_LAYER}.mlp.c_proj"),
    *norm("final", "ln_f"),
]
"""Every weight of ours and the Hugging Face names it comes from."""

UNUSED = ("lm_head.weight", "h.*.attn.bias", "h.*.attn.masked_bias")
"""Foreign weights that no token state depends on: what guesses the next token, and older files' masks."""

GPT2 = Family(
    names=("gpt2",),
    config=GPT2Config,
    parse=parse,
    describe=describe,
    backbone=gpt2,
    keys=lambda config: KEYS,
    prefix="transformer.",
    unused=UNUSED,
)
