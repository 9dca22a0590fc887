"""The blocks that encoders share, in the layout that XLA multiplies fastest.

Weights are stored (in, out), products are two-dimensional and ask for a float32
result: on CPUs a bfloat16 product is twice as fast as a float32 one only then.
Params are float32; every module takes the dtype of its products.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from jaxemb.similarity import wide

NARROW_PRODUCT = "narrow product"
"""The name by which a policy of `jax.checkpoint` knows what `matmul` gives below float32."""


def matmul(left: Float[Array, "n i"], right: Float[Array, "i o"]) -> Float[Array, "n o"]:
    """A product of two matrices in their own precision, summed and returned in float32 or wider.

    The products of its gradient are in the same precision; left to JAX, they would multiply bfloat16 by the float32 of
    what comes back, at the speed of float32.
    """
    full = wide(left.dtype)
    if left.dtype == full:
        return jnp.matmul(left, right, preferred_element_type=full)
    return checkpoint_name(_narrow(left, right), NARROW_PRODUCT)  # a policy sees no product inside of its own gradient


@jax.custom_vjp
def _narrow(left: Float[Array, "n i"], right: Float[Array, "i o"]) -> Float[Array, "n o"]:
    return jnp.matmul(left, right, preferred_element_type=wide(left.dtype))


def _narrow_forward(left: Array, right: Array) -> tuple[Array, tuple[Array, Array]]:
    return _narrow(left, right), (left, right)


def _narrow_backward(kept: tuple[Array, Array], gradient: Float[Array, "n o"]) -> tuple[Array, Array]:
    left, right = kept
    full, gradient = wide(left.dtype), gradient.astype(left.dtype)
    of_left = jnp.einsum("no,io->ni", gradient, right, preferred_element_type=full)
    # On CPUs a bfloat16 product is quick only where the left side is contiguous along what is summed over.
    turned = jax.lax.platform_dependent(left.T, cpu=_contiguous, default=lambda rows: rows)
    of_right = jnp.matmul(turned, gradient, preferred_element_type=full)
    return of_left.astype(left.dtype), of_right.astype(right.dtype)


def _contiguous(rows: Shaped[Array, "n i"]) -> Shaped[Array, "n i"]:
    return with_layout_constraint(rows, Layout((0, 1)))


_narrow.defvjp(_narrow_forward, _narrow_backward)


class Table(nnx.Module):
    """A row of numbers for every id."""

    def __init__(self, rows: int, size: int, *, scale: float, rngs: nnx.Rngs) -> None:
        self.table = nnx.Param(scale * jax.random.normal(rngs.params(), (rows, size)))

    def __call__(self, ids: Int[Array | np.ndarray, "*n"]) -> Float[Array, "*n d"]:
        return self.table[...][ids]


class Dense(nnx.Module):
    """`x W + b` over the last axis; params keep float32, the product runs in `dtype`."""

    def __init__(
        self, inputs: int, outputs: int, *, scale: float, dtype: jnp.dtype, rngs: nnx.Rngs, bias: bool = True
    ) -> None:
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        product = matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return product if self.bias is None else product + self.bias[...].astype(product.dtype)[None, :]


class LayerNorm(nnx.Module):
    """Zero mean and unit variance over the last axis, then scale and shift; in float32.

    Source: Ba et al. 2016, arXiv:1607.06450, eq. 4.
    """

    def __init__(self, size: int, *, epsilon: float, bias: bool = True) -> None:
        self.scale = nnx.Param(jnp.ones(size))
        self.bias = nnx.Param(jnp.zeros(size)) if bias else None
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(variance + self.epsilon) * self.scale[...][None, :]
        return normed if self.bias is None else normed + self.bias[...][None, :]


class RMSNorm(nnx.Module):
    """Unit mean square over the last axis, then scale by `offset + weight`; in float32.

    `offset` is 1 where a family stores its weights as differences from one (Gemma).
    Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
    """

    def __init__(self, size: int, *, epsilon: float, offset: float = 0.0) -> None:
        self.scale = nnx.Param(jnp.full(size, 1.0 - offset))
        self.epsilon, self.offset = epsilon, offset

    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        normed = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        scale = self.scale[...] if self.offset == 0 else self.scale[...] + self.offset
        return normed * scale.reshape((1,) * (x.ndim - 1) + scale.shape)


def heads(x: Float[Array, "n i"], mask: Num[Array, "b t"], count: int, dtype: jnp.dtype) -> Float[Array, "b h t d"]:
    """Rows of tokens to `count` heads a text; heads before time, so that attention reads contiguous rows."""
    b, t = mask.shape
    return x.astype(dtype).reshape(b, t, count, -1).transpose(0, 2, 1, 3)


def merged(x: Float[Array, "b h t d"]) -> Float[Array, "n o"]:
    """The inverse of `heads`: one row a token again."""
    b, h, t, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b * t, h * d)


def attention(
    query: Float[Array, "b h t d"],
    key: Float[Array, "b g s d"],
    value: Float[Array, "b g s e"],
    mask: Int[Array, "b s"],
    *,
    allowed: Bool[Array, "t s"] | Bool[Array, "b t s"] | None = None,
    bias: Float[Array, "h t s"] | None = None,
    scale: float | None = None,
) -> Float[Array, "b h t e"]:
    """Softmax attention to the tokens that `mask` keeps; scores and sums in float32 or wider.

    A row that may attend to nothing attends evenly to everything: finite, and meant to be thrown away.

    Args:
      key, value: where there are fewer heads than queries have, `h / g` query heads in a row share one (grouped
        queries; Ainslie et al. 2023, arXiv:2305.13245).
      allowed: which places may see which; `[t, s]` whatever the text, as `causal` has it.
      bias: added to the scores of every text, as relative positions are.
      scale: of the scores; by default `1 / sqrt(d)`.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """
    full = wide(query.dtype)
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key, value = jnp.repeat(key, shared, axis=1), jnp.repeat(value, shared, axis=1)
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=full)
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias[None].astype(full)
    kept = mask[:, None, None, :] > 0
    if allowed is not None:
        kept = kept & (allowed[None, None] if allowed.ndim == 2 else allowed[:, None])
    # Added, which is quicker than choosing; not -inf, for a row that sees nothing must stay finite.
    scores = scores + jnp.where(kept, jnp.zeros((), full), jnp.asarray(jnp.finfo(full).min / 2, full))
    # Divided by their sum after the product, which is smaller than the weights are.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    summed = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(value.dtype), value, preferred_element_type=full)
    return summed / weights.sum(axis=-1, keepdims=True)


def causal(t: int) -> Bool[Array, "t t"]:
    """Which places see which when each sees itself and what stands before it."""
    return jnp.tril(jnp.ones((t, t), bool))


def rotary(
    t: int,
    size: int,
    base: float,
    *,
    stretched: Callable[[np.ndarray], np.ndarray] = lambda frequency: frequency,
) -> tuple[Float[Array, "t r"], Float[Array, "t r"]]:
    """Cosines and sines of rotary positions 0..t-1 for heads of `size` dimensions; `r = size / 2`.

    `stretched` changes how far each pair of dimensions turns a place, for texts longer than those trained on.
    Source: Su et al. 2021, arXiv:2104.09864, eq. 34.
    """
    frequency = stretched(1.0 / base ** (np.arange(0, size, 2, dtype=np.float64) / size))
    angle = np.arange(t, dtype=np.float64)[:, None] * frequency[None, :]  # in float64: large places lose digits
    return jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32)


def rotated(x: Float[Array, "b h t d"], cos: Float[Array, "t r"], sin: Float[Array, "t r"]) -> Float[Array, "b h t d"]:
    """Turn dimension `i` and `i + r` of every head by its place's angle; dimensions from `2 r` on stay as they are."""
    r = cos.shape[-1]
    first, second, rest = x[..., :r], x[..., r : 2 * r], x[..., 2 * r :]
    cos, sin = cos[None, None].astype(x.dtype), sin[None, None].astype(x.dtype)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
"""By the names that `hidden_act` has in Hugging Face configurations."""
