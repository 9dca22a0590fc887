"""A backbone from embeddings and a stack of blocks: the chain that every text architecture is."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.encode.functional import Functional
from jaxemb.encode.stack import Stack
from jaxemb.types import Backbone, Params, Tokens


def layered(
    embeddings: Functional,
    blocks: Stack,
    *,
    shared: Callable[[Params, Tokens], tuple[Any, ...]] = lambda params, tokens: (),
    each: Callable[[Params, Tokens], Any] = lambda params, tokens: None,
    final: Functional | None = None,
    others: Mapping[str, Callable[[Array], Params]] | None = None,
) -> Backbone:
    """Embeddings, then blocks over the flattened tokens `[n, d]`, then perhaps a norm.

    Args:
      embeddings: tokens -> `[n, d]`; its params stand under `embeddings`.
      blocks: called with the states, the mask, what `shared` gives, and their own row of what `each` gives; their
        params stand under `blocks`.
      shared: (params, tokens) -> what all blocks read, as rotary positions or relative ones.
      each: (params, tokens) -> arrays with a leading layer axis, of which every block reads its row.
      final: a norm of the last states; its params stand under `final`.
      others: the inits of further params, by the names they stand under.
    """
    inits = {"embeddings": embeddings.init, "blocks": blocks.init, **(others or {})}
    if final is not None:
        inits["final"] = final.init

    def init(key: Array) -> Params:
        keys = jax.random.split(key, len(inits))
        return {name: part(own) for (name, part), own in zip(inits.items(), keys, strict=True)}

    def inputs(params: Params, tokens: Tokens) -> tuple[Any, ...]:
        x = embeddings.apply(params["embeddings"], "__call__", tokens)
        return params["blocks"], x, jnp.asarray(tokens.mask), *shared(params, tokens)

    def own(params: Params, tokens: Tokens) -> Any:
        # `first_layers` may have left fewer blocks than the config has.
        depth = jax.tree.leaves(params["blocks"])[0].shape[0]
        return jax.tree.map(lambda leaf: leaf[:depth], each(params, tokens))

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t d"]:
        x = blocks.last(*inputs(params, tokens), each=own(params, tokens))
        x = x if final is None else final.apply(params["final"], "__call__", x)
        return x.reshape(*tokens.ids.shape, -1)

    def hidden(params: Params, tokens: Tokens) -> Float[Array, "l b t d"]:
        states = blocks.every(*inputs(params, tokens), each=own(params, tokens))
        if final is not None:
            states = jnp.concatenate([states[:-1], final.apply(params["final"], "__call__", states[-1])[None]])
        return states.reshape(-1, *tokens.ids.shape, states.shape[-1])

    return Backbone(init, apply, hidden)
