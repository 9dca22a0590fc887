"""The Llama family: Llama, Mistral, Qwen2, Qwen3, and what was made of them (SmolLM2, Qwen3-Embedding, E5-Mistral).

Sources: Touvron et al. 2023, arXiv:2302.13971; Jiang et al. 2023, arXiv:2310.06825; Qwen team 2024, arXiv:2407.10671;
Qwen team 2025, arXiv:2505.09388.
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
from jaxemb.types import Backbone, Entry


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The shape of a Llama, Mistral, Qwen2 or Qwen3, by the names of Hugging Face's `config.json`.

    attention_bias: of all four products of attention; a `qwen2` has it on queries, keys and values only, and always.
    sliding_window: how many places a token sees, itself counted; with `is_causal` false, how many to either side.
    layer_types: which layers that window binds, where it does not bind all.
    is_causal: false where every token sees those after it, too.
    """

    model_type: str = "llama"
    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    rope_parameters: Rope = field(default_factory=Rope)
    attention_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int | None = None
    layer_types: tuple[str, ...] = ()
    is_causal: bool = True

    def __post_init__(self) -> None:
        if self.model_type not in NAMES:
            raise ValueError(f"model_type must be one of {list(NAMES)}, got {self.model_type!r}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_attention_heads} heads are no multiple of {self.num_key_value_heads} groups")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is unknown; there is {', '.join(ACTIVATIONS)}")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"sliding_window must be 1 or more, got {self.sliding_window}")
        check_direction("is_causal", self.is_causal)
        if self.layer_types:
            check_layers(self.layer_types, self.num_hidden_layers)
            if SLIDING in self.layer_types and self.sliding_window is None:
                raise ValueError("layer_types has sliding_attention, but sliding_window is None")

    @property
    def has_bias(self) -> tuple[bool, bool]:
        """Whether queries, keys and values have a bias, and whether what leaves attention has one."""
        return self.attention_bias or self.model_type == "qwen2", self.attention_bias

    @property
    def has_normed_heads(self) -> bool:
        """Whether every query head and key head is normed."""
        return self.model_type == "qwen3"

    @property
    def reaches(self) -> list[int]:
        """How many places off each layer sees."""
        if self.sliding_window is None:
            return [UNBOUNDED] * self.num_hidden_layers
        reach = self.sliding_window - 1 if self.is_causal else self.sliding_window
        layers = self.layer_types or (SLIDING,) * self.num_hidden_layers
        return [reach if layer == SLIDING else UNBOUNDED for layer in layers]


NAMES = ("llama", "mistral", "qwen2", "qwen3")
# What a file leaves out has the value that the reference gives it, which differs from model to model.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": {
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
    },
}
DEFAULTS["qwen3"] = DEFAULTS["qwen2"] | {"head_dim": 128}
# Keys that must have one value, because anything else is another model, or a key that the reference does not read.
FIXED: dict[str, dict[str, Any]] = {
    "llama": {"sliding_window": None, "layer_types": None, "is_llama_config": True, "rope_interleaved": False},
    "mistral": {"attention_bias": False, "mlp_bias": False, "layer_types": None},
    "qwen2": {"attention_bias": False, "mlp_bias": False},
    "qwen3": {"mlp_bias": False},
}
COMMON = {"use_bidirectional_attention": False}  # no model here reads it: `is_causal` says the same, and is read
ROPE = {"rope_theta", "rope_scaling"}
WINDOWS = {"use_sliding_window", "max_window_layers"}
IRRELEVANT = {"cache_implementation", "pretraining_tp", "transformers.js_config"}


def parse(config: Mapping[str, Any]) -> LlamaConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    name = config.get("model_type", "llama")
    if name not in NAMES:
        raise ValueError(f"llama config: model_type must be one of {list(NAMES)}, got {name!r}")
    # Null means what leaving the key out means, but for these: no window, as many groups as heads, and a refusal.
    nullable = ("sliding_window", "num_key_value_heads", "is_causal")
    told = {**DEFAULTS[name], **{key: told for key, told in config.items() if told is not None or key in nullable}}
    heads, width, layers, positions = (told.get(key, getattr(LlamaConfig, key)) for key in _SIZES)
    derived = {
        "num_key_value_heads": told.get("num_key_value_heads") or heads,
        "head_dim": told.get("head_dim", width // heads),
        "rope_parameters": rope.from_config(told, who=name, positions=positions),
    }
    if name in ("qwen2", "qwen3"):
        derived["sliding_window"], derived["layer_types"] = _windows(told, layers)
    return read(
        told,
        LlamaConfig,
        names=(name,),
        fixed={**FIXED[name], **COMMON},
        irrelevant=ROPE | IRRELEVANT | (WINDOWS if name in ("qwen2", "qwen3") else set()),
        model_type=name,
        **derived,
    )


_SIZES = ("num_attention_heads", "hidden_size", "num_hidden_layers", "max_position_embeddings")


def _windows(told: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[str, ...]]:
    """`sliding_window` and `layer_types` of a Qwen; no kinds where all layers are of one."""
    window = told["sliding_window"] if told.get("use_sliding_window", False) else None
    first = told.get("max_window_layers", 28) if window is not None else layers
    kinds = tuple(told.get("layer_types") or (SLIDING if i >= first else FULL for i in range(layers)))
    check_layers(kinds, layers)
    if window is None and SLIDING in kinds:
        raise ValueError(f"qwen config: layer_types has {SLIDING}, but use_sliding_window is false")
    if len(set(kinds)) == 1:
        return (window if kinds[0] == SLIDING else None), ()
    return window, kinds


def describe(config: LlamaConfig) -> dict[str, Any]:
    """The `config.json` of a shape, with the keys that every release of transformers reads."""
    told = asdict(config) | rope.describe(config.rope_parameters)
    del told["rope_parameters"], told["layer_types"]
    for key, value in {**FIXED[config.model_type], "is_causal": True}.items():
        if key in told and told[key] == value:
            del told[key]
    if config.model_type in ("qwen2", "qwen3") and config.sliding_window is not None:
        kinds = config.layer_types or (SLIDING,) * config.num_hidden_layers
        told |= {"use_sliding_window": True, "layer_types": list(kinds)}
    return {"architectures": [f"{config.model_type.capitalize()}Model"], **told}


class Block(nnx.Module):
    """Attention, then a gated feed-forward layer, each of the normed states and added to them."""

    def __init__(self, c: LlamaConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def norm(size: int) -> RMSNorm:
            return RMSNorm(size, epsilon=c.rms_norm_eps)

        self.causal = c.is_causal
        self.attention_norm = norm(c.hidden_size)
        self.attention = Attention(
            c.hidden_size,
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
            bias=c.has_bias,
            norm=norm if c.has_normed_heads else None,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = norm(c.hidden_size)
        self.gated = Gated(
            c.hidden_size,
            c.intermediate_size,
            act=c.hidden_act,
            bias=c.mlp_bias,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        x: Float[Array, "n d"],
        mask: Int[Array, "b t"],
        cos: Float[Array, "t r"],
        sin: Float[Array, "t r"],
        reach: Int[Array, ""],
    ) -> Float[Array, "n d"]:
        allowed = visible(mask.shape[1], reach, causal=self.causal)
        x = x + self.attention(self.attention_norm(x), mask, cos, sin, allowed)
        return x + self.gated(self.norm(x))


def llama(config: LlamaConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A Llama whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    Tokens see those before them, and with `is_causal` false those after them, too.
    """
    c, dtype = config, jnp.dtype(dtype)
    return layered(
        functional(lambda rngs: Embeddings(c.vocab_size, c.hidden_size, deviation=c.initializer_range, rngs=rngs)),
        stack(lambda rngs: Block(c, dtype=dtype, rngs=rngs), c.num_hidden_layers),
        shared=lambda params, tokens: c.rope_parameters.turns(tokens.ids.shape[1], c.head_dim),
        each=lambda params, tokens: jnp.asarray(c.reaches, jnp.int32),
        final=functional(lambda rngs: RMSNorm(c.hidden_size, epsilon=c.rms_norm_eps)),
    )


def keys(config: LlamaConfig) -> list[Entry]:
    """Every weight of ours and the Hugging Face names it comes from."""
    heads = config.num_attention_heads, config.num_key_value_heads
    return [
        Entry("embeddings.tokens.table", ("embed_tokens.weight",)),
        *norm("blocks.attention_norm", f"{LAYER}.input_layernorm", bias=False),
        *attention_entries(*heads, config.head_dim, bias=config.has_bias, normed=config.has_normed_heads),
        *norm("blocks.norm", f"{LAYER}.post_attention_layernorm", bias=False),
        *dense("blocks.gated.up", f"{LAYER}.mlp.gate_proj", f"{LAYER}.mlp.up_proj", bias=config.mlp_bias),
        *dense("blocks.gated.down", f"{LAYER}.mlp.down_proj", bias=config.mlp_bias),
        *norm("final", "norm", bias=False),
    ]


LLAMA = Family(
    names=NAMES,
    config=LlamaConfig,
    parse=parse,
    describe=describe,
    backbone=llama,
    keys=keys,
    prefix="model.",
    unused=UNUSED,
)
