"""What stands after pooling: projections and norms of finished vectors, or of every token's.

Each makes an encoder from an encoder, or a backbone from a backbone, and adds its own params under a name of its own:
the inner one's stay where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode import family
from jaxemb.encode.functional import Functional, functional
from jaxemb.encode.layers import Dense, LayerNorm
from jaxemb.similarity import unit
from jaxemb.types import Backbone, Encoder, Entry, Params

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "Identity": lambda x: x,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
    "SiLU": jax.nn.silu,
    "Sigmoid": jax.nn.sigmoid,
}
"""By the names of torch's classes, as sentence-transformers folders have them."""


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """`act(x W + b)`, and the input added to it if `residual`: through a matrix of its own where sizes differ."""

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"
    residual: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is unknown; there is {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True, kw_only=True)
class LayerNormConfig:
    """Zero mean and unit variance of every vector, then scale and shift."""

    dimension: int


@dataclass(frozen=True, kw_only=True)
class NormalizeConfig:
    """Vectors of length one; a zero vector stays zero."""


Module = DenseConfig | LayerNormConfig | NormalizeConfig
"""One step after pooling."""


class Projection(nnx.Module):
    """A `DenseConfig` as a function of rows."""

    def __init__(self, c: DenseConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def dense(bias: bool) -> Dense:
            scale = c.in_features**-0.5
            return Dense(c.in_features, c.out_features, scale=scale, dtype=dtype, rngs=rngs, bias=bias)

        self.linear = dense(c.bias)
        self.residual = dense(False) if c.residual and c.in_features != c.out_features else None
        self.act, self.adds = ACTIVATIONS[c.activation], c.residual

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        out = self.act(self.linear(x))
        if not self.adds:
            return out
        return out + (x.astype(out.dtype) if self.residual is None else self.residual(x))


class Norm(nnx.Module):
    """A `LayerNormConfig` as a function of rows."""

    def __init__(self, c: LayerNormConfig) -> None:
        self.norm = LayerNorm(c.dimension, epsilon=1e-5)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return self.norm(x)


def of_rows(config: DenseConfig | LayerNormConfig, dtype: DTypeLike = jnp.float32) -> Functional:
    """A module with params as a function of rows `[n, d]`."""
    if isinstance(config, DenseConfig):
        return functional(lambda rngs: Projection(config, dtype=jnp.dtype(dtype), rngs=rngs))
    return functional(lambda rngs: Norm(config))


def keys(config: Module) -> list[Entry]:
    """Every leaf of a module's params and the name it has in the module's own weights file."""
    if isinstance(config, NormalizeConfig):
        return []
    if isinstance(config, LayerNormConfig):
        return family.norm("norm", "norm")
    own = config.residual and config.in_features != config.out_features
    return [
        *family.dense("linear", "linear", bias=config.bias),
        *(family.dense("residual", "residual", bias=False) if own else []),
    ]


Inner = TypeVar("Inner", Encoder, Backbone)


def _after(inner: Inner, init: Callable[[Array], Params], through: Callable[[Params, Array], Array]) -> Inner:
    """`inner` with `through` at the end of all that it computes."""

    def then(function: Callable[[Params, Any], Array]) -> Callable[[Params, Any], Array]:
        def call(params: Params, inputs: Any) -> Array:  # tokens, or the pixels of images
            return through(params, function(params, inputs))

        return call

    functions: dict[str, Any] = {name: then(getattr(inner, name)) for name in inner._fields if name != "init"}
    return inner._replace(init=init, **functions)


def followed(inner: Inner, config: Module, *, name: str = "module", dtype: DTypeLike = jnp.float32) -> Inner:
    """An encoder, or a backbone, whose vectors go through one more module; of a backbone, those of every layer.

    Args:
      name: where the module's params stand, beside those of `inner`; a `NormalizeConfig` has none.
      dtype: of the products; params are float32.
    Raises: ValueError at `init` when `inner` has params of that name.
    """
    if isinstance(config, NormalizeConfig):
        return _after(inner, inner.init, lambda params, vectors: unit(vectors))
    rows = of_rows(config, dtype)

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        params = inner.init(one)
        if name in params:
            raise ValueError(f"followed: there are params named {name!r} already; name this module otherwise")
        return {**params, name: rows.init(other)}

    def through(params: Params, vectors: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
        flat = rows.apply(params[name], "__call__", vectors.reshape(-1, vectors.shape[-1]))
        return flat.reshape(*vectors.shape[:-1], -1)

    return _after(inner, init, through)
