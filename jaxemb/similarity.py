"""Two sets of vectors to scores; larger is closer, everywhere."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, DTypeLike, Float, UInt8

SMALLEST = 1e-12  # only a row of zeros is below it after scaling; keeps its gradient finite


def wide(dtype: DTypeLike) -> jnp.dtype:
    """What sums of `dtype` are kept in: float32, or float64 where it is that already.

    >>> print(wide("bfloat16"), wide("float64"))
    float32 float64
    """
    return jnp.dtype(jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32)


def unit(vectors: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Scale every row to length one; a row of zeros stays zero, with a finite gradient.

    >>> print(unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
    """
    full = vectors.astype(wide(vectors.dtype))
    # Dividing by the largest entry first keeps the square of 1e30 finite and of 1e-30 above zero.
    largest = lax.stop_gradient(jnp.max(jnp.abs(full), axis=-1, keepdims=True))
    scaled = full / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    square = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    return (scaled * lax.rsqrt(jnp.maximum(square, SMALLEST))).astype(vectors.dtype)


def everywhere(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """All rows on every device, when mesh axes are Explicit; the same array otherwise.

    Under Auto axes the compiler gathers by itself; under Explicit ones a product
    of two matrices both sharded by rows has no sharding that JAX would choose.
    """
    mesh = jax.typeof(rows).sharding.mesh
    explicit = any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types)
    return jax.sharding.reshard(rows, PartitionSpec(None, None)) if explicit else rows


def dot(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Inner products, summed in float32 or wider whatever the inputs are.

    >>> print(dot(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0], [0.0, 1.0]])))
    [[11.  2.]]
    """
    return jnp.einsum("bd,nd->bn", query, everywhere(document), preferred_element_type=wide(query.dtype))


def cosine(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Cosine of the angle between every query and every document, in [-1, 1]; 0 where one of them is zero."""
    return dot(unit(query), unit(document))


def hamming(query: UInt8[Array, "b c"], document: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
    """Minus the number of bits in which two packed codes differ.

    >>> print(hamming(jnp.array([[0b1010]], jnp.uint8), jnp.array([[0b1010], [0b0011]], jnp.uint8)))
    [[ 0. -2.]]
    """
    differing = lax.population_count(query[:, None, :] ^ document[None, :, :])
    return (-jnp.sum(differing, axis=-1, dtype=jnp.int32)).astype(jnp.float32)
