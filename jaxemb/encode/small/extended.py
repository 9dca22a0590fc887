"""Layers that go upon any backbone, one after another: the states of a text's tokens to other states of them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.types import Backbone, Params, Tokens


class Layer(NamedTuple):
    """States to states, text by text; what stands where the mask is 0 reaches no state that is kept.

    init: key -> params.
    apply: (params, states `[b, t, d]`, mask `[b, t]`) -> states `[b, t, e]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Float[Array, "b t d"], Int[Array, "b t"]], Float[Array, "b t e"]]


def beside(params: Params, name: str, own: Params) -> Params:
    """Params with one more part.  Raises: ValueError when there is one of that name."""
    if name in params:
        raise ValueError(f"params have a part {name!r} already; give all {name} in one call")
    return {**params, name: own}


def extended(backbone: Backbone, *layers: Layer) -> Backbone:
    """A backbone whose states go through further layers.

    Params are the backbone's own and `{"layers": {"0": ..., "1": ...}}`; without layers it is the backbone as it was.

    Raises: ValueError when the backbone has such layers already; from `hidden`, when states are not all equally wide.
    """
    if not layers:
        return backbone

    def init(key: Array) -> Params:
        first, *rest = jax.random.split(key, 1 + len(layers))
        own = {str(i): layer.init(k) for i, (layer, k) in enumerate(zip(layers, rest, strict=True))}
        return beside(backbone.init(first), "layers", own)

    def through(params: Params, states: Float[Array, "b t d"], tokens: Tokens) -> Iterator[Float[Array, "b t e"]]:
        for i, layer in enumerate(layers):
            states = layer.apply(params["layers"][str(i)], states, jnp.asarray(tokens.mask))
            yield states

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t e"]:
        states = backbone.apply(params, tokens)
        for deeper in through(params, states, tokens):
            states = deeper
        return states

    def hidden(params: Params, tokens: Tokens) -> Float[Array, "l b t d"]:
        lower = backbone.hidden(params, tokens)
        upper = list(through(params, lower[-1], tokens))
        widths = [lower.shape[-1], *(states.shape[-1] for states in upper)]
        if len(set(widths)) > 1:
            raise ValueError(f"hidden: layers of one width can be stacked, got widths {widths}")
        return jnp.concatenate([lower, *(states[None] for states in upper)])

    return Backbone(init, apply, hidden)


def positions(longest: int, size: int) -> Layer:
    """Adds to every token a learnt vector of its place; params `{"table": [longest, size]}`.

    Raises: ValueError for a batch longer than the table.
    """

    def init(key: Array) -> Params:
        return {"table": 0.02 * jax.random.normal(key, (longest, size))}

    def apply(params: Params, states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        if (t := states.shape[1]) > longest:
            raise ValueError(f"positions: {t} tokens a text, but only {longest} positions; truncate first")
        return states + params["table"][None, :t]

    return Layer(init, apply)
