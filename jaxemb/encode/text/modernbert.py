"""ModernBERT: rotary positions, gated feed-forward layers, and attention that is local in most layers.

Source: Warner et al. 2024, arXiv:2412.13663.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.functional import Functional, functional
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, LayerNorm, Table, rotary
from jaxemb.encode.stack import stack
from jaxemb.encode.text import rope
from jaxemb.encode.text.decoder import FULL, SLIDING, UNBOUNDED, Attention, Gated, check_layers, visible
from jaxemb.types import Backbone, Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig:
    """The shape of a ModernBERT, by the names that Hugging Face's `config.json` has or had.

    layer_types: which layers are local (`sliding_attention`) and which global (`full_attention`), first to last.
    local_attention: how many places a token of a local layer sees, half of them (rounded down) to either side; itself
      is not counted.
    global_rope_theta, local_rope_theta: the base of the rotary positions of either kind of layer.
    """

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    layer_types: tuple[str, ...] = (FULL, SLIDING, SLIDING) * 7 + (FULL,)
    local_attention: int = 128
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(f"hidden_size {self.hidden_size} gives no even size to {self.num_attention_heads} heads")
        if self.hidden_activation not in ACTIVATIONS:
            raise ValueError(f"hidden_activation {self.hidden_activation!r} is unknown: {', '.join(ACTIVATIONS)}")
        if self.num_hidden_layers < 2:
            raise ValueError(f"num_hidden_layers must be 2 or more, got {self.num_hidden_layers}")
        check_layers(self.layer_types, self.num_hidden_layers)


FIXED = {"rope_scaling": None}
# What no state reads: dropout, heads on top, how training went; and keys that `parse` looks into.
IRRELEVANT = {
    "classifier_activation", "classifier_bias", "classifier_pooling", "cls_token_id", "decoder_bias",
    "deterministic_flash_attn", "embedding_dropout", "global_attn_every_n_layers", "initializer_cutoff_factor",
    "layer_norm_eps", "mlp_dropout", "position_embedding_type", "reference_compile", "repad_logits_with_grad",
    "rope_parameters", "sparse_pred_ignore_index", "sparse_prediction",
}  # fmt: skip


def parse(config: Mapping[str, Any]) -> ModernBertConfig:
    """Read a `config.json` of either generation of transformers.

    Raises: ValueError for another model, by the key that says so, and for keys that contradict each other.
    """
    eps = config.get("norm_eps", ModernBertConfig.norm_eps)
    if config.get("layer_norm_eps", eps) != eps:  # many files have it, and the reference does not read it
        raise ValueError(f"modernbert config: layer_norm_eps {config['layer_norm_eps']} is not norm_eps {eps}")
    wide, local = _bases(config)
    return read(
        config,
        ModernBertConfig,
        names=("modernbert",),
        fixed=FIXED,
        irrelevant=IRRELEVANT,
        layer_types=_types(config),
        global_rope_theta=wide,
        local_rope_theta=local,
    )


def _counted(layers: int, every: int) -> tuple[str, ...]:
    return tuple(SLIDING if i % every else FULL for i in range(layers))


def _types(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Which layers are global: as newer files list them, or every so many as older ones say."""
    every = config.get("global_attn_every_n_layers", 3)
    counted = _counted(config.get("num_hidden_layers", ModernBertConfig.num_hidden_layers), every)
    listed = tuple(config.get("layer_types") or counted)
    if "global_attn_every_n_layers" in config and listed != counted:
        raise ValueError(f"modernbert config: global_attn_every_n_layers {every} is not what layer_types has: {listed}")
    return listed


def _bases(config: Mapping[str, Any]) -> tuple[float, float]:
    """The rotary bases of global and of local layers; a local one that older files leave null is the global one."""
    wide = config.get("global_rope_theta", ModernBertConfig.global_rope_theta)
    local = config.get("local_rope_theta", ModernBertConfig.local_rope_theta)
    old = {FULL: wide, SLIDING: wide if local is None else local}
    new = config.get("rope_parameters") or {}
    if not old.keys() >= new.keys():
        raise ValueError(f"modernbert config: wanted rope_parameters of {FULL} and {SLIDING}, got {sorted(new)}")
    for kind, key in ((FULL, "global_rope_theta"), (SLIDING, "local_rope_theta")):
        told = rope.parse(new.get(kind), who="modernbert", theta=float(old[kind]), positions=0)
        if told.rope_type != "default":
            raise ValueError(f"modernbert config: the rope of {kind} must be of type default, got {told.rope_type!r}")
        if key in config and told.rope_theta != old[kind]:
            raise ValueError(f"modernbert config: {key} {old[kind]} is not the rope_theta of {kind}, {told.rope_theta}")
        old[kind] = told.rope_theta
    return float(old[FULL]), float(old[SLIDING])


def describe(config: ModernBertConfig) -> dict[str, Any]:
    """The `config.json` of a shape, with the keys of either generation of transformers, if the older had one for it."""
    told = asdict(config)
    layers = config.num_hidden_layers
    every = next((n for n in range(1, layers + 1) if _counted(layers, n) == config.layer_types), None)
    special = dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "pad_token_id", "sep_token_id"))
    bases = {FULL: config.global_rope_theta, SLIDING: config.local_rope_theta}
    return {
        "model_type": "modernbert",
        "architectures": ["ModernBertModel"],
        **told,
        **special,
        "layer_types": list(config.layer_types),
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        **({} if every is None else {"global_attn_every_n_layers": every}),
    }


class Embeddings(nnx.Module):
    """Token embeddings, normed; positions are the attention's business."""

    def __init__(self, c: ModernBertConfig, *, rngs: nnx.Rngs) -> None:
        self.tokens = Table(c.vocab_size, c.hidden_size, scale=c.initializer_range, rngs=rngs)
        self.norm = LayerNorm(c.hidden_size, epsilon=c.norm_eps, bias=c.norm_bias)

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        states = self.tokens(tokens.ids)
        return self.norm(states.reshape(-1, states.shape[-1]))


class Own(NamedTuple):
    """What differs from layer to layer.

    norm: params of the norm before attention.
    is_first: whether there is no such norm, because the embeddings' stands there.
    is_local: which rotary positions to read.
    reach: how many places off a token sees.
    """

    norm: Params
    is_first: Bool[Array, "*l"]
    is_local: Int[Array, "*l"]
    reach: Int[Array, "*l"]


class Block(nnx.Module):
    """Attention, then a gated feed-forward layer, each of the normed states and added to them."""

    def __init__(self, c: ModernBertConfig, *, before: Functional, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.normed = before.apply
        self.attention = Attention(
            c.hidden_size,
            c.num_attention_heads,
            c.num_attention_heads,
            c.hidden_size // c.num_attention_heads,
            bias=(c.attention_bias, c.attention_bias),
            norm=None,
            deviation=c.initializer_range,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = LayerNorm(c.hidden_size, epsilon=c.norm_eps, bias=c.norm_bias)
        self.gated = Gated(
            c.hidden_size,
            c.intermediate_size,
            act=c.hidden_activation,
            bias=c.mlp_bias,
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
        own: Own,
    ) -> Float[Array, "n d"]:
        inner = jnp.where(own.is_first, x, self.normed(own.norm, "__call__", x))
        allowed = visible(mask.shape[1], own.reach, causal=False)
        x = x + self.attention(inner, mask, cos[own.is_local], sin[own.is_local], allowed)
        return x + self.gated(self.norm(x))


def modernbert(config: ModernBertConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A ModernBERT whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    The first of the hidden states are the normed embeddings, the last has the final norm behind it.  Which of two
    joined texts a token belongs to it does not read.
    """
    c, dtype = config, jnp.dtype(dtype)
    before = functional(lambda rngs: LayerNorm(c.hidden_size, epsilon=c.norm_eps, bias=c.norm_bias))
    local = np.array([kind == SLIDING for kind in c.layer_types])
    reach = np.where(local, c.local_attention // 2, UNBOUNDED)

    def turns(params: Params, tokens: Tokens) -> tuple[Float[Array, "2 t r"], Float[Array, "2 t r"]]:
        t, size = tokens.ids.shape[1], c.hidden_size // c.num_attention_heads
        both = [rotary(t, size, base) for base in (c.global_rope_theta, c.local_rope_theta)]
        return jnp.stack([cos for cos, _ in both]), jnp.stack([sin for _, sin in both])

    def each(params: Params, tokens: Tokens) -> Own:
        rows = jax.tree.map(lambda some: jnp.concatenate([jnp.zeros_like(some[:1]), some]), params["attention_norms"])
        is_first = jnp.arange(c.num_hidden_layers) == 0
        return Own(rows, is_first, jnp.asarray(local, jnp.int32), jnp.asarray(reach, jnp.int32))

    def norms(key: Array) -> Params:
        return jax.vmap(before.init)(jax.random.split(key, c.num_hidden_layers - 1))

    return layered(
        functional(lambda rngs: Embeddings(c, rngs=rngs)),
        stack(lambda rngs: Block(c, before=before, dtype=dtype, rngs=rngs), c.num_hidden_layers),
        shared=turns,
        each=each,
        final=before,
        others={"attention_norms": norms},
    )


def keys(config: ModernBertConfig) -> list[Entry]:
    """Every weight of ours and the Hugging Face names it comes from."""
    layer, biased = "layers.{layer}", config.norm_bias
    return [
        Entry("embeddings.tokens.table", ("embeddings.tok_embeddings.weight",)),
        *norm("embeddings.norm", "embeddings.norm", bias=biased),
        *(entry._replace(first=1) for entry in norm("attention_norms", f"{layer}.attn_norm", bias=biased)),
        *dense("blocks.attention.qkv", f"{layer}.attn.Wqkv", bias=config.attention_bias),
        *dense("blocks.attention.out", f"{layer}.attn.Wo", bias=config.attention_bias),
        *norm("blocks.norm", f"{layer}.mlp_norm", bias=biased),
        *dense("blocks.gated.up", f"{layer}.mlp.Wi", bias=config.mlp_bias),
        *dense("blocks.gated.down", f"{layer}.mlp.Wo", bias=config.mlp_bias),
        *norm("final", "final_norm", bias=biased),
    ]


MODERNBERT = Family(
    names=("modernbert",),
    config=ModernBertConfig,
    parse=parse,
    describe=describe,
    backbone=modernbert,
    keys=keys,
    prefix="model.",
)
