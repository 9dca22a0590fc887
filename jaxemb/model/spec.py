"""A tokenizer, an encoder and its params that belong together."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.types import Encoder, Params


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a model folder says of its encoder.

    backbone: the architecture's shape, as `BertConfig`; one of `encode.FAMILIES` or a `StaticConfig`.
    pooling: one of `encode.POOLINGS`; None for a static table, which averages by itself.
    normalize: whether vectors have length one.
    max_length: the longest text, in tokens; None for no limit, as a static table has none.
    prompts: name -> what is put before a text, usually for `query` and `document`.
    similarity: what the model is meant to be compared by.
    """

    backbone: Any
    pooling: str | None
    normalize: bool
    max_length: int | None
    prompts: Mapping[str, str] = field(default_factory=dict)
    similarity: Literal["cosine", "dot"] = "cosine"


class Model(NamedTuple):
    """An encoder with the tokenizer and the params that make it embed text."""

    encoder: Encoder
    params: Params
    tokenizer: Tokenizer
    spec: Spec
    dtype: jnp.dtype = jnp.dtype("float32")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.spec.backbone.hidden_size


def build(spec: Spec, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder that a spec describes; params stay float32, products run in `dtype`.

    Models of one shape share it, and so what is compiled for it.

    Raises: ValueError when the pooling is unknown or missing.
    """
    return _built(spec.backbone, spec.pooling, spec.normalize, jnp.dtype(dtype).name)


@functools.lru_cache(maxsize=32)
def _built(backbone: Any, pooling: str | None, normalize: bool, dtype: str) -> Encoder:
    if isinstance(backbone, encoders.StaticConfig):
        encoder = encoders.static(backbone)
    else:
        if pooling not in encoders.POOLINGS:
            raise ValueError(f"pooling {pooling!r} is unknown; there is {', '.join(encoders.POOLINGS)}")
        states = encoders.family_of(backbone).backbone(backbone, dtype=jnp.dtype(dtype))
        encoder = encoders.pooled(states, encoders.POOLINGS[pooling])
    encoder = encoders.normalized(encoder) if normalize else encoder
    return Encoder(encoder.init, jax.jit(encoder.apply))


def make(spec: Spec, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32) -> Model:
    """A model from its parts.

    Raises: ValueError when the tokenizer has ids that the encoder has no row for, a static table a longest text, or
      texts may be longer than there are positions.
    """
    is_static = isinstance(spec.backbone, encoders.StaticConfig)
    if is_static and spec.max_length is not None:
        raise ValueError(f"a static model reads texts whole: max_length must be None, got {spec.max_length}")
    positions = getattr(spec.backbone, "max_position_embeddings", None)
    if positions is not None and not 0 < (spec.max_length or positions + 1) <= positions:
        raise ValueError(f"max_length must be from 1 to the encoder's {positions} positions, got {spec.max_length}")
    if tokenizer.size > spec.backbone.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.size} ids, the encoder {spec.backbone.vocab_size} rows")
    tokenizer = tokenizer.limited(spec.max_length, add_special=not is_static)
    return Model(build(spec, dtype=dtype), params, tokenizer, spec, jnp.dtype(dtype))


def combined(models: Sequence[Model], params: Params) -> Model:
    """The first model with other params, merged from those of all.

    Raises: ValueError that names what two models do not share: the shape, pooling, prompts, lengths, or the tokenizer.
    """
    first = models[0]
    for i, other in enumerate(models[1:], start=1):
        ours, theirs = asdict(first.spec), asdict(other.spec)
        if odd := [name for name in ours if ours[name] != theirs[name]]:
            raise ValueError(f"model {i} has another {odd[0]} than model 0: {theirs[odd[0]]} and {ours[odd[0]]}")
        if other.tokenizer.to_json() != first.tokenizer.to_json():
            raise ValueError(f"model {i} has another tokenizer than model 0")
    return first._replace(params=params)


def shortened(model: Model, max_length: int) -> Model:
    """The same model reading at most `max_length` tokens of a text, which is quicker."""
    return make(replace(model.spec, max_length=max_length), model.params, model.tokenizer, dtype=model.dtype)


def searchable(model: Model) -> Model:
    """The same model with vectors whose inner product is its similarity, as indexes compare them.

    A model that is meant for the cosine and does not scale its vectors by itself gets a Normalize module.
    """
    if model.spec.normalize or model.spec.similarity == "dot":
        return model
    return make(replace(model.spec, normalize=True), model.params, model.tokenizer, dtype=model.dtype)


def in_precision(model: Model, dtype: DTypeLike) -> Model:
    """The same model with products in `dtype`: float32, or bfloat16 for speed."""
    return model._replace(encoder=build(model.spec, dtype=dtype), dtype=jnp.dtype(dtype))


def fingerprint(model: Model) -> str:
    """A sha256 over spec, tokenizer and weights: the same for a model and its saved copy, another for any other."""
    digest = hashlib.sha256(json.dumps(asdict(model.spec), sort_keys=True).encode())
    digest.update(json.dumps(json.loads(model.tokenizer.to_json()), sort_keys=True).encode())
    static = isinstance(model.spec.backbone, encoders.StaticConfig)
    params = {"table": encoders.folded(model.params)} if static else model.params
    for path, leaf in checkpoint.leaves(params).items():
        array = np.asarray(leaf)
        digest.update(f"{path}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
