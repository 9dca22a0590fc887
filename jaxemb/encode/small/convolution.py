"""Convolutions over a text: layers of one width, several widths side by side, and projected windows.

Padding is set to zero before every product: a padding row of a trained table is not zero, and would leak into the
windows of its neighbours.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.encode.small.extended import Layer
from jaxemb.encode.small.learnt import LearntPooling
from jaxemb.similarity import wide
from jaxemb.types import Params

Activation = Callable[[Array], Array]


def convolved(
    x: Float[Array, "b s i"], kernel: Float[Array, "w i o"], before: int, after: int, dtype: DTypeLike
) -> Float[Array, "b t o"]:
    """`sum_k x[p + k - before] kernel[k]` with zeros outside, for `s + before + after - w + 1` places `p`.

    The product runs in `dtype`, its sums in float32 or wider.
    """
    return lax.conv_general_dilated(
        x.astype(dtype),
        kernel.astype(dtype),
        window_strides=(1,),
        padding=[(before, after)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        preferred_element_type=wide(dtype),
    )


def _filters(key: Array, width: int, inputs: int, size: int) -> Params:
    kernel = initializers.glorot_uniform(in_axis=(0, 1), out_axis=2)(key, (width, inputs, size))
    return {"kernel": kernel, "bias": jnp.zeros(size)}


def convolution(
    inputs: int,
    size: int,
    width: int,
    *,
    activation: Activation = jnp.tanh,
    residual: bool = False,
    dtype: DTypeLike = jnp.float32,
) -> Layer:
    """`activation(conv(x) + b)`, and with `residual` `activation(conv(x) + b + x)`; as many places as before.

    Place `t` reads `t - (width - 1) // 2` to `t + width // 2`, zeros outside of the text.
    Params `{"kernel": [width, inputs, size], "bias": [size]}`.

    Raises: ValueError for a width below 1, or when input and output of a residual layer are not equally wide.
    Source: Kim 2014, arXiv:1408.5882, eq. 2; the residual form as in CodeSearchNet, Husain et al. 2019,
      arXiv:1909.09436.
    """
    if width < 1:
        raise ValueError(f"convolution: width must be above 0, got {width}")
    if residual and inputs != size:
        raise ValueError(f"convolution: a residual layer adds its input of {inputs} to its output of {size}")

    def init(key: Array) -> Params:
        return _filters(key, width, inputs, size)

    def apply(params: Params, states: Float[Array, "b t i"], mask: Int[Array, "b t"]) -> Float[Array, "b t o"]:
        x = states * mask[:, :, None].astype(states.dtype)
        out = convolved(x, params["kernel"], (width - 1) // 2, width // 2, dtype) + params["bias"][None, None, :]
        return activation(out + x if residual else out)

    return Layer(init, apply)


def scales(
    inputs: int,
    size: int,
    widths: Sequence[int] = (2, 3, 4),
    *,
    activation: Activation = jax.nn.relu,
    dtype: DTypeLike = jnp.float32,
) -> LearntPooling:
    """The multi-scale CNN: for every width the largest `activation(conv(x) + b)` over time, side by side.

    Only windows that lie whole in the text count, wherever it begins; a text shorter than a width has one, filled up
    with zeros.  A text without tokens is the zero vector.  Vectors of `len(widths) * size`; params
    `{"2": {"kernel": [2, inputs, size], "bias": [size]}, ...}`.

    Raises: ValueError for widths below one, or given twice.
    Source: Kim 2014, arXiv:1408.5882, sec. 2.
    """
    if not widths or min(widths) < 1 or len(set(widths)) < len(widths):
        raise ValueError(f"scales: widths must be different whole numbers above 0, got {list(widths)}")

    def init(key: Array) -> Params:
        keys = jax.random.split(key, len(widths))
        return {str(width): _filters(k, width, inputs, size) for width, k in zip(widths, keys, strict=True)}

    def apply(params: Params, states: Float[Array, "b t i"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
        x = states * mask[:, :, None].astype(states.dtype)
        kept = mask > 0

        def largest(width: int) -> Float[Array, "b o"]:
            own = params[str(width)]
            out = activation(convolved(x, own["kernel"], 0, width - 1, dtype) + own["bias"][None, None, :])
            lowest = jnp.asarray(jnp.finfo(out.dtype).min, out.dtype)
            top = jnp.max(jnp.where(_fullest(kept, width)[:, :, None], out, lowest), axis=1)
            return jnp.where(kept.any(axis=1)[:, None], top, jnp.zeros_like(top))

        return jnp.concatenate([largest(width) for width in widths], axis=-1)

    return LearntPooling(init, apply)


def _fullest(kept: Bool[Array, "b t"], width: int) -> Bool[Array, "b t"]:
    """Which places are those of tokens from which on a window of `width` holds as many tokens as any in the text."""
    tokens = jnp.pad(kept.astype(jnp.int32), ((0, 0), (1, width - 1)))
    total = jnp.cumsum(tokens, axis=1)
    inside = jnp.where(kept, total[:, width:] - total[:, : kept.shape[1]], 0)
    return kept & (inside == inside.max(axis=1, keepdims=True))


def windows(
    inputs: int, size: int, width: int, *, activation: Activation = jnp.tanh, dtype: DTypeLike = jnp.float32
) -> Layer:
    """Supervised sequence embedding: every token with the `width - 1` after it, joined and projected.

    Past the end of the text stands a learnt boundary vector, so that a text of one token has a window too.
    Params `{"kernel": [width, inputs, size], "bias": [size], "boundary": [inputs]}`, the last where `width` is above 1.

    Raises: ValueError for a width below 1.
    Source: Bespalov et al. 2012, Sentiment Classification with Supervised Sequence Embedding.
    """
    if width < 1:
        raise ValueError(f"windows: width must be above 0, got {width}")

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        boundary = {"boundary": inputs**-0.5 * jax.random.normal(other, (inputs,))} if width > 1 else {}
        return {**_filters(one, width, inputs, size), **boundary}

    def apply(params: Params, states: Float[Array, "b t i"], mask: Int[Array, "b t"]) -> Float[Array, "b t o"]:
        x = states
        if width > 1:
            kept = jnp.pad(mask, ((0, 0), (0, width - 1)))[:, :, None] > 0
            x = jnp.pad(states, ((0, 0), (0, width - 1), (0, 0)))
            x = jnp.where(kept, x, params["boundary"].astype(x.dtype)[None, None, :])
        return activation(convolved(x, params["kernel"], 0, 0, dtype) + params["bias"][None, None, :])

    return Layer(init, apply)
