"""SigLIP: two towers trained by one sigmoid a pair.  Source: Zhai et al. 2023, arXiv:2303.15343.

The checkpoints of SigLIP 2 whose images have one size are of this family, too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax.numpy as jnp
import jax.random
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode.family import dense, norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.image.clip import TEXT_KEYS
from jaxemb.encode.image.pairs import IRRELEVANT, TextEmbeddings, inner, pair
from jaxemb.encode.image.patches import (
    CLIP_BLOCKS,
    SCALE,
    Block,
    Embeddings,
    check_squares,
    check_width,
    over_rows,
    patched,
    patches,
)
from jaxemb.encode.image.tower import ImageFamily, Pair, Tower, below
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm, attention, merged
from jaxemb.encode.stack import stack
from jaxemb.types import Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class SiglipTextConfig:
    """The shape of the text tower, by the names of Hugging Face's `config.json`.

    pad_token_id: what fills a text up to all positions, which the encoder reads; a folder's tokenizer knows it best.
    """

    vocab_size: int = 32000
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 64
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    pad_token_id: int = 1
    projection_size: int | None = None

    def __post_init__(self) -> None:
        check_width(self)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.hidden_size if self.projection_size is None else self.projection_size


@dataclass(frozen=True, kw_only=True)
class SiglipVisionConfig:
    """The shape of the vision tower, by the names of Hugging Face's `config.json`."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_squares(self)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.hidden_size


@dataclass(frozen=True, kw_only=True)
class SiglipConfig:
    """The shapes of both towers."""

    text_config: SiglipTextConfig = field(default_factory=SiglipTextConfig)
    vision_config: SiglipVisionConfig = field(default_factory=SiglipVisionConfig)

    def __post_init__(self) -> None:
        one, other = self.text_config.size, self.vision_config.size
        if one != other:
            raise ValueError(f"both towers must give vectors of one size, got {one} for texts and {other} for images")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.vision_config.size


def parse(config: Mapping[str, Any]) -> SiglipConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""

    def tower(name: str, shape: type[Any], fixed: dict[str, Any]) -> Any:
        told = inner(config, f"{name}_config")
        return read(told, shape, names=(f"siglip_{name}_model",), fixed=fixed, irrelevant=IRRELEVANT)

    return read(
        config,
        SiglipConfig,
        names=("siglip",),
        fixed={},
        irrelevant={"initializer_factor"},
        text_config=tower("text", SiglipTextConfig, {}),
        vision_config=tower("vision", SiglipVisionConfig, {"vision_use_head": True}),
    )


def describe(config: SiglipConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {
        "model_type": "siglip",
        "architectures": ["SiglipModel"],
        "text_config": {"model_type": "siglip_text_model", **asdict(config.text_config)},
        "vision_config": {"model_type": "siglip_vision_model", "vision_use_head": True, **asdict(config.vision_config)},
    }


def filled(tokens: Tokens, length: int, pad: int) -> Tokens:
    """Texts of `length` tokens each, all of which are read: what is not of a text is `pad`, as in training.

    Raises: ValueError for a batch that is longer.
    """
    b, t = tokens.ids.shape
    if t > length:
        raise ValueError(f"{t} tokens a text, but only {length} positions; truncate first")
    ids = jnp.where(jnp.asarray(tokens.mask) > 0, jnp.asarray(tokens.ids), pad)
    ids = jnp.pad(ids, ((0, 0), (0, length - t)), constant_values=pad)
    return Tokens(ids, jnp.ones((b, length), jnp.int32))


def siglip_text(config: SiglipTextConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """The text tower: every text is filled up to all positions, and the state of the last one is the text's.

    Its states have as many places as there are positions, whatever the batch.
    Raises: ValueError for a batch longer than the position table.
    """
    dtype, d, positions = jnp.dtype(dtype), config.hidden_size, config.max_position_embeddings
    head = functional(lambda rngs: Dense(d, config.size, scale=d**-0.5, dtype=dtype, rngs=rngs))
    backbone = layered(
        functional(lambda rngs: TextEmbeddings(config.vocab_size, d, positions, scale=SCALE, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.num_hidden_layers),
        final=functional(lambda rngs: LayerNorm(d, epsilon=config.layer_norm_eps)),
        others={"head": head.init},
    )

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        states = backbone.apply(params, filled(tokens, positions, config.pad_token_id))
        return head.apply(params["head"], "__call__", states[:, -1])

    def hidden(params: Params, tokens: Tokens) -> Float[Array, "l b t d"]:
        return backbone.hidden(params, filled(tokens, positions, config.pad_token_id))

    return Tower(backbone.init, apply, hidden)


class Head(nnx.Module):
    """A learnt row that attends to all states, then a feed-forward layer.

    Source: Lee et al. 2019, arXiv:1810.00825, sec. 3.2, with one seed.
    """

    def __init__(self, c: SiglipVisionConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def product(inputs: int, outputs: int) -> Dense:
            return Dense(inputs, outputs, scale=SCALE, dtype=dtype, rngs=rngs)

        d = c.hidden_size
        self.probe = nnx.Param(SCALE * jax.random.normal(rngs.params(), (1, 1, d)))
        self.qkv, self.out = product(d, 3 * d), product(d, d)
        self.norm = LayerNorm(d, epsilon=c.layer_norm_eps)
        self.up, self.down = product(d, c.intermediate_size), product(c.intermediate_size, d)
        self.heads, self.dtype, self.act = c.num_attention_heads, dtype, ACTIVATIONS[c.hidden_act]

    def __call__(self, states: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        b, n, d = states.shape
        # The probe goes first through the same product; only its query is read, and only the others' keys and values.
        probe = jnp.broadcast_to(self.probe[...].astype(states.dtype), (b, 1, d))
        rows = jnp.concatenate([probe, states], axis=1).reshape(b * (n + 1), d)
        split = self.qkv(rows).astype(self.dtype).reshape(b, n + 1, 3, self.heads, -1)
        query, key, value = split.transpose(2, 0, 3, 1, 4)
        every = jnp.ones((b, n), jnp.int32)
        x = self.out(merged(attention(query[:, :, :1], key[:, :, 1:], value[:, :, 1:], every)))
        return x + self.down(self.act(self.up(self.norm(x))))


def siglip_vision(config: SiglipVisionConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """The vision tower: an image's vector is what a learnt row gathers from the normed states of its patches.

    Raises: ValueError for images of another size.
    """
    dtype, d = jnp.dtype(dtype), config.hidden_size
    final = functional(lambda rngs: LayerNorm(d, epsilon=config.layer_norm_eps))
    head = functional(lambda rngs: Head(config, dtype=dtype, rngs=rngs))
    normed, places = over_rows(final), (patches(config), d)

    def finished(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        return normed(params["final"], states)

    def vector(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        return head.apply(params["head"], "__call__", states)

    return patched(
        functional(lambda rngs: Embeddings(config, first=None, places=places, bias=True, dtype=dtype, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.num_hidden_layers),
        finished=finished,
        vector=vector,
        others={"final": final.init, "head": head.init},
    )


def siglip(config: SiglipConfig, *, dtype: DTypeLike = jnp.float32) -> Pair:
    """Both towers, whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    A logit is the cosine of a text and an image times `exp(scale)`, plus `bias`: that of one sigmoid.
    """
    return pair(
        siglip_text(config.text_config, dtype=dtype),
        siglip_vision(config.vision_config, dtype=dtype),
        {"scale": lambda: jnp.log(jnp.full(1, 10.0)), "bias": lambda: jnp.full(1, -10.0)},  # sec. 3.2
    )


VISION_KEYS: list[Entry] = [
    Entry("embeddings.kernel", ("embeddings.patch_embedding.weight",), transpose=(2, 3, 1, 0)),
    Entry("embeddings.bias", ("embeddings.patch_embedding.bias",)),
    Entry("embeddings.places", ("embeddings.position_embedding.weight",)),
    *CLIP_BLOCKS,
    *norm("final", "post_layernorm"),
    Entry("head.probe", ("head.probe",)),
    Entry("head.qkv.kernel", ("head.attention.in_proj_weight",), transpose=True),
    Entry("head.qkv.bias", ("head.attention.in_proj_bias",)),
    *dense("head.out", "head.attention.out_proj"),
    *norm("head.norm", "head.layernorm"),
    *dense("head.up", "head.mlp.fc1"),
    *dense("head.down", "head.mlp.fc2"),
]
"""The vision tower's, without `vision_model.`."""

KEYS: list[Entry] = [
    *below("text", "text_model.", [*TEXT_KEYS, *dense("head", "head")]),
    *below("image", "vision_model.", VISION_KEYS),
    Entry("scale", ("logit_scale",)),
    Entry("bias", ("logit_bias",)),
]
"""Every weight of ours and the Hugging Face names it comes from."""

SIGLIP = ImageFamily(
    names=("siglip",),
    config=SiglipConfig,
    parse=parse,
    describe=describe,
    build=siglip,
    keys=lambda config: KEYS,
    unused=("*.embeddings.position_ids",),
    processor="SiglipImageProcessor",
)
