"""The vision transformer.  Source: Dosovitskiy et al. 2020, arXiv:2010.11929."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode.family import norm, read
from jaxemb.encode.functional import functional
from jaxemb.encode.image.patches import Block, Embeddings, block_keys, check_squares, over_rows, patched, patches
from jaxemb.encode.image.tower import ImageFamily, Tower
from jaxemb.encode.layers import LayerNorm
from jaxemb.encode.stack import stack
from jaxemb.types import Entry, Params


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The shape of a ViT, by the names of Hugging Face's `config.json`."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    qkv_bias: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        check_squares(self)

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.hidden_size


# The decoder of masked pixels and the pooler, on which the states do not depend.
IRRELEVANT = {"encoder_stride", "pooler_act", "pooler_output_size"}


def parse(config: Mapping[str, Any]) -> ViTConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, ViTConfig, names=("vit",), fixed={}, irrelevant=IRRELEVANT)


def describe(config: ViTConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {"model_type": "vit", "architectures": ["ViTModel"], **asdict(config)}


def vit(config: ViTConfig, *, dtype: DTypeLike = jnp.float32) -> Tower:
    """A ViT whose params are float32 and whose products run in `dtype` (float32 or bfloat16).

    An image's vector is the normed state of the learnt row in front of its patches.
    Raises: ValueError for images of another size.
    """
    dtype, scale = jnp.dtype(dtype), config.initializer_range
    d = config.hidden_size
    final = functional(lambda rngs: LayerNorm(d, epsilon=config.layer_norm_eps))
    normed = over_rows(final)

    def finished(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        return normed(params["final"], states)

    def vector(params: Params, states: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        return states[:, 0]

    first, places = (1, 1, d), (1, patches(config) + 1, d)
    return patched(
        functional(
            lambda rngs: Embeddings(config, first=first, places=places, bias=True, dtype=dtype, rngs=rngs, scale=scale)
        ),
        stack(
            lambda rngs: Block(config, dtype=dtype, rngs=rngs, qkv_bias=config.qkv_bias, scale=scale),
            config.num_hidden_layers,
        ),
        finished=finished,
        vector=vector,
        others={"final": final.init},
    )


def keys(config: ViTConfig) -> list[Entry]:
    """Every weight of ours and the Hugging Face names it comes from."""
    return [
        Entry("embeddings.kernel", ("embeddings.patch_embeddings.projection.weight",), transpose=(2, 3, 1, 0)),
        Entry("embeddings.bias", ("embeddings.patch_embeddings.projection.bias",)),
        Entry("embeddings.first", ("embeddings.cls_token",)),
        Entry("embeddings.places", ("embeddings.position_embeddings",)),
        *block_keys(
            "encoder.layer.{layer}",
            qkv=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
            out="attention.output.dense",
            up="intermediate.dense",
            down="output.dense",
            norms=("layernorm_before", "layernorm_after"),
            qkv_bias=config.qkv_bias,
        ),
        *norm("final", "layernorm"),
    ]


VIT = ImageFamily(
    names=("vit",),
    config=ViTConfig,
    parse=parse,
    describe=describe,
    build=vit,
    keys=keys,
    prefix="vit.",
    unused=("pooler.dense.*", "classifier.*", "embeddings.mask_token", "decoder.*"),
)
