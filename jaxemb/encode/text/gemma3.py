"""Gemma 3 text models and EmbeddingGemma: local and global layers, norms on both sides of every part.

Sources: Gemma team 2025, arXiv:2503.19786; Vera et al. 2025, arXiv:2509.20354.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, RMSNorm
from jaxemb.encode.stack import stack
from jaxemb.encode.text import rope
from jaxemb.encode.text.decoder import (
    FULL,
    LAYER,
    SLIDING,
    UNBOUNDED,
    UNUSED,
    Attention,
    Embeddings,
    Gated,
    attention_entries,
    check_direction,
    check_layers,
    visible,
)
from jaxemb.encode.text.rope import Rope
from jaxemb.types import Backbone, Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class Gemma3Config:
    """The shape of a Gemma 3 text model, by the names of Hugging Face's `config.json`.

    query_pre_attn_scalar: scores are divided by its square root.
    sliding_window: how many places a token of a local layer sees, itself counted; with `use_bidirectional_attention`,
      half of them to either side.
    layer_types: which layers are local (`sliding_attention`) and which global (`full_attention`), first to last.
    rope_parameters, rope_local_base_freq: rotary positions of the global layers, and the base of the local ones.
    use_bidirectional_attention: whether every token sees those after it, too, as in EmbeddingGemma.
    """

    vocab_size: int = 262208
    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 256
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 131072
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    attention_bias: bool = False
    query_pre_attn_scalar: int = 256
    sliding_window: int = 4096
    layer_types: tuple[str, ...]
    rope_parameters: Rope = field(default_factory=lambda: Rope(rope_theta=1_000_000.0))
    rope_local_base_freq: float = 10_000.0
    use_bidirectional_attention: bool = False

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_attention_heads} heads are no multiple of {self.num_key_value_heads} groups")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")
        if self.hidden_activation not in ACTIVATIONS:
            raise ValueError(f"hidden_activation {self.hidden_activation!r} is unknown: {', '.join(ACTIVATIONS)}")
        if self.sliding_window is None or self.sliding_window < 1:
            raise ValueError(f"sliding_window must be 1 or more, got {self.sliding_window}")
        check_direction("use_bidirectional_attention", self.use_bidirectional_attention)
        check_layers(self.layer_types, self.num_hidden_layers)

    @property
    def reaches(self) -> list[int]:
        """How many places off each layer sees."""
        local = self.sliding_window // 2 if self.use_bidirectional_attention else self.sliding_window - 1
        return [local if layer == SLIDING else UNBOUNDED for layer in self.layer_types]


# Keys that must have one value here, because anything else is another model.  `is_causal` is none of Gemma's own keys:
# false would be a bidirectional model with another window, so `use_bidirectional_attention` alone is to say it.
FIXED = {"is_causal": True, "attn_logit_softcapping": None, "final_logit_softcapping": None}
# Null means what leaving the key out means, but for these, where the reference takes it for something else.
NULL_IS_SAID = ("is_causal", "sliding_window")
IRRELEVANT = {"_sliding_window_pattern", "cache_implementation", "rope_scaling", "rope_theta", "sliding_window_pattern"}


def parse(config: Mapping[str, Any]) -> Gemma3Config:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    told = {key: value for key, value in config.items() if value is not None or key in NULL_IS_SAID}
    layers = told.get("num_hidden_layers", Gemma3Config.num_hidden_layers)
    every = told.get("sliding_window_pattern", 6)  # the reference writes it with an underscore, and reads it without
    kinds = told.get("layer_types") or [FULL if (i + 1) % every == 0 else SLIDING for i in range(layers)]
    positions = told.get("max_position_embeddings", Gemma3Config.max_position_embeddings)
    wide, local = _ropes(told, positions)
    return read(
        told,
        Gemma3Config,
        names=("gemma3_text",),
        fixed=FIXED,
        irrelevant=IRRELEVANT,
        layer_types=tuple(kinds),
        rope_parameters=wide,
        rope_local_base_freq=local,
    )


def _ropes(told: Mapping[str, Any], positions: int) -> tuple[Rope, float]:
    """The rope of global layers and the base of local ones, under the keys of either generation of transformers."""
    new, old = told.get("rope_parameters", {}), told.get("rope_scaling")
    if (new and old) or not {FULL, SLIDING}.issuperset(new):
        raise ValueError(
            f"gemma3_text config: wanted rope_parameters of {FULL} and {SLIDING}, or rope_scaling; got {new} and {old}"
        )
    who = "gemma3_text"
    wide = rope.parse(new.get(FULL) or old, who=who, theta=float(told.get("rope_theta", 1e6)), positions=positions)
    base = float(told.get("rope_local_base_freq", 1e4))
    local = rope.parse(new.get(SLIDING), who=who, theta=base, positions=positions)
    if local.rope_type != "default":
        raise ValueError(f"{who} config: the rope of {SLIDING} must be of type default, got {local.rope_type!r}")
    return wide, local.rope_theta


def describe(config: Gemma3Config) -> dict[str, Any]:
    """The `config.json` of a shape, with the keys that every release of transformers reads."""
    told = asdict(config) | rope.describe(config.rope_parameters)
    del told["rope_parameters"]
    told["layer_types"] = list(config.layer_types)
    return {"model_type": "gemma3_text", "architectures": ["Gemma3TextModel"], **told}


class Block(nnx.Module):
    """Attention, then a gated feed-forward layer, each normed before and after, and added to what it read."""

    def __init__(self, c: Gemma3Config, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def norm(size: int) -> RMSNorm:
            return RMSNorm(size, epsilon=c.rms_norm_eps, offset=1.0)

        self.causal = not c.use_bidirectional_attention
        self.attention_norm, self.attention_end_norm = norm(c.hidden_size), norm(c.hidden_size)
        self.attention = Attention(
            c.hidden_size,
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
            bias=(c.attention_bias, c.attention_bias),
            norm=norm,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
            scale=c.query_pre_attn_scalar**-0.5,
        )
        self.norm, self.end_norm = norm(c.hidden_size), norm(c.hidden_size)
        self.gated = Gated(
            c.hidden_size,
            c.intermediate_size,
            act=c.hidden_activation,
            bias=False,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        x: Float[Array, "n d"],
        mask: Int[Array, "b t"],
        cos: Float[Array, "2 t r"],
        sin: Float[Array, "2 t r"],
        own: tuple[Int[Array, ""], Int[Array, ""]],
    ) -> Float[Array, "n d"]:
        reach, is_local = own
        allowed = visible(mask.shape[1], reach, causal=self.causal)
        inner = self.attention(self.attention_norm(x), mask, cos[is_local], sin[is_local], allowed)
        x = x + self.attention_end_norm(inner)
        return x + self.end_norm(self.gated(self.norm(x)))


def gemma3(config: Gemma3Config, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A Gemma 3 whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    Tokens see those before them, and with `use_bidirectional_attention` those after them, too.
    """
    c, dtype = config, jnp.dtype(dtype)
    local = Rope(rope_theta=c.rope_local_base_freq)

    def turns(params: Params, tokens: Tokens) -> tuple[Float[Array, "2 t r"], Float[Array, "2 t r"]]:
        t = tokens.ids.shape[1]
        both = (c.rope_parameters.turns(t, c.head_dim), local.turns(t, c.head_dim))
        return jnp.stack([cos for cos, _ in both]), jnp.stack([sin for _, sin in both])

    def embeddings(rngs: nnx.Rngs) -> Embeddings:
        scale = c.hidden_size**0.5
        return Embeddings(c.vocab_size, c.hidden_size, deviation=c.initializer_range, scale=scale, rngs=rngs)

    is_local = [int(layer == SLIDING) for layer in c.layer_types]
    return layered(
        functional(embeddings),
        stack(lambda rngs: Block(c, dtype=dtype, rngs=rngs), c.num_hidden_layers),
        shared=turns,
        each=lambda params, tokens: (jnp.asarray(c.reaches, jnp.int32), jnp.asarray(is_local, jnp.int32)),
        final=functional(lambda rngs: RMSNorm(c.hidden_size, epsilon=c.rms_norm_eps, offset=1.0)),
    )


def keys(config: Gemma3Config) -> list[Entry]:
    """Every weight of ours and the Hugging Face names it comes from."""
    heads, bias = (config.num_attention_heads, config.num_key_value_heads), config.attention_bias
    return [
        Entry("embeddings.tokens.table", ("embed_tokens.weight",)),
        *norm("blocks.attention_norm", f"{LAYER}.input_layernorm", bias=False),
        *attention_entries(*heads, config.head_dim, bias=(bias, bias), normed=True),
        *norm("blocks.attention_end_norm", f"{LAYER}.post_attention_layernorm", bias=False),
        *norm("blocks.norm", f"{LAYER}.pre_feedforward_layernorm", bias=False),
        *dense("blocks.gated.up", f"{LAYER}.mlp.gate_proj", f"{LAYER}.mlp.up_proj", bias=False),
        *dense("blocks.gated.down", f"{LAYER}.mlp.down_proj", bias=False),
        *norm("blocks.end_norm", f"{LAYER}.post_feedforward_layernorm", bias=False),
        *norm("final", "norm", bias=False),
    ]


GEMMA3 = Family(
    names=("gemma3_text",),
    config=Gemma3Config,
    parse=parse,
    describe=describe,
    backbone=gemma3,
    keys=keys,
    prefix="model.",
    unused=UNUSED,
)
