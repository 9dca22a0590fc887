"""A tokenizer, an encoder and its params that belong together."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode import image
from jaxemb.model import precision
from jaxemb.types import Backbone, Encoder, Params


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a model folder says of its encoder.

    backbone: the architecture's shape, as `BertConfig`; one of `encode.FAMILIES`, a `StaticConfig`, or the text tower
      of a pair.
    pooling: one of `encode.POOLINGS`, or several, whose vectors are joined in that order; None for a static table and
      for a tower, which pool by themselves.
    normalize: whether vectors have length one.
    max_length: the longest text, in tokens; None for no limit, as most static tables have none.
    prompts: name -> what is put before a text, usually for `query` and `document`, or for a task.
    similarity: what the model is meant to be compared by.
    modules: what vectors go through after pooling, in this order, before they are normalised.  The params of the
      `i`-th, if it has any, stand under `module_i`.
    default_prompt: the name of the prompt for texts that no other is asked for.
    include_prompt: whether pooling counts the tokens of a prompt.
    max_characters: how much of a text is tokenised, in characters; None for all of it.
    """

    backbone: Any
    pooling: str | tuple[str, ...] | None
    normalize: bool
    max_length: int | None
    prompts: Mapping[str, str] = field(default_factory=dict)
    similarity: Literal["cosine", "dot"] = "cosine"
    modules: tuple[encoders.Module, ...] = ()
    default_prompt: str | None = None
    include_prompt: bool = True
    max_characters: int | None = None

    @property
    def poolings(self) -> tuple[str, ...]:
        """The names in `pooling`."""
        return (self.pooling,) if isinstance(self.pooling, str) else self.pooling or ()


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
        return sizes(self.spec)[-1]


def sizes(spec: Spec) -> tuple[int, ...]:
    """Dimensions of a pooled vector, and after every module.

    Raises: ValueError for a module that is made for vectors of another size than reach it.
    """
    if isinstance(spec.backbone, image.TEXT_TOWERS):
        return sizes_after(spec.backbone.size, spec.modules)
    return sizes_after(spec.backbone.hidden_size * max(1, len(spec.poolings)), spec.modules)


def sizes_after(size: int, modules: Sequence[encoders.Module]) -> tuple[int, ...]:
    """`size`, and the dimensions after every module.

    Raises: ValueError for a module that is made for vectors of another size than reach it.
    """
    found = [size]
    for i, module in enumerate(modules):
        taken, given = _ends(module, found[-1])
        if taken != found[-1]:
            raise ValueError(f"module {i} ({type(module).__name__}) takes vectors of {taken}, but {found[-1]} reach it")
        found.append(given)
    return tuple(found)


def _ends(module: encoders.Module, size: int) -> tuple[int, int]:
    """Dimensions before and after a module that vectors of `size` reach."""
    if isinstance(module, encoders.DenseConfig):
        return module.in_features, module.out_features
    if isinstance(module, encoders.LayerNormConfig):
        return module.dimension, module.dimension
    return size, size


def build(spec: Spec, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder that a spec describes; params stay float32, products run in `dtype`.

    Models of one shape share it, and so what is compiled for it.

    Raises: ValueError when the pooling is unknown or missing, a module does not fit, or products cannot be in `dtype`.
    """
    sizes(spec)
    return _built(spec.backbone, spec.poolings, spec.modules, spec.normalize, precision.checked(dtype).name)


@functools.lru_cache(maxsize=32)
def _built(
    backbone: Any, poolings: tuple[str, ...], modules: tuple[encoders.Module, ...], normalize: bool, dtype: str
) -> Encoder:
    if isinstance(backbone, encoders.StaticConfig):
        if poolings:
            raise ValueError(f"a static table averages by itself: pooling must be None, got {poolings}")
        encoder = encoders.static(backbone)
    elif isinstance(backbone, image.TEXT_TOWERS):
        if poolings:
            raise ValueError(f"{type(backbone).__name__} pools by itself: pooling must be None, got {poolings}")
        encoder = image.tower_of(backbone, dtype=dtype).encoder
    else:
        states = encoders.family_of(backbone).backbone(backbone, dtype=jnp.dtype(dtype))
        encoder = encoders.pooled(states, _pooling(poolings))
    encoder = after(encoder, modules, normalize, dtype)
    return Encoder(encoder.init, jax.jit(encoder.apply))


Inner = TypeVar("Inner", Encoder, Backbone)


def after(inner: Inner, modules: Sequence[encoders.Module], normalize: bool, dtype: DTypeLike) -> Inner:
    """An encoder or a backbone whose vectors go through these modules, and are then of length one if `normalize`."""
    for i, module in enumerate(modules):
        inner = encoders.followed(inner, module, name=f"module_{i}", dtype=dtype)
    return encoders.followed(inner, encoders.NormalizeConfig()) if normalize else inner


def _pooling(names: tuple[str, ...]) -> encoders.Pooling:
    if not names:
        raise ValueError(f"pooling is missing; there is {', '.join(encoders.POOLINGS)}")
    for name in names:
        if name not in encoders.POOLINGS:
            raise ValueError(f"pooling {name!r} is unknown; there is {', '.join(encoders.POOLINGS)}")
    return encoders.joined(*(encoders.POOLINGS[name] for name in names)) if names[1:] else encoders.POOLINGS[names[0]]


def check_ids(tokenizer: Tokenizer, rows: int) -> None:
    """Raises: ValueError when the tokenizer has ids that an encoder of so many rows has none for."""
    if tokenizer.size > rows:
        raise ValueError(f"the tokenizer has {tokenizer.size} ids, the encoder {rows} rows")


def check_default(prompt: str | None, prompts: Mapping[str, str]) -> None:
    """Raises: ValueError for a default prompt that is none of the prompts."""
    if prompt is not None and prompt not in prompts:
        raise ValueError(f"the default prompt {prompt!r} is none of the prompts {sorted(prompts)}")


def make(spec: Spec, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32) -> Model:
    """A model from its parts.

    Raises: ValueError when the tokenizer has ids that the encoder has no row for, texts may be longer than there are
      positions, or the default prompt is none of the prompts.
    """
    is_static = isinstance(spec.backbone, encoders.StaticConfig)
    check_default(spec.default_prompt, spec.prompts)
    positions = _positions(spec.backbone)
    if positions is not None and not 0 < (spec.max_length or positions + 1) <= positions:
        raise ValueError(f"max_length must be from 1 to the encoder's {positions} positions, got {spec.max_length}")
    check_ids(tokenizer, spec.backbone.vocab_size)
    tokenizer = tokenizer.limited(spec.max_length, add_special=not is_static)
    return Model(build(spec, dtype=dtype), params, tokenizer, spec, jnp.dtype(dtype))


def _positions(backbone: Any) -> int | None:
    """Tokens of the longest text that an architecture can read; None where there is no limit."""
    if isinstance(backbone, encoders.StaticConfig):
        return None
    if isinstance(backbone, image.TEXT_TOWERS):
        return backbone.max_position_embeddings
    return encoders.family_of(backbone).longest(backbone)


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


LATER: dict[str, Any] = {
    "modules": (),
    "default_prompt": None,
    "include_prompt": True,
    "max_characters": None,
    "unknown": None,
}
"""Fields of a spec and of its backbone that came after the first release, with the value that says nothing new."""


def _told(spec: Spec) -> dict[str, Any]:
    """A spec as JSON; later fields count only where they say something, so that older bundles know their model."""

    def old(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in LATER or value != LATER[name]}

    fields = old(asdict(spec))
    fields["backbone"] = old(fields["backbone"])
    if spec.modules:
        fields["kinds"] = [type(module).__name__ for module in spec.modules]
    return fields


def fingerprint(model: Model) -> str:
    """A sha256 over spec, tokenizer and weights: the same for a model and its saved copy, another for any other."""
    digest = hashlib.sha256(json.dumps(_told(model.spec), sort_keys=True).encode())
    digest.update(json.dumps(json.loads(model.tokenizer.to_json()), sort_keys=True).encode())
    static = isinstance(model.spec.backbone, encoders.StaticConfig)
    params = encoders.plain(model.params) if static else model.params
    for path, leaf in checkpoint.leaves(params).items():
        array = np.asarray(leaf)
        digest.update(f"{path}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
