"""What the two-tower families share: their inner configurations, their text embeddings, their logits."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxemb.encode.image.tower import Pair, Tower
from jaxemb.encode.layers import Table
from jaxemb.similarity import cosine
from jaxemb.types import Params, Tokens

IRRELEVANT = {"dropout", "initializer_factor"}
"""Keys of a tower's configuration that say how it was trained, beside those that every family may have."""


def inner(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One tower's configuration.  Raises: ValueError for what is no mapping."""
    told = config.get(name)
    if told is not None and not isinstance(told, Mapping):
        raise ValueError(f"{name} must be a mapping, got {told!r}")
    return told or {}


class TextEmbeddings(nnx.Module):
    """Token and position embeddings, summed."""

    def __init__(self, rows: int, size: int, positions: int, *, scale: float, rngs: nnx.Rngs) -> None:
        self.tokens = Table(rows, size, scale=scale, rngs=rngs)
        self.positions = Table(positions, size, scale=scale, rngs=rngs)
        self.most = positions

    def __call__(self, tokens: Tokens) -> Float[Array, "n d"]:
        t = tokens.ids.shape[1]
        if t > self.most:
            raise ValueError(f"{t} tokens a text, but only {self.most} positions; truncate first")
        states = self.tokens(tokens.ids) + self.positions.table[...][:t][None]
        return states.reshape(-1, states.shape[-1])


def pair(text: Tower, image: Tower, constants: Mapping[str, Callable[[], Array]]) -> Pair:
    """A `Pair` whose logits are the cosine times `exp(scale)`, plus `bias` where `constants` has one."""

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        return {"text": text.init(one), "image": image.init(other)} | {name: make() for name, make in constants.items()}

    def logits(params: Params, texts: Float[Array, "b d"], images: Float[Array, "n d"]) -> Float[Array, "b n"]:
        scores = cosine(texts, images) * jnp.exp(params["scale"].reshape(1, 1))
        return scores + params["bias"].reshape(1, 1) if "bias" in constants else scores

    return Pair(init, text, image, logits)
