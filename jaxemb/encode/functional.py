"""A `flax.nnx` module as pure functions over a plain nested dict."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array

from jaxemb.types import Params


class Functional(NamedTuple):
    """`init`: key -> params.  `apply`: (params, method name, inputs...) -> that method's result."""

    init: Callable[[Array], Params]
    apply: Callable[..., Any]


def functional(make: Callable[[nnx.Rngs], nnx.Module]) -> Functional:
    """Split the module that `make` builds into `init` and `apply`; no nnx object leaves this function."""
    graph = nnx.graphdef(nnx.eval_shape(lambda: make(nnx.Rngs(0))))

    def init(key: Array) -> Params:
        return nnx.to_pure_dict(nnx.state(make(nnx.Rngs(params=key)), nnx.Param))

    def apply(params: Params, method: str, *inputs: Any) -> Any:
        return getattr(nnx.merge(graph, nnx.State(params)), method)(*inputs)

    return Functional(jax.jit(init), apply)
