"""A residual layer upon finished vectors, for small encoders."""

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxemb.encode.small.extended import beside
from jaxemb.types import Encoder, Params, Tokens


def residual(encoder: Encoder, size: int, hidden: int) -> Encoder:
    """An encoder whose vectors go through `x + W_2 relu(W_1 x + b_1) + b_2`; it starts near the encoder that it was.

    Params are the encoder's own and `{"residual": {"hidden": {"kernel", "bias"}, "out": {"kernel", "bias"}}}`.

    Args:
      size: of the encoder's vectors.
    """

    def init(key: Array) -> Params:
        one, other, last = jax.random.split(key, 3)
        inside = {"kernel": initializers.he_normal()(other, (size, hidden)), "bias": jnp.zeros(hidden)}
        # Not zero: what comes of a layer norm has no variance in one direction, and could not be whitened.
        out = {"kernel": 0.1 * initializers.lecun_normal()(last, (hidden, size)), "bias": jnp.zeros(size)}
        return beside(encoder.init(one), "residual", {"hidden": inside, "out": out})

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b d"]:
        vectors, own = encoder.apply(params, tokens), params["residual"]
        inside = jax.nn.relu(vectors @ own["hidden"]["kernel"] + own["hidden"]["bias"][None, :])
        return vectors + inside @ own["out"]["kernel"] + own["out"]["bias"][None, :]

    return Encoder(init, apply)
