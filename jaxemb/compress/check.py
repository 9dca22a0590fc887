"""What a compressor may be given: one place for the errors, so that all of them read alike.

Shapes are checked always; values only on arrays that hold some, for inside
`jax.jit` there are none to look at.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float


def concrete(array: Array) -> bool:
    """Whether the values are there to look at, which inside `jax.jit` they are not."""
    return not isinstance(array, jax.core.Tracer)


@jax.jit
def _broken(rows: Float[Array, "n d"]) -> Bool[Array, " n"]:
    return ~jnp.isfinite(rows).all(axis=1)


def vectors(what: str, rows: Array, dim: Array | int | None = None) -> Float[Array, "n d"]:
    """The rows in float32, once they are known to be finite float vectors of `dim` numbers.

    Raises: ValueError that says what was wanted and what came.
    """
    wanted = "d" if dim is None or (isinstance(dim, jax.Array) and not concrete(dim)) else int(dim)
    if rows.ndim != 2 or not jnp.issubdtype(rows.dtype, jnp.floating) or wanted not in ("d", rows.shape[1]):
        raise ValueError(f"{what}: wanted float vectors [n, {wanted}], got {rows.dtype} {list(rows.shape)}")
    if concrete(rows):
        with jax.ensure_compile_time_eval():  # rows may be a constant inside `jax.jit`
            bad = np.flatnonzero(np.asarray(_broken(rows)))
        if len(bad):
            raise ValueError(f"{what}: wanted finite vectors, got NaN or inf in {len(bad)} rows, first {bad[0]}")
    return rows.astype(jnp.float32)


def sample(what: str, rows: Array) -> Float[Array, "n d"]:
    """As `vectors`, and there must be a row and a dimension to learn from."""
    if 0 in rows.shape:
        raise ValueError(f"{what}: wanted a sample of 1 vector or more, got {list(rows.shape)}")
    return vectors(what, rows)


def codes(what: str, rows: Array, dtype: DTypeLike, width: int) -> Array:
    """The rows as they are, once they are known to be codes of `width` numbers of `dtype`."""
    if rows.ndim != 2 or rows.dtype != jnp.dtype(dtype) or rows.shape[1] != width:
        raise ValueError(f"{what}: wanted codes {jnp.dtype(dtype)} [n, {width}], got {rows.dtype} {list(rows.shape)}")
    return rows


def seed(what: str, given: int) -> int:
    """The seed, once it is known to be one: names of compressors hold it, and a minus would not be read back.

    Raises: ValueError for a negative one.
    """
    if given < 0:
        raise ValueError(f"{what}: wanted a seed of 0 or more, got {given}")
    return given
