"""The blocks that text encoders share, in the layout that XLA multiplies fastest.

Weights are stored (in, out), products are two-dimensional and ask for a float32
result: on CPUs a bfloat16 product is twice as fast as a float32 one only then.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxemb.similarity import wide


def matmul(left: Float[Array, "n i"], right: Float[Array, "i o"]) -> Float[Array, "n o"]:
    """A product of two matrices in their own precision, summed and returned in float32 or wider."""
    return jnp.matmul(left, right, preferred_element_type=wide(left.dtype))


class Dense(nnx.Module):
    """`x W + b` over the last axis; params keep float32, the product runs in `dtype`."""

    def __init__(self, inputs: int, outputs: int, *, scale: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        product = matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return product + self.bias[...].astype(product.dtype)[None, :]


class LayerNorm(nnx.Module):
    """Zero mean and unit variance over the last axis, then scale and shift; in float32.  Source: Ba et al. 2016."""

    def __init__(self, size: int, *, epsilon: float) -> None:
        self.scale = nnx.Param(jnp.ones(size))
        self.bias = nnx.Param(jnp.zeros(size))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + self.epsilon) * self.scale[...][None, :] + self.bias[...][None, :]


def attention(
    query: Float[Array, "b h t d"],
    key: Float[Array, "b h t d"],
    value: Float[Array, "b h t d"],
    mask: Int[Array, "b t"],
) -> Float[Array, "b h t d"]:
    """Softmax attention to the tokens that `mask` keeps; scores and sums in float32 or wider.

    A row whose mask is all zero attends evenly to its padding: finite, and meant to be thrown away.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """
    full = wide(query.dtype)
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=full) * query.shape[-1] ** -0.5
    lowest = jnp.finfo(full).min / 2  # not -inf: an all-padding row must stay finite
    scores = jnp.where(mask[:, None, None, :] > 0, scores, jnp.asarray(lowest, full))
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bhkd->bhqd", weights, value, preferred_element_type=full)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
"""By the names that `hidden_act` has in Hugging Face configurations."""
