"""Nomic BERT: a BERT with rotary positions and gated feed-forward layers.

Source: Nussbaum et al. 2024, arXiv:2402.01613.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, LayerNorm, Table, rotary
from jaxemb.encode.stack import stack
from jaxemb.encode.text import rope
from jaxemb.encode.text.decoder import Attention, Gated
from jaxemb.types import Backbone, Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class NomicBertConfig:
    """The shape of a Nomic BERT, by the names of Hugging Face's `config.json`.

    max_position_embeddings: the longest text that is meant; there is no table of positions.
    rope_theta: the base of the rotary positions.
    """

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    hidden_act: str = "silu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    rope_theta: float = 1000.0

    def __post_init__(self) -> None:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(f"hidden_size {self.hidden_size} gives no even size to {self.num_attention_heads} heads")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is unknown; there is {', '.join(ACTIVATIONS)}")


# Keys of the model's first files, which are GPT-2's and some of its own: what they are called since,
RENAMED = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
    "rotary_emb_base": "rope_theta",
}
# those that other keys came of,
RESHAPED = {
    "activation_function", "max_trained_positions", "n_positions", "pad_vocab_size_multiple", "rotary_scaling_factor",
}  # fmt: skip
GATES = {"swiglu": "silu", "geglu": "gelu"}
# what those files must say, because they mean another model where they are silent,
TOLD = {"rotary_emb_fraction": 1.0, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False}
# and what any file may say only so.
FIXED = {
    **TOLD,
    "rope_scaling": None,
    "prenorm": False,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_head_dim": False,
    "use_rms_norm": False,
    "norm_mlp": False,
    "causal": False,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "num_heads_kv": None,
    "num_experts": 0,
    "num_shared_experts": 0,
    "moe_every_n_layers": 0,
}
# Dropout, how products are computed, a head on top, the experts that there are none of; and what `parse` looks into.
IRRELEVANT = {
    "add_pooling_layer", "attn_pdrop", "auto_map", "dense_seq_output", "embd_pdrop", "expert_choice_router", "ffn_div",
    "fused_bias_fc", "fused_dropout_add_ln", "head_dim", "moe_impl", "moe_normalize_expert_weights",
    "moe_resid_pdrop", "moe_top_k", "reorder_and_upcast_attn", "resid_pdrop", "rope_parameters",
    "router_aux_loss_coef", "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
    "summary_use_proj", "use_flash_attn", "use_xentropy",
}  # fmt: skip


def parse(config: Mapping[str, Any]) -> NomicBertConfig:
    """Read a `config.json`, of the model's first files, of transformers' own, or with the keys of both.

    A file that stretches longer texts (`rotary_scaling_factor`) is read as a model of texts up to
    `max_trained_positions`, which it leaves as they are.

    Raises: ValueError for another model, by the key that says so, and for keys that contradict each other.
    """
    told = dict(config)
    if "n_embd" in told:
        for key, wanted in TOLD.items():
            if told.get(key) != wanted:
                raise ValueError(f"nomic_bert config: {key} must be {wanted!r}, got {told.get(key)!r}")
        told = _translated(told)
    if "rope_theta" in told:
        told["rope_theta"] = float(told["rope_theta"])
    theta = told.get("rope_theta", NomicBertConfig.rope_theta)
    base = rope.parse(told.get("rope_parameters"), who="nomic_bert", theta=theta, positions=0)
    if base.rope_type != "default":
        raise ValueError(f"nomic_bert config: rope_type must be 'default', got {base.rope_type!r}")
    _set(told, "rope_theta", base.rope_theta, "rope_parameters")
    if told.get("head_dim") is not None:
        size = told["head_dim"] * told.get("num_attention_heads", NomicBertConfig.num_attention_heads)
        _set(told, "hidden_size", size, "head_dim")
    return read(told, NomicBertConfig, names=("nomic_bert",), fixed=FIXED, irrelevant=IRRELEVANT)


def _set(told: dict[str, Any], key: str, value: Any, why: str) -> None:
    if told.setdefault(key, value) != value:
        raise ValueError(f"nomic_bert config: {key} is {told[key]!r}, but {value!r} by {why}")


def _translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the first files by the names that they have since, with the first files' defaults."""
    told = {key: value for key, value in config.items() if key not in RENAMED.keys() | RESHAPED}
    old = {"n_layer": 12, "n_head": 12, "layer_norm_epsilon": 1e-5, "rotary_emb_base": 10_000, **config}
    inner = config.get("n_inner") or int(8 * config["n_embd"] / 3)
    old["n_inner"] = _rounded(inner, 256)
    for key, name in RENAMED.items():
        _set(told, name, old[key], key)
    gate = config.get("activation_function", "gelu_new")
    if gate not in GATES:
        raise ValueError(f"nomic_bert config: activation_function must be one of {list(GATES)}, got {gate!r}")
    _set(told, "hidden_act", GATES[gate], "activation_function")
    told["vocab_size"] = _rounded(config.get("vocab_size", 50257), config.get("pad_vocab_size_multiple", 1))
    told["max_position_embeddings"] = config.get("n_positions", 1024)
    if config.get("rotary_scaling_factor"):
        told["max_position_embeddings"] = config.get("max_trained_positions", 2048)
    return told


def _rounded(size: int, multiple: int) -> int:
    """`size`, rounded up as the first files' code rounds the sizes of its matrices."""
    return -(-size // multiple) * multiple


def describe(config: NomicBertConfig) -> dict[str, Any]:
    """The `config.json` of a shape, with the keys that transformers has for it."""
    told = asdict(config)
    rope_parameters = {"rope_type": "default", "rope_theta": told.pop("rope_theta")}
    return {
        "model_type": "nomic_bert",
        "architectures": ["NomicBertModel"],
        **told,
        "rope_parameters": rope_parameters,
        "pad_token_id": 0,
    }


class Embeddings(nnx.Module):
    """Token and segment embeddings, summed and normed; positions are the attention's business."""

    def __init__(self, c: NomicBertConfig, *, rngs: nnx.Rngs) -> None:
        self.tokens = Table(c.vocab_size, c.hidden_size, scale=c.initializer_range, rngs=rngs)
        self.segments = Table(c.type_vocab_size, c.hidden_size, scale=c.initializer_range, rngs=rngs)
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        first = self.segments.table[...][None, :1]
        states = self.tokens(tokens.ids) + (first if tokens.segments is None else self.segments(tokens.segments))
        return self.norm(states.reshape(-1, states.shape[-1]))


class Block(nnx.Module):
    """Attention, then a gated feed-forward layer, each added to its input and normed after."""

    def __init__(self, c: NomicBertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.attention = Attention(
            c.hidden_size,
            c.num_attention_heads,
            c.num_attention_heads,
            c.hidden_size // c.num_attention_heads,
            bias=(False, False),
            norm=None,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )
        self.attention_norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)
        self.gated = Gated(
            c.hidden_size,
            c.intermediate_size,
            act=c.hidden_act,
            bias=False,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = LayerNorm(c.hidden_size, epsilon=c.layer_norm_eps)

    def __call__(
        self,
        x: Float[Array, "n d"],
        mask: Int[Array, "b t"],
        cos: Float[Array, "t r"],
        sin: Float[Array, "t r"],
        allowed: Bool[Array, "t t"],
    ) -> Float[Array, "n d"]:
        x = self.attention_norm(x + self.attention(x, mask, cos, sin, allowed))
        return self.norm(x + self.gated(x))


def nomic_bert(config: NomicBertConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A Nomic BERT whose params are float32 and whose products run in `dtype` (float32 or bfloat16)."""
    dtype = jnp.dtype(dtype)

    def shared(params: Params, tokens: Tokens) -> tuple[Array, ...]:
        t, size = tokens.ids.shape[1], config.hidden_size // config.num_attention_heads
        return *rotary(t, size, config.rope_theta), jnp.ones((t, t), bool)

    return layered(
        functional(lambda rngs: Embeddings(config, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.num_hidden_layers),
        shared=shared,
    )


_LAYER = "encoder.layers.{layer}"
KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("embeddings.word_embeddings.weight",)),
    Entry("embeddings.segments.table", ("embeddings.token_type_embeddings.weight",)),
    *norm("embeddings.norm", "emb_ln"),
    *dense("blocks.attention.qkv", f"{_LAYER}.attn.Wqkv", bias=False),
    *dense("blocks.attention.out", f"{_LAYER}.attn.out_proj", bias=False),
    *norm("blocks.attention_norm", f"{_LAYER}.norm1"),
    *dense("blocks.gated.up", f"{_LAYER}.mlp.fc12", f"{_LAYER}.mlp.fc11", bias=False),  # what is activated goes first
    *dense("blocks.gated.down", f"{_LAYER}.mlp.fc2", bias=False),
    *norm("blocks.norm", f"{_LAYER}.norm2"),
]
"""Every weight of ours and the names it comes from: those of the model's first files, which transformers writes too."""

NOMIC_BERT = Family(
    names=("nomic_bert",),
    config=NomicBertConfig,
    parse=parse,
    describe=describe,
    backbone=nomic_bert,
    keys=lambda config: KEYS,
    prefix="nomic_bert.",
    former=("bert.",),
    unused=("pooler.dense.weight", "pooler.dense.bias"),
)
