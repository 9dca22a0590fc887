"""CLIP: a causal text tower and a vision transformer into one space.  Source: Radford et al. 2021, arXiv:2103.00020."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb.encode.family import dense, norm, read
from jaxemb.encode.functional import Functional, functional
from jaxemb.encode.image.pairs import IRRELEVANT, TextEmbeddings, inner, pair
from jaxemb.encode.image.patches import CLIP_BLOCKS, Block, Embeddings, check_squares, check_width, patched, patches
from jaxemb.encode.image.tower import ImageFamily, Pair, Pixels, Tower, below
from jaxemb.encode.layered import layered
from jaxemb.encode.layers import Dense, LayerNorm, causal
from jaxemb.encode.stack import stack
from jaxemb.types import Entry, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig:
    """The shape of the text tower, by the names of Hugging Face's `config.json`.

    eos_token_id: the token whose state is the text's; 2 in folders that were written before it was told right, where
      the largest id of a text is meant.
    """

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407
    initializer_range: float = 0.02
    projection_dim: int = 512

    def __post_init__(self) -> None:
        check_width(self)
        if not isinstance(self.eos_token_id, int):
            raise ValueError(f"eos_token_id must be one id, got {self.eos_token_id!r}")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.projection_dim


@dataclass(frozen=True, kw_only=True)
class ClipVisionConfig:
    """The shape of the vision tower, by the names of Hugging Face's `config.json`."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    projection_dim: int = 512

    def __post_init__(self) -> None:
        check_squares(self)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.projection_dim


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """The shapes of both towers, and where the logarithm of the logits' scale starts."""

    text_config: ClipTextConfig = field(default_factory=ClipTextConfig)
    vision_config: ClipVisionConfig = field(default_factory=ClipVisionConfig)
    logit_scale_init_value: float = 2.6592

    def __post_init__(self) -> None:
        one, other = self.text_config.projection_dim, self.vision_config.projection_dim
        if one != other:
            raise ValueError(f"both towers must have one projection_dim, got {one} for texts and {other} for images")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.text_config.projection_dim


def parse(config: Mapping[str, Any]) -> ClipConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""

    def tower(name: str, shape: type[Any]) -> Any:
        size = config.get("projection_dim", 512)  # the towers' own is for towers that stand alone
        names = (f"clip_{name}_model",)
        early = f"{name}_config_dict"  # which stands in for the other, in the folders that have both
        told = inner(config, f"{name}_config" if config.get(early) is None else early)
        return read(told, shape, names=names, fixed={}, irrelevant=IRRELEVANT, projection_dim=size)

    return read(
        config,
        ClipConfig,
        names=("clip",),
        fixed={},
        irrelevant={"initializer_factor", "projection_dim", "text_config_dict", "vision_config_dict"},
        text_config=tower("text", ClipTextConfig),
        vision_config=tower("vision", ClipVisionConfig),
    )


def describe(config: ClipConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config.size,
        "logit_scale_init_value": config.logit_scale_init_value,
        "text_config": {"model_type": "clip_text_model", **asdict(config.text_config)},
        "vision_config": {"model_type": "clip_vision_model", **asdict(config.vision_config)},
    }


def ends(tokens: Tokens, eos: int) -> Int[Array, " b"]:
    """Where each text ends: at its first `eos`, or where that is 2, at its largest id; padding never counts.

    A text without an `eos` ends at its first token, as in the reference.
    """
    ids = jnp.where(jnp.asarray(tokens.mask) > 0, jnp.asarray(tokens.ids), -1)
    return jnp.argmax(ids if eos == 2 else (ids == eos).astype(jnp.int32), axis=1)


def _projection(inputs: int, outputs: int, dtype: jnp.dtype) -> Functional:
    return functional(lambda rngs: Dense(inputs, outputs, scale=inputs**-0.5, dtype=dtype, rngs=rngs, bias=False))


def clip_text(config: ClipTextConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """The text tower: causal; a text's vector is the projected state of its end.

    Raises: ValueError for a batch longer than the position table.
    """
    dtype, scale, d = jnp.dtype(dtype), config.initializer_range, config.hidden_size
    rows, positions = config.vocab_size, config.max_position_embeddings
    projection = _projection(d, config.projection_dim, dtype)
    backbone = layered(
        functional(lambda rngs: TextEmbeddings(rows, d, positions, scale=scale, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs, scale=scale), config.num_hidden_layers),
        shared=lambda params, tokens: (causal(tokens.ids.shape[1]),),
        final=functional(lambda rngs: LayerNorm(d, epsilon=config.layer_norm_eps)),
        others={"projection": projection.init},
    )

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        place = ends(tokens, config.eos_token_id)
        states = jnp.take_along_axis(backbone.apply(params, tokens), place[:, None, None], axis=1)[:, 0]
        return projection.apply(params["projection"], "__call__", states)

    return Tower(backbone.init, apply, backbone.hidden)


class NormedEmbeddings(nnx.Module):
    """A learnt row and the patches, with their places, normed before the first block."""

    def __init__(self, c: ClipVisionConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, shape = c.hidden_size, (patches(c) + 1, c.hidden_size)
        self.patches = Embeddings(
            c, first=(d,), places=shape, bias=False, dtype=dtype, rngs=rngs, scale=c.initializer_range
        )
        self.norm = LayerNorm(d, epsilon=c.layer_norm_eps)

    def __call__(self, pixels: Pixels) -> Float[Array, "b n d"]:
        rows = self.patches(pixels)
        return self.norm(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape)


def clip_vision(config: ClipVisionConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """The vision tower: an image's vector is the normed and projected state of the learnt row before its patches.

    Raises: ValueError for images of another size.
    """
    dtype, scale, d = jnp.dtype(dtype), config.initializer_range, config.hidden_size
    final = functional(lambda rngs: LayerNorm(d, epsilon=config.layer_norm_eps))
    projection = _projection(d, config.projection_dim, dtype)

    def vector(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b e"]:
        first = final.apply(params["final"], "__call__", states[:, 0])
        return projection.apply(params["projection"], "__call__", first)

    return patched(
        functional(lambda rngs: NormedEmbeddings(config, dtype=dtype, rngs=rngs)),
        stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs, scale=scale), config.num_hidden_layers),
        finished=lambda params, states: states,  # only the row that is read gets the norm
        vector=vector,
        others={"final": final.init, "projection": projection.init},
    )


def clip(config: ClipConfig, *, dtype: DTypeLike = jnp.float32) -> Pair:
    """Both towers, whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    A logit is the cosine of a text and an image times `exp(scale)`.
    """
    return pair(
        clip_text(config.text_config, dtype=dtype),
        clip_vision(config.vision_config, dtype=dtype),
        {"scale": lambda: jnp.asarray(config.logit_scale_init_value, jnp.float32)},
    )


TEXT_KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("embeddings.token_embedding.weight",)),
    Entry("embeddings.positions.table", ("embeddings.position_embedding.weight",)),
    *CLIP_BLOCKS,
    *norm("final", "final_layer_norm"),
]
"""What the text towers of CLIP and SigLIP have in common, without `text_model.`."""

VISION_KEYS: list[Entry] = [
    Entry("embeddings.patches.kernel", ("embeddings.patch_embedding.weight",), transpose=(2, 3, 1, 0)),
    Entry("embeddings.patches.first", ("embeddings.class_embedding",)),
    Entry("embeddings.patches.places", ("embeddings.position_embedding.weight",)),
    *norm("embeddings.norm", "pre_layrnorm"),
    *CLIP_BLOCKS,
    *norm("final", "post_layernorm"),
]
"""The vision tower's, without `vision_model.`."""

KEYS: list[Entry] = [
    *below("text", "text_model.", TEXT_KEYS),
    *dense("text.projection", "text_projection", bias=False),
    *below("image", "vision_model.", VISION_KEYS),
    *dense("image.projection", "visual_projection", bias=False),
    Entry("scale", ("logit_scale",)),
]
"""Every weight of ours and the Hugging Face names it comes from."""

CLIP = ImageFamily(
    names=("clip",),
    config=ClipConfig,
    parse=parse,
    describe=describe,
    build=clip,
    keys=lambda config: KEYS,
    unused=("*.embeddings.position_ids",),
    processor="CLIPImageProcessor",
)
