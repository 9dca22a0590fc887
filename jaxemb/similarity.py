"""Two sets of vectors to scores; larger is closer, everywhere."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Shaped, UInt8

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

    Raises: ValueError for whole numbers, of which lengths of one are none: here they are codes.
    """
    if not jnp.issubdtype(vectors.dtype, jnp.floating):
        raise ValueError(f"unit: wanted vectors of floating-point numbers, got {vectors.dtype}; decode codes first")
    full = vectors.astype(wide(vectors.dtype))
    # Dividing by the largest entry first keeps the square of 1e30 finite and of 1e-30 above zero.
    largest = lax.stop_gradient(jnp.max(jnp.abs(full), axis=-1, keepdims=True))
    scaled = full / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    square = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    return (scaled * lax.rsqrt(jnp.maximum(square, SMALLEST))).astype(vectors.dtype)


def everywhere(rows: Shaped[Array, "n *d"]) -> Shaped[Array, "n *d"]:
    """All rows on every device, when mesh axes are Explicit; the same array otherwise.

    Under Auto axes the compiler gathers by itself; under Explicit ones a product
    of two matrices both sharded by rows has no sharding that JAX would choose.
    """
    return jax.sharding.reshard(rows, PartitionSpec(*[None] * rows.ndim)) if _explicit(rows) else rows


def beside(value: Shaped[Array, "*n"], other: Shaped[Array, "*m"]) -> Shaped[Array, "*n"]:
    """An array sharded as another of as many axes, when those of the mesh are Explicit; the same otherwise."""
    return jax.sharding.reshard(value, jax.typeof(other).sharding.spec) if _explicit(other) else value


def rows_at(table: Shaped[Array, "k d"], places: Int[Array, "*n"]) -> Shaped[Array, "*n d"]:
    """The rows of a table at these places, on the device of the places when mesh axes are Explicit.

    >>> print(rows_at(jnp.array([[1.0], [2.0]]), jnp.array([1, 1, 0]))[:, 0])
    [2. 2. 1.]
    """
    if not _explicit(places):
        return table[places]
    spec = PartitionSpec(*jax.typeof(places).sharding.spec, None)
    return table.at[places].get(out_sharding=spec)


def _explicit(value: Array) -> bool:
    return any(kind == jax.sharding.AxisType.Explicit for kind in jax.typeof(value).sharding.mesh.axis_types)


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


BLOCK = 2**24
"""Products of two tokens that `maxsim` holds at once, unless one document alone makes more: 64 MiB of float32."""
NOTHING = -1e9
"""What a document without tokens scores: below any other, and still a number."""


def maxsim(
    query: Float[Array, "b t d"],
    document: Float[Array, "n s d"],
    *,
    query_mask: Int[Array, "b t"] | Bool[Array, "b t"] | None = None,
    document_mask: Int[Array, "n s"] | Bool[Array, "n s"] | None = None,
    block: int = BLOCK,
) -> Float[Array, "b n"]:
    """Late interaction: for every token of a query its closest token of a document, summed over the query's tokens.

        score_ij = sum_t max_s query_it . document_js

    For vectors of length one it is at most the number of the query's tokens.  Products are computed for some documents
    at a time, in the gradient too, so that memory does not grow with `n`.

    >>> document = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, -1.0]]])
    >>> print(maxsim(jnp.array([[[3.0, 4.0], [0.0, -1.0]]]), document))
    [[4. 9.]]

    Args:
      query_mask, document_mask: 1 on tokens that count, 0 on padding; by default all count.
      block: how many products of two tokens are held at once, if one document makes no more.
    Returns: scores in float32 or wider; 0 for a query without tokens, `NOTHING` a document without.
    Source: Khattab & Zaharia 2020, arXiv:2004.12832, eq. 3.
    """
    (b, t, d), (n, s, _) = query.shape, document.shape
    full = wide(query.dtype)
    asked = jnp.ones((b, t), full) if query_mask is None else (query_mask > 0).astype(full)
    there = jnp.ones((n, s), bool) if document_mask is None else document_mask > 0
    at_once = min(max(1, block // max(1, b * t * s)), max(1, n))
    blocks = -(-n // at_once)
    more = blocks * at_once - n
    document, there = everywhere(document), everywhere(there)
    padded = jnp.pad(document, ((0, more), (0, 0), (0, 0))).reshape(blocks, at_once * s, d)
    known = jnp.pad(there, ((0, more), (0, 0))).reshape(blocks, at_once, s)

    @jax.checkpoint  # the products are made again for the gradient, and not kept
    def scores(some: tuple[Array, Array]) -> Array:
        vectors, kept = some
        products = jnp.einsum("btd,md->btm", query, vectors, preferred_element_type=full).reshape(b, t, at_once, s)
        lowest = jnp.asarray(jnp.finfo(full).min, full)
        closest = jnp.where(kept[None, None], products, lowest).max(axis=3, initial=lowest)
        any_token = kept.any(axis=1)[None, :]
        found = jnp.einsum("btn,bt->bn", jnp.where(any_token[:, None], closest, jnp.zeros_like(closest)), asked)
        return jnp.where(any_token, found, jnp.asarray(NOTHING, full))

    each = jax.lax.map(scores, (padded, known))
    return each.transpose(1, 0, 2).reshape(b, blocks * at_once)[:, :n]
